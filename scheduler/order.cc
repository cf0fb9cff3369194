#include "scheduler/order.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::scheduler {

Queues Order(const Tiles& tiles, const Placement& placement) {
  Queues queues;
  queues.tiles.resize(tiles.workers);
  // Tiles come in the order of the graph, which is topological.
  for (uint32_t i = 0; i < tiles.tiles.size(); ++i) {
    queues.tiles[placement.worker[i]].push_back(i);
  }
  return queues;
}

std::string DumpQueues(const isa::Program& program) {
  std::string text =
      absl::StrFormat("queues: %d workers, %d instructions, %d counters\n",
                      program.num_workers(), isa::NumInstructions(program),
                      program.counters.size());
  for (size_t w = 0; w < program.queues.size(); ++w) {
    absl::StrAppend(&text, "worker ", w, "\n");
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const isa::Instruction& instruction = program.queues[w][pc];
      absl::StrAppendFormat(&text, "  %4d %-18s", pc, program.labels[w][pc]);
      for (int i = 0; i < instruction.num_waits; ++i) {
        const isa::Wait& wait = instruction.waits[i];
        absl::StrAppend(
            &text, " ", instruction.WaitIsTagged(i) ? "poll " : "wait ",
            program.counters[wait.counter].name, ">=", wait.threshold, ";");
      }
      absl::StrAppend(&text, " ",
                      FormatInstruction(program.buffers, instruction));
      if (instruction.signal != isa::kNoCounter) {
        absl::StrAppend(
            &text, " -> ", program.counters[instruction.signal].name,
            instruction.flags & isa::kFlagRelease ? " (release)" : "");
      }
      text += '\n';
    }
  }
  return text;
}

}  // namespace mkvm::scheduler
