#include "scheduler/recording.h"

namespace mkvm::scheduler {

bool IsWhole(const trace::Event& event) {
  return event.visited != trace::kNever && event.done != trace::kNever &&
         event.signaled != trace::kNever;
}

Recording::Recording(const trace::Trace& trace)
    : trace_(trace), dependencies_(trace), phases_(trace.program) {
  for (const trace::Join& join : dependencies_.joins()) {
    joins_.push_back(CompletionOf(join));
  }
  for (const std::vector<isa::Instruction>& queue : trace.program.queues) {
    active_.emplace_back();
    for (const isa::Instruction& instruction : queue) {
      active_.back().push_back(ActivePositions(trace.program, instruction));
    }
  }
}

Waits Recording::WaitsOf(trace::EventIndex index) const {
  Waits waits;
  const trace::Event& event = trace_.events[index];
  const isa::Instruction& instruction = InstructionOf(event);
  for (int i = 0; i < instruction.num_waits; ++i) {
    if (event.pass == 0 && instruction.WaitIsLagged(i)) continue;
    const uint32_t join = dependencies_.JoinOf(index, i);
    if (join == trace::kNoJoin || !joins_[join].has_value()) {
      waits.known = false;
      continue;
    }
    const bool tagged =
        dependencies_.joins()[join].transport == trace::Transport::kTagged;
    waits.by_counter |= !tagged;
    Completion& all = tagged ? waits.tagged : waits.counted;
    for (int k = 0; k < 2; ++k) {
      if (joins_[join]->worker[k] < 0) continue;
      all.Publish(joins_[join]->us[k],
                  static_cast<uint32_t>(joins_[join]->worker[k]));
    }
  }
  return waits;
}

std::optional<Completion> Recording::CompletionOf(
    const trace::Join& join) const {
  Completion completion;
  for (const trace::ProducerPlace& place : dependencies_.Producers(join.set)) {
    if (!dependencies_.WaitsFor(join, place)) continue;
    const trace::EventIndex e =
        dependencies_.Find(place.worker, join.pass, place.pc);
    if (e == trace::kNoEvent || !IsWhole(trace_.events[e])) {
      return std::nullopt;
    }
    completion.Publish(Us(dependencies_.Publish(e, join.transport)),
                       place.worker);
  }
  return completion;
}

}  // namespace mkvm::scheduler
