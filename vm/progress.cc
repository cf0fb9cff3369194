#include "vm/progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"

namespace mkvm::vm {
namespace {

// Signals of `counter` that the workers, each from its place on, would still
// send in passes up to and including `last_pass`.
uint64_t SignalsToCome(const isa::Program& program,
                       absl::Span<const WorkerPlace> places, uint32_t counter,
                       uint32_t last_pass) {
  uint64_t signals = 0;
  for (uint32_t w = 0; w < places.size(); ++w) {
    const WorkerPlace& place = places[w];
    if (place.left || place.pass > last_pass) continue;
    const uint64_t later_passes = last_pass - place.pass;
    const std::vector<isa::Instruction>& queue = program.queues[w];
    for (uint32_t pc = 0; pc < queue.size(); ++pc) {
      if (queue[pc].signal != counter) continue;
      signals += later_passes + (pc >= place.pc ? 1 : 0);
    }
  }
  return signals;
}

}  // namespace

void MovePast(const isa::Instruction& instruction,
              absl::Span<const ops::HostBuffer> buffers, uint32_t max_passes,
              WorkerPlace& place) {
  if (instruction.opcode != static_cast<uint16_t>(isa::Opcode::kHalt)) {
    ++place.pc;
    return;
  }
  const auto op = isa::DecodeOperands<isa::HaltOperands>(instruction);
  place.pc = 0;
  ++place.pass;
  place.stopped =
      op.stop != isa::kNoBuffer && buffers[op.stop].As<const int32_t>()[0] != 0;
  place.left = place.stopped || place.pass >= max_passes;
}

std::vector<Fault> StuckWorkers(const isa::Program& program,
                                absl::Span<const WorkerPlace> places,
                                absl::Span<const uint64_t> counts) {
  std::vector<Fault> causes;
  std::vector<Fault> victims;
  for (uint32_t w = 0; w < places.size(); ++w) {
    const WorkerPlace& place = places[w];
    if (place.left) continue;
    const isa::Instruction& instruction = program.queues[w][place.pc];
    for (int i = 0; i < instruction.num_waits; ++i) {
      const uint32_t counter = instruction.waits[i].counter;
      const uint64_t wanted = WaitTarget(program, instruction, i, place.pass);
      if (counts[counter] >= wanted) continue;
      const Fault fault = {.kind = FaultKind::kCounterTimeout,
                           .worker = w,
                           .pass = place.pass,
                           .pc = place.pc,
                           .opcode = instruction.opcode,
                           .what = counter,
                           .seen = counts[counter],
                           .wanted = wanted};
      const uint32_t awaited_pass =
          place.pass - (instruction.WaitIsLagged(i) ? 1 : 0);
      const bool hopeless =
          fault.seen + SignalsToCome(program, places, counter, awaited_pass) <
          wanted;
      (hopeless ? causes : victims).push_back(fault);
      break;
    }
  }
  causes.insert(causes.end(), victims.begin(), victims.end());
  return causes;
}

absl::Status AtPlace(const isa::Program& program, uint32_t worker,
                     const WorkerPlace& place, const absl::Status& status) {
  const uint32_t opcode = program.queues[worker][place.pc].opcode;
  return absl::Status(
      status.code(),
      absl::StrFormat("worker %d, pass %d, pc %d (%s): %s", worker, place.pass,
                      place.pc,
                      isa::LabelAndOpcode(program, worker, place.pc, opcode),
                      status.message()));
}

}  // namespace mkvm::vm
