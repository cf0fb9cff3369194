#include "vm/levels.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"

namespace mkvm::vm {
namespace {

// The wait for this pass that `counts` do not meet, or nullptr.
const isa::Wait* UnmetWait(const isa::Instruction& instruction,
                           const std::vector<uint32_t>& counts) {
  for (int i = 0; i < instruction.num_waits; ++i) {
    const isa::Wait& wait = instruction.waits[i];
    // The pass before has ended.
    if (instruction.WaitIsLagged(i)) continue;
    if (counts[wait.counter] < wait.threshold) return &wait;
  }
  return nullptr;
}

// Why no worker can go on from `places`.
absl::Status Stuck(const isa::Program& program,
                   const std::vector<uint32_t>& places,
                   const std::vector<uint32_t>& counts) {
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    const uint32_t pc = places[w];
    if (pc == program.queues[w].size()) continue;
    const isa::Instruction& instruction = program.queues[w][pc];
    const isa::Wait* wait = UnmetWait(instruction, counts);
    if (wait == nullptr) continue;
    return absl::FailedPreconditionError(absl::StrFormat(
        "launch_per_op: worker %d, pc %d (%s) waits for counter %s: %d "
        "signals can come before it, %d are wanted; verify the program",
        w, pc, isa::LabelAndOpcode(program, w, pc, instruction.opcode),
        program.counters[wait->counter].name, counts[wait->counter],
        wait->threshold));
  }
  return absl::InternalError("no worker is stuck");
}

}  // namespace

absl::StatusOr<Levels> CutIntoLevels(const isa::Program& program) {
  Levels levels;
  std::vector<uint32_t> counts(program.counters.size(), 0);
  std::vector<uint32_t> places(program.num_workers(), 0);
  uint64_t left = isa::NumInstructions(program);
  while (left > 0) {
    // Signals of a level count from the next one on.
    std::vector<uint32_t> signals;
    const uint64_t before = left;
    for (uint32_t w = 0; w < program.num_workers(); ++w) {
      const std::vector<isa::Instruction>& queue = program.queues[w];
      while (places[w] < queue.size() &&
             UnmetWait(queue[places[w]], counts) == nullptr) {
        const uint32_t signal = queue[places[w]].signal;
        if (signal != isa::kNoCounter) signals.push_back(signal);
        ++places[w];
        --left;
      }
    }
    if (left == before) return Stuck(program, places, counts);
    for (const uint32_t signal : signals) ++counts[signal];
    levels.push_back(places);
  }
  return levels;
}

}  // namespace mkvm::vm
