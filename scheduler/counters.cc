#include "scheduler/counters.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"

namespace mkvm::scheduler {
namespace {

// Elements [begin, end) of a buffer, written by producers of `counter`.
struct Written {
  uint64_t begin;
  uint64_t end;
  uint32_t counter;
};

// Who waits for a counter, and how.
struct Waiters {
  bool any = false;
  bool all_tagged = true;
};

class Connector {
 public:
  Connector(const Tiles& tiles, const EdgeOptions& options,
            isa::Program& program)
      : tiles_(tiles),
        options_(options),
        program_(program),
        written_(program.buffers.size()) {}

  // The instructions with edges, in the order of the tiles.
  absl::StatusOr<std::vector<isa::Instruction>> Run() {
    MakeCounters();
    waiters_.resize(program_.counters.size());
    implied_.resize(program_.counters.size());
    for (size_t i = 0; i < tiles_.tiles.size(); ++i) {
      accesses_.clear();
      isa::AppendAccesses(program_, instructions_[i], accesses_);
      if (absl::Status status = AddWaits(i); !status.ok()) return status;
      RecordWrites(i);
    }
    for (isa::Instruction& instruction : instructions_) {
      if (instruction.signal == isa::kNoCounter) continue;
      const Waiters& waiters = waiters_[instruction.signal];
      if (waiters.any && waiters.all_tagged) {
        instruction.flags &= static_cast<uint16_t>(~isa::kFlagRelease);
      }
    }
    return std::move(instructions_);
  }

 private:
  void MakeCounters() {
    absl::flat_hash_map<std::string, uint32_t> index;
    for (const Tile& tile : tiles_.tiles) {
      isa::Instruction instruction = tile.instruction;
      if (!tile.counter.empty()) {
        const auto [it, inserted] = index.try_emplace(
            tile.counter, static_cast<uint32_t>(program_.counters.size()));
        if (inserted) program_.counters.push_back({tile.counter, 0});
        ++program_.counters[it->second].producers;
        instruction.signal = it->second;
      }
      instructions_.push_back(instruction);
    }
  }

  // Whether it reads what every worker's share of the LM head has chosen.
  bool TakesCandidates(const isa::Instruction& reader) const {
    const auto is = [](const isa::Instruction& i, isa::Opcode opcode) {
      return i.opcode == static_cast<uint16_t>(opcode);
    };
    const auto chooses = [&](const Tile& tile) {
      return is(tile.instruction, isa::Opcode::kArgmax) ||
             is(tile.instruction, isa::Opcode::kSample);
    };
    return is(reader, isa::Opcode::kArgmax) ||
           (is(reader, isa::Opcode::kAdvance) &&
            std::none_of(tiles_.tiles.begin(), tiles_.tiles.end(), chooses));
  }

  bool CanBeTagged(const isa::Instruction& reader, uint32_t buffer) const {
    if (!options_.tagged) return false;
    // It reads what has no tags of the same producers, and waits for their
    // counter anyway.
    if (reader.opcode == static_cast<uint16_t>(isa::Opcode::kSample)) {
      return false;
    }
    if (options_.release_at_end && TakesCandidates(reader)) return false;
    const isa::Buffer& b = program_.buffers[buffer];
    return b.kind == isa::BufferKind::kActivation &&
           (b.dtype == isa::DType::kF24 || b.dtype == isa::DType::kRanked);
  }

  struct Need {
    uint32_t counter;
    bool tagged;
  };

  // The counters that some producer of `signal` has waited for: to have seen
  // all of its producers is to have seen theirs.
  void RecordWaits(uint32_t signal, const std::vector<Need>& needs) {
    if (signal == isa::kNoCounter) return;
    for (const Need& need : needs) {
      if (!need.tagged) implied_[signal].insert(need.counter);
    }
  }

