// How queues end, what counters count, and what the target can hold.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "isa/verifier_fields.h"

namespace mkvm::isa {
namespace {

// Shared memory that a machine needs beside the stages: instructions ahead,
// barriers, partial sums.
constexpr uint64_t kReservedSharedBytes = 4096;

bool Is(const Instruction& i, Opcode opcode) {
  return i.opcode == static_cast<uint16_t>(opcode);
}

// A queue ends with its only halt.
void CheckHalts(const Program& program, Report& report) {
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    const auto& queue = program.queues[w];
    if (queue.empty()) {
      report.Add(absl::StrCat("worker ", w), "its queue is empty",
                 {"mend: a queue ends with halt"});
    }
    for (uint32_t pc = 0; pc < queue.size(); ++pc) {
      const bool is_last = pc + 1 == queue.size();
      if (is_last && !Is(queue[pc], Opcode::kHalt)) {
        report.Add(Place{w, pc}, "the queue does not end with halt");
      } else if (!is_last && Is(queue[pc], Opcode::kHalt)) {
        report.Add(Place{w, pc}, "halt is not the last of its queue");
      }
    }
  }
}

// A pass ends one position, so at most one instruction advances it.
std::vector<Place> CheckAdvances(const Program& program, Report& report) {
  std::vector<Place> advances;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (!Is(program.queues[w][pc], Opcode::kAdvance)) continue;
      advances.push_back({w, pc});
      if (advances.size() == 1) continue;
      report.Add(
          advances.back(), "only one instruction may advance a pass",
          {absl::StrCat("note: the other is ", report.Name(advances.front()))});
    }
  }
  return advances;
}

uint32_t StopOf(const Instruction& halt) {
  return DecodeOperands<HaltOperands>(halt).stop;
}

}  // namespace

void CheckQueues(const Program& program, Report& report) {
  const std::vector<Place> advances = CheckAdvances(program, report);
  CheckHalts(program, report);
  if (!report.empty()) return;
  const auto place_of_halt = [&](uint32_t w) {
    return Place{w, static_cast<uint32_t>(program.queues[w].size() - 1)};
  };
  const uint32_t stop = StopOf(program.queues.front().back());
  for (uint32_t w = 1; w < program.queues.size(); ++w) {
    if (StopOf(program.queues[w].back()) == stop) continue;
    report.Add(
        place_of_halt(w),
        "this halt and another do not read the same stop, so that some "
        "workers would leave and others wait for them",
        {absl::StrCat("note: the other is ", report.Name(place_of_halt(0)))});
  }
  if (stop == kNoBuffer) return;
  const bool written = !advances.empty() &&
                       DecodeOperands<AdvanceOperands>(
                           program.queues[advances[0].worker][advances[0].pc])
                               .stop == stop;
  if (!written) {
    report.Add(place_of_halt(0),
               absl::StrCat("it reads ", program.buffers[stop].name,
                            ", but no advance writes it"));
  }
}

void CheckCounters(const Program& program, Report& report) {
  std::vector<uint32_t> found(program.counters.size(), 0);
  for (const auto& queue : program.queues) {
    for (const Instruction& i : queue) {
      if (i.signal != kNoCounter) ++found[i.signal];
    }
  }
  for (uint32_t c = 0; c < program.counters.size(); ++c) {
    const uint32_t producers = program.counters[c].producers;
    if (producers == found[c]) continue;
    report.Add(report.CounterName(c),
               absl::StrCat("it declares ", producers, " producers, but ",
                            found[c], " instructions signal it"));
  }
  for (uint32_t w = 0; w < program.queues.size() && !report.full(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const Instruction& i = program.queues[w][pc];
      for (int k = 0; k < i.num_waits; ++k) {
        const Wait& wait = i.waits[k];
        const uint32_t producers = program.counters[wait.counter].producers;
        if (found[wait.counter] == 0) {
          report.Add(
              Place{w, pc},
              absl::StrCat("it waits for ", report.CounterName(wait.counter),
                           ", which nobody signals"));
        } else if (wait.threshold != producers) {
          report.Add(
              Place{w, pc},
              absl::StrCat("it waits for ", report.CounterName(wait.counter),
                           " to reach ", wait.threshold,
                           ", but the counter has ", producers, " producers"),
              {"mend: a waiter waits for all producers"});
        }
      }
    }
  }
}

uint64_t CheckAlone(const Program& program, Report& report) {
  uint64_t alone = 0;
  Place first{};
  std::vector<Access> accesses;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      accesses.clear();
      AppendAccesses(program, program.queues[w][pc], accesses);
      for (const Access& access : accesses) {
        const uint64_t position = access.end_position;
        if (position == Access::kNoEnd || position == 0 || position == alone) {
          continue;
        }
        if (alone == 0) {
          alone = position;
          first = {w, pc};
          continue;
        }
        report.Add(
            Place{w, pc},
            absl::StrCat("it works alone below position ", position,
                         ", but a program has one such position, and here "
                         "another is ",
                         alone),
            {absl::StrCat("note: that is the alone of ", report.Name(first)),
             "mend: give both the same alone, or 0"});
        break;
      }
    }
  }
  return alone;
}

void CheckBudgets(const Program& program, Report& report) {
  const Target& target = program.target;
  bool streams = false;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const Instruction& i = program.queues[w][pc];
      if (!Is(i, Opcode::kGemv)) continue;
      const auto op = DecodeOperands<GemvOperands>(i);
      if (program.buffers[op.w].layout != Layout::kPanels) continue;
      streams = true;
      const uint64_t columns =
          std::min<uint64_t>((uint64_t{op.k} + kPanelTileColumns - 1) /
                                 kPanelTileColumns * kPanelTileColumns,
                             kStageColumns);
      const uint64_t bytes = columns * kPanelRows * SizeOf(DType::kBf16);
      if (target.stage_bytes < bytes) {
        report.Add(
            Place{w, pc},
            absl::StrCat("its weights come in stages of ", bytes,
                         " bytes, but the target's hold ", target.stage_bytes));
      }
    }
  }
  if (!streams) return;
  if (target.stages < 2) {
    report.Add("program",
               absl::StrCat("a weight stream needs at least 2 stages, but the "
                            "target has ",
                            target.stages));
  }
  const uint64_t needed =
      uint64_t{target.stages} * target.stage_bytes + kReservedSharedBytes;
  if (target.shared_memory_bytes != 0 && needed > target.shared_memory_bytes) {
    report.Add(
        "program",
        absl::StrCat("the target's ", target.stages, " stages of ",
                     target.stage_bytes, " bytes and ", kReservedSharedBytes,
                     " bytes beside them do not fit its ",
                     target.shared_memory_bytes, " bytes of shared memory"));
  }
}

}  // namespace mkvm::isa
