#include "trace/dependencies.h"

#include <algorithm>
#include <utility>

namespace mkvm::trace {

Dependencies::Dependencies(const Trace& trace) : trace_(trace) {
  const std::vector<Event>& events = trace.events;
  polls_ = std::any_of(events.begin(), events.end(),
                       [](const Event& e) { return e.poll_begin != kNever; });
  worker_begin_.assign(trace.program.num_workers() + 1, 0);
  for (const Event& e : events) ++worker_begin_[e.worker + 1];
  for (size_t w = 1; w < worker_begin_.size(); ++w) {
    worker_begin_[w] += worker_begin_[w - 1];
  }
  FindJoins();
  FindPropagation();
}

void Dependencies::FindPropagation() {
  std::array<Nanos, kNumTransports> least;
  least.fill(std::numeric_limits<Nanos>::max());
  for (EventIndex e = 0; e < trace_.events.size(); ++e) {
    for (int i = 0; i < NumWaits(e); ++i) {
      const Edge edge = HopOf(e, i);
      if (edge.producer == kNoEvent) continue;
      Nanos& smallest = least[static_cast<size_t>(edge.transport)];
      smallest = std::min(smallest, Detected(e, edge.transport) - edge.publish);
    }
  }
  for (size_t t = 0; t < kNumTransports; ++t) {
    const bool any = least[t] != std::numeric_limits<Nanos>::max();
    propagation_[t] = any ? std::max<Nanos>(least[t], 0) : 0;
  }
}

EventIndex Dependencies::Find(uint32_t worker, uint32_t pass,
                              uint32_t pc) const {
  const uint32_t begin = worker_begin_[worker];
  const uint32_t end = worker_begin_[worker + 1];
  if (begin == end) return kNoEvent;
  const std::vector<Event>& events = trace_.events;
  // Without gaps the place says the index.
  const uint64_t length = trace_.program.queues[worker].size();
  const uint64_t step = pass * length + pc;
  const uint64_t first = events[begin].pass * length + events[begin].pc;
  if (step < first) return kNoEvent;
  const auto matches = [&](uint64_t index) {
    return events[index].pass == pass && events[index].pc == pc;
  };
  const uint64_t guess = begin + (step - first);
  if (guess < end && matches(guess)) return static_cast<EventIndex>(guess);
  const auto it = std::lower_bound(
      events.begin() + begin, events.begin() + end, std::make_pair(pass, pc),
      [](const Event& e, const std::pair<uint32_t, uint32_t>& place) {
        return std::make_pair(e.pass, e.pc) < place;
      });
  const auto index = static_cast<EventIndex>(it - events.begin());
  return index < end && matches(index) ? index : kNoEvent;
}

EventIndex Dependencies::Previous(EventIndex event) const {
  const Event& e = trace_.events[event];
  if (event == worker_begin_[e.worker]) return kNoEvent;
  const Event& before = trace_.events[event - 1];
  const bool next_in_pass = before.pass == e.pass && before.pc + 1 == e.pc;
  const bool over_the_end =
      before.pass + 1 == e.pass && e.pc == 0 &&
      before.pc + 1 == trace_.program.queues[e.worker].size();
  return next_in_pass || over_the_end ? event - 1 : kNoEvent;
}

int Dependencies::NumWaits(EventIndex event) const {
  const Event& e = trace_.events[event];
  return trace_.program.queues[e.worker][e.pc].num_waits;
}

Edge Dependencies::MakeEdge(int wait, const Join& join,
                            EventIndex producer) const {
  Edge edge;
  edge.wait = static_cast<int8_t>(wait);
  edge.transport = join.transport;
  edge.producer = producer;
  if (producer != kNoEvent) edge.publish = Publish(producer, join.transport);
  return edge;
}

Edge Dependencies::EdgeOf(EventIndex event, int wait) const {
  const uint32_t index = joins_of_[event][wait];
  if (index == kNoJoin) return {};
  return MakeEdge(wait, joins_[index], joins_[index].last);
}

Edge Dependencies::HopOf(EventIndex event, int wait) const {
  const uint32_t index = joins_of_[event][wait];
  if (index == kNoJoin || joins_[index].last == kNoEvent) return {};
  const Join& join = joins_[index];
  const bool own =
      trace_.events[join.last].worker == trace_.events[event].worker;
  return MakeEdge(wait, join, own ? join.last_elsewhere : join.last);
}

template <typename EdgeOfWait>
Edge Dependencies::Last(EventIndex event, EdgeOfWait edge_of) const {
  Edge last;
  for (int i = 0; i < NumWaits(event); ++i) {
    const Edge edge = edge_of(i);
    if (edge.producer == kNoEvent) continue;
    if (last.producer == kNoEvent || edge.publish > last.publish) last = edge;
  }
  return last;
}

Edge Dependencies::LastEdge(EventIndex event) const {
  return Last(event, [&](int wait) { return EdgeOf(event, wait); });
}

Edge Dependencies::LastHop(EventIndex event) const {
  return Last(event, [&](int wait) { return HopOf(event, wait); });
}

Nanos Dependencies::Publish(EventIndex producer, Transport transport) const {
  const Event& e = trace_.events[producer];
  return transport == Transport::kTagged ? e.done : e.signaled;
}

Nanos Dependencies::Detected(EventIndex event, Transport transport) const {
  const Event& e = trace_.events[event];
  const Nanos time = transport == Transport::kTagged ? e.poll_begin : e.waited;
  return time != kNever ? time : ReadyTime(e);
}

absl::Span<const ProducerPlace> Dependencies::Producers(uint32_t set) const {
  return absl::MakeConstSpan(producers_)
      .subspan(set_begin_[set], set_begin_[set + 1] - set_begin_[set]);
}

}  // namespace mkvm::trace