  // Counters only: a tagged edge orders no other memory.
  void DropImplied(std::vector<Need>& needs) const {
    const auto implied = [&](const Need& need) {
      return !need.tagged &&
             std::any_of(needs.begin(), needs.end(), [&](const Need& other) {
               return !other.tagged &&
                      implied_[other.counter].contains(need.counter);
             });
    };
    std::vector<Need> kept;
    for (const Need& need : needs) {
      if (!implied(need)) kept.push_back(need);
    }
    needs = std::move(kept);
  }

  // Waits for the producers, in this pass, of everything that instruction i
  // reads. What an earlier pass wrote is ordered by the halt between.
  absl::Status AddWaits(size_t i) {
    isa::Instruction& instruction = instructions_[i];
    std::vector<Need> needs;
    for (const isa::Access& access : accesses_) {
      if (access.kind != isa::AccessKind::kRead &&
          access.kind != isa::AccessKind::kUpdate) {
        continue;
      }
      const bool tagged = CanBeTagged(instruction, access.buffer);
      bool produced = false;
      for (const Written& w : written_[access.buffer]) {
        if (w.end <= access.begin || access.begin + access.count <= w.begin) {
          continue;
        }
        produced = true;
        const auto it =
            std::find_if(needs.begin(), needs.end(),
                         [&](const Need& n) { return n.counter == w.counter; });
        if (it == needs.end()) {
          needs.push_back({w.counter, tagged});
        } else {
          it->tagged = it->tagged && tagged;
        }
      }
      if (produced && tagged) instruction.polled |= 1u << access.operand;
    }
    if (needs.size() > isa::kMaxWaits) DropImplied(needs);
    if (needs.size() > isa::kMaxWaits) {
      return absl::InternalError(absl::StrCat(tiles_.tiles[i].label, " needs ",
                                              needs.size(), " waits"));
    }
    RecordWaits(instruction.signal, needs);
    for (const Need& need : needs) {
      isa::AddWait(instruction, need.counter,
                   program_.counters[need.counter].producers, /*lag=*/false,
                   need.tagged);
      waiters_[need.counter].any = true;
      waiters_[need.counter].all_tagged &= need.tagged;
    }
    return absl::OkStatus();
  }

  void RecordWrites(size_t i) {
    const uint32_t counter = instructions_[i].signal;
    for (const isa::Access& access : accesses_) {
      if (access.kind != isa::AccessKind::kWrite &&
          access.kind != isa::AccessKind::kUpdate) {
        continue;
      }
      // What is written so only while the context is short is merged from then
      // on, by an op that waits for this one in all passes. Whoever waits for
      // that op has waited for this one.
      if (access.end_position != isa::Access::kNoEnd) continue;
      std::vector<Written>& written = written_[access.buffer];
      const uint64_t end = access.begin + access.count;
      // Neighbouring tiles of one counter become one stretch.
      if (!written.empty() && written.back().counter == counter &&
          written.back().end == access.begin) {
        written.back().end = end;
      } else {
        written.push_back({access.begin, end, counter});
      }
    }
  }

  const Tiles& tiles_;
  const EdgeOptions& options_;
  isa::Program& program_;
  std::vector<isa::Instruction> instructions_;
  std::vector<std::vector<Written>> written_;  // per buffer, in this pass
  std::vector<Waiters> waiters_;               // per counter
  std::vector<absl::flat_hash_set<uint32_t>> implied_;  // per counter
  std::vector<isa::Access> accesses_;
};

}  // namespace

absl::Status Connect(const Tiles& tiles, const Queues& queues,
                     const EdgeOptions& options, isa::Program& program) {
  absl::StatusOr<std::vector<isa::Instruction>> instructions =
      Connector(tiles, options, program).Run();
  if (!instructions.ok()) return instructions.status();
  program.queues.resize(queues.tiles.size());
  program.labels.resize(queues.tiles.size());
  for (size_t w = 0; w < queues.tiles.size(); ++w) {
    for (const uint32_t tile : queues.tiles[w]) {
      program.queues[w].push_back((*instructions)[tile]);
      program.labels[w].push_back(tiles.tiles[tile].label);
    }
  }
  return absl::OkStatus();
}

}  // namespace mkvm::scheduler
