// The recorded dependency graph: who made what an event waited for.
#ifndef MKVM_TRACE_DEPENDENCIES_H_
#define MKVM_TRACE_DEPENDENCIES_H_

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "trace/trace.h"

namespace mkvm::trace {

// Index into Trace::events.
using EventIndex = uint32_t;
// There is none, or it was not recorded.
inline constexpr EventIndex kNoEvent = std::numeric_limits<uint32_t>::max();
inline constexpr uint32_t kNoJoin = std::numeric_limits<uint32_t>::max();

// How an edge was carried.
enum class Transport : uint8_t { kCounter = 0, kTagged = 1 };
inline constexpr size_t kNumTransports = 2;

// One dependency of one event.
struct Edge {
  EventIndex producer = kNoEvent;  // the last of them to publish
  int8_t wait = -1;                // of the waiter's waits, 0..3
  Transport transport = Transport::kCounter;
  Nanos publish = kNever;  // when the producer's writes were there to be seen
};

// An instruction's place in the program, and the position from which it writes
// what it is a producer of.
struct ProducerPlace {
  uint32_t worker;
  uint32_t pc;
  uint64_t first_position = 0;
};

// The same wait of several instructions in one pass for the same producers.
struct Join {
  uint32_t set = 0;   // Dependencies::Producers
  uint32_t pass = 0;  // of the producers
  EventIndex last = kNoEvent;
  // The last on another worker than `last`.
  EventIndex last_elsewhere = kNoEvent;
  Transport transport = Transport::kCounter;
};

class Dependencies {
 public:
  // Of an event's wait for a counter those producers count whose writes it
  // reads; all of the counter's when it reads none of them (an order without
  // data). In passes in which other instructions write what it polls, it is
  // theirs; in those in which it polls nothing, there are none. `trace`
  // outlives this. REQUIRES: `trace` as Parse or Normalize leave it, with fewer
  // than 2^32 - 1 events.
  explicit Dependencies(const Trace& trace);

  const Trace& trace() const { return trace_; }

  // The event of that instruction in that pass, or kNoEvent.
  EventIndex Find(uint32_t worker, uint32_t pass, uint32_t pc) const;
  // What the worker did just before, perhaps in the pass before; kNoEvent at
  // the beginning of its recording and after a gap.
  EventIndex Previous(EventIndex event) const;

  // 0..4 of the instruction.
  int NumWaits(EventIndex event) const;
  // The wait's last producer; its `producer` is kNoEvent where none was
  // recorded or the wait does not count in this pass.
  Edge EdgeOf(EventIndex event, int wait) const;
  // The edge of the event whose producer published last.
  Edge LastEdge(EventIndex event) const;
  // The same of producers on other workers than the event's: what its own
  // worker made was there when it came to wait.
  Edge HopOf(EventIndex event, int wait) const;
  Edge LastHop(EventIndex event) const;

  // When what `producer` made could be seen: `done` for data that carry their
  // tags, `signaled` for a counter.
  Nanos Publish(EventIndex producer, Transport transport) const;
  // When `event` looked and found it: the last poll, or the counter seen.
  Nanos Detected(EventIndex event, Transport transport) const;
  // The smallest publish-to-detected time of an edge between two workers, 0
  // at least; 0 as well when there is no such edge.
  Nanos Propagation(Transport transport) const {
    return propagation_[static_cast<size_t>(transport)];
  }

  // For replays. kNoJoin: as a `producer` of kNoEvent in EdgeOf.
  uint32_t JoinOf(EventIndex event, int wait) const {
    return joins_of_[event][wait];
  }
  absl::Span<const Join> joins() const { return joins_; }
  absl::Span<const ProducerPlace> Producers(uint32_t set) const;
  // Whether the join waits for that producer of its set. A counter also counts
  // those that have written nothing in the pass.
  bool WaitsFor(const Join& join, const ProducerPlace& producer) const {
    return join.transport == Transport::kCounter ||
           static_cast<uint64_t>(trace_.first_position) + join.pass >=
               producer.first_position;
  }

 private:
  class Builder;

  // Of the edges edge_of(wait), the one published last.
  template <typename EdgeOfWait>
  Edge Last(EventIndex event, EdgeOfWait edge_of) const;
  Edge MakeEdge(int wait, const Join& join, EventIndex producer) const;
  void FindJoins();
  void FindPropagation();

  const Trace& trace_;
  // Tagged edges were polled: the machine recorded polls at all.
  bool polls_ = false;
  std::vector<uint32_t> worker_begin_;     // in trace.events; one more
  std::vector<ProducerPlace> producers_;   // of all sets
  std::vector<uint32_t> set_begin_ = {0};  // in producers_; one more
  std::vector<Join> joins_;
  std::vector<std::array<uint32_t, isa::kMaxWaits>> joins_of_;  // per event
  std::array<Nanos, kNumTransports> propagation_ = {};
};

// The instructions of a program by phase ("L07.down") and phase kind ("down");
// those without a label are a phase named after their opcode.
class Phases {
 public:
  explicit Phases(const isa::Program& program);

  uint32_t KindOf(const Event& event) const {
    return kind_[begin_[event.worker] + event.pc];
  }
  uint32_t PhaseOf(const Event& event) const {
    return phase_[begin_[event.worker] + event.pc];
  }
  // In the order of the queues.
  const std::vector<std::string>& kinds() const { return kinds_; }
  const std::vector<std::string>& phases() const { return phases_; }
  // By phase, the index of its kind.
  std::vector<uint32_t> KindsOfPhases() const;

 private:
  std::vector<uint32_t> begin_;  // of each worker's instructions
  std::vector<uint32_t> kind_, phase_;
  std::vector<std::string> kinds_, phases_;
};

// One recorded pass: one token.
struct PassSpan {
  uint32_t pass = 0;
  EventIndex last = kNoEvent;  // the event with the latest `done`
  // From the end of the pass before, or the first visit where that is not
  // recorded, to its own latest `done`.
  Nanos begin = 0, end = 0;
  bool follows = false;   // the pass before is recorded
  bool complete = false;  // every instruction of the program is recorded
};
// Ascending by pass.
std::vector<PassSpan> PassSpans(const Trace& trace);
// The passes that tables and means are made of: complete ones that follow a
// complete one; all complete ones when there are no such passes; all of them
// when there are none of these either.
std::vector<PassSpan> TypicalPasses(const std::vector<PassSpan>& passes);

// Where the time of one visit went, nanoseconds; none is negative. Together
// from the previous event's `signaled` (from `visited` without one) to this
// one's.
struct Breakdown {
  Nanos overhead = 0;      // between instructions, and done to signaled
  Nanos wait = 0;          // visited to ready: for counters and operands
  Nanos stage_wait = 0;    // for weight stages
  Nanos operand_wait = 0;  // for operands after `ready`
  Nanos compute = 0;

  Nanos total() const {
    return overhead + wait + stage_wait + operand_wait + compute;
  }
};
// `previous`: the worker's event before, nullptr if there is none.
Breakdown BreakDown(const Event& event, const Event* previous);
// `ready`, or the best stand-in of a machine that does not record it.
Nanos ReadyTime(const Event& event);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_DEPENDENCIES_H_
