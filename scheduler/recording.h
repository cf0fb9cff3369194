// A trace as the fit of costs reads it: its events and what they waited for.
#ifndef MKVM_SCHEDULER_RECORDING_H_
#define MKVM_SCHEDULER_RECORDING_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "isa/program.h"
#include "scheduler/activity.h"
#include "scheduler/completion.h"
#include "trace/dependencies.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

inline double Us(trace::Nanos nanos) {
  return static_cast<double>(nanos) / 1e3;
}

// All of the event was recorded; false where the end of a recording cut it
// short.
bool IsWhole(const trace::Event& event);

// What an event waited for: the latest publication of each transport.
struct Waits {
  bool known = true;  // every producer is in the trace
  bool by_counter = false;
  Completion tagged, counted;
};

class Recording {
 public:
  // `trace` outlives this. REQUIRES: as of trace::Dependencies.
  explicit Recording(const trace::Trace& trace);

  const trace::Trace& trace() const { return trace_; }
  const trace::Dependencies& dependencies() const { return dependencies_; }
  const trace::Phases& phases() const { return phases_; }
  const isa::Instruction& InstructionOf(const trace::Event& event) const {
    return trace_.program.queues[event.worker][event.pc];
  }
  uint64_t PositionOf(const trace::Event& event) const {
    return static_cast<uint64_t>(trace_.first_position) + event.pass;
  }
  // Neither reads nor writes in its pass, and says nothing of its class.
  bool IsIdle(const trace::Event& event) const {
    return !active_[event.worker][event.pc].Contains(PositionOf(event));
  }
  Waits WaitsOf(trace::EventIndex index) const;

 private:
  // Nothing when a producer is not in the trace.
  std::optional<Completion> CompletionOf(const trace::Join& join) const;

  const trace::Trace& trace_;
  trace::Dependencies dependencies_;
  trace::Phases phases_;
  std::vector<std::optional<Completion>> joins_;  // as dependencies_.joins()
  std::vector<std::vector<Positions>> active_;    // by worker and place
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_RECORDING_H_
