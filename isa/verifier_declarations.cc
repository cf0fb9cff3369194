// Buffers, counters, queues and budgets: everything but the instructions.
#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "isa/verifier_fields.h"

namespace mkvm::isa {
namespace {

// Far above any tensor, and low enough that regions can't wrap around.
constexpr uint64_t kMaxElements = uint64_t{1} << 40;

// Shared memory that a machine needs beside the stages: instructions ahead,
// barriers, partial sums.
constexpr uint64_t kReservedSharedBytes = 4096;

bool IsName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-';
  });
}

std::string Subject(absl::string_view what, size_t index,
                    absl::string_view name) {
  return IsName(name) ? absl::StrCat(what, " ", name)
                      : absl::StrCat(what, " number ", index);
}

// Names that are well-formed and unique.
class Names {
 public:
  Names(absl::string_view what, Report& report)
      : what_(what), report_(report) {}

  void Check(size_t index, const std::string& name) {
    if (!IsName(name)) {
      report_.Add(Subject(what_, index, name),
                  "its name is not of the form [A-Za-z0-9_.-]+");
    } else if (const auto [first, fresh] = seen_.try_emplace(name, index);
               !fresh) {
      report_.Add(Subject(what_, index, name),
                  absl::StrCat("numbers ", first->second, " and ", index,
                               " have the same name"));
    }
  }

 private:
  absl::string_view what_;
  Report& report_;
  absl::flat_hash_map<std::string, size_t> seen_;
};

void CheckShape(const Buffer& buffer, const std::string& subject,
                Report& report) {
  if (buffer.shape.empty() || buffer.shape.size() > 4) {
    report.Add(subject, absl::StrCat("it has ", buffer.shape.size(),
                                     " dimensions, not 1 to 4"));
    return;
  }
  uint64_t elements = 1;
  for (uint64_t size : buffer.shape) {
    if (size == 0) {
      report.Add(subject, "a dimension is 0");
      return;
    }
    if (size > kMaxElements / elements) {
      report.Add(subject, "it has more than 2^40 elements");
      return;
    }
    elements *= size;
  }
}

void CheckBuffer(const Buffer& buffer, const std::string& subject,
                 Report& report) {
  if (buffer.dtype > DType::kRanked || buffer.kind > BufferKind::kState ||
      buffer.layout > Layout::kPanels) {
    report.Add(subject, "its dtype, kind or layout is unknown");
    return;
  }
  CheckShape(buffer, subject, report);
  if (buffer.layout == Layout::kPanels &&
      (buffer.dtype != DType::kBf16 || buffer.kind != BufferKind::kWeight ||
       buffer.shape.size() != 2)) {
    report.Add(subject, "only a bf16 weight of 2 dimensions is kept in panels");
  }
}

void CheckLabels(const Program& program, Report& report) {
  if (program.labels.empty()) return;
  bool same = program.labels.size() == program.queues.size();
  for (size_t w = 0; same && w < program.labels.size(); ++w) {
    same = program.labels[w].size() == program.queues[w].size();
  }
  if (!same) {
    report.Add("program", "the labels do not have the shape of the queues");
  }
}

}  // namespace

void CheckDeclarations(const Program& program, Report& report) {
  Names buffers("buffer", report);
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    buffers.Check(i, buffer.name);
    CheckBuffer(buffer, Subject("buffer", i, buffer.name), report);
  }
  Names counters("counter", report);
  for (size_t i = 0; i < program.counters.size(); ++i) {
    counters.Check(i, program.counters[i].name);
  }
  if (program.queues.empty()) report.Add("program", "it has no worker");
  CheckLabels(program, report);
}

void CheckQueues(const Program& program, Report& report) {
  bool have_halt = false;
  Place first_halt{};
  uint32_t stop = kNoBuffer;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    const auto& queue = program.queues[w];
    if (queue.empty()) {
      report.Add(absl::StrCat("worker ", w), "its queue is empty",
                 {"mend: a queue ends with halt"});
      continue;
    }
    for (uint32_t pc = 0; pc < queue.size(); ++pc) {
      const bool is_halt =
          queue[pc].opcode == static_cast<uint16_t>(Opcode::kHalt);
      const bool is_last = pc + 1 == queue.size();
      if (is_last && !is_halt) {
        report.Add(Place{w, pc}, "the queue does not end with halt");
      } else if (is_halt && !is_last) {
        report.Add(Place{w, pc}, "halt is not the last of its queue");
      }
      if (!is_halt || !is_last) continue;
      const uint32_t reads = DecodeOperands<HaltOperands>(queue[pc]).stop;
      if (!have_halt) {
        have_halt = true;
        first_halt = {w, pc};
        stop = reads;
      } else if (reads != stop) {
        report.Add(
            Place{w, pc},
            "this halt and another do not read the same stop, so that "
            "some workers would leave and others wait for them",
            {absl::StrCat("note: the other is ", report.Name(first_halt))});
      }
    }
  }
  if (!have_halt || stop == kNoBuffer) return;
  for (const auto& queue : program.queues) {
    for (const Instruction& i : queue) {
      if (i.opcode == static_cast<uint16_t>(Opcode::kAdvance) &&
          DecodeOperands<AdvanceOperands>(i).stop == stop) {
        return;
      }
    }
  }
  report.Add(first_halt, absl::StrCat("it reads ", program.buffers[stop].name,
                                      ", but no advance writes it"));
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

void CheckBudgets(const Program& program, Report& report) {
  const Target& target = program.target;
  bool streams = false;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const Instruction& i = program.queues[w][pc];
      if (i.opcode != static_cast<uint16_t>(Opcode::kGemv)) continue;
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
