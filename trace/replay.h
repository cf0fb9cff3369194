// The schedule that trace/what_if.h replays.
#ifndef MKVM_TRACE_REPLAY_H_
#define MKVM_TRACE_REPLAY_H_

#include <cstdint>
#include <vector>

#include "trace/dependencies.h"
#include "trace/what_if.h"

namespace mkvm::trace {

// The recorded durations of one event, nanoseconds.
struct Work {
  double dispatch = 0;      // from the previous event's signaled
  double check = 0;         // visited to ready when everything is there
  double hop = 0;           // from the last publish to ready; may be negative
  double operand_wait = 0;  // after ready
  double compute = 0;
  double fixed_wait = 0;  // for stages, of events outside of the ring
  double signal = 0;      // done to signaled
  uint32_t stages = 0;    // that it takes from the ring
  // Compute and bytes of its worker in this phase and pass, to the mean.
  float balance = 1;
};

// The weight stream of one worker.
struct Stream {
  bool recorded = false;
  uint32_t stages = 1;    // of the ring
  double stage_ns = 0;    // from one stage's arrival to the next's
  double latency_ns = 0;  // from a stage's issue to its arrival
};

class Replay {
 public:
  // `dependencies` outlives this.
  explicit Replay(const Dependencies& dependencies);

  // All events have their place in one order that every dependency agrees
  // with.
  bool is_ordered() const { return order_.size() == d_.trace().events.size(); }
  const Stream& stream() const { return stream_; }

  // The latest `done` of each pass, nanoseconds, by index into PassSpans.
  // REQUIRES: is_ordered().
  std::vector<double> PassEnds(const Assumptions& assumptions) const;

 private:
  struct Clocks;

  void MakeWork();
  void AddHops();
  void Balance();
  void ObserveStream();
  void FindContributions();
  void FindOrder();
  double Body(const Assumptions& assumptions, EventIndex event, double ready,
              Clocks& clocks) const;

  const Dependencies& d_;
  Stream stream_;
  std::vector<Work> work_;
  // The joins that each event's publishing counts for.
  std::vector<uint32_t> contribution_begin_;  // one more
  std::vector<uint32_t> contributions_;
  std::vector<EventIndex> order_;
};

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_REPLAY_H_
