#include "trace/parts.h"

#include <algorithm>

namespace mkvm::trace {
namespace {

// `time` if it was recorded, else `otherwise`, between `low` and `high`.
Nanos Between(Nanos time, Nanos otherwise, Nanos low, Nanos high) {
  return std::clamp(time == kNever ? otherwise : time, low, high);
}

// The parts of one visit that may not begin before `floor`, nor end after
// `ceiling` unless computing does.
Visit Split(const Event& event, Nanos floor, Nanos ceiling) {
  const Nanos visited =
      std::max(event.visited == kNever ? floor : event.visited, floor);
  const Nanos done =
      std::max(event.done == kNever ? visited : event.done, visited);
  const Nanos waited = Between(event.waited, visited, visited, done);
  // The last poll begins when the data are there, as far as anybody can see.
  const Nanos seen = Between(event.poll_begin, waited, waited, done);
  const Nanos ready = Between(event.ready, seen, seen, done);
  const Nanos operands =
      std::clamp(ready + std::max<Nanos>(event.operand_wait, 0), ready, done);
  const Nanos stage_wait =
      std::clamp<Nanos>(event.stage_wait, 0, done - operands);
  const Nanos stage_end =
      Between(event.stage_ready, operands, operands + stage_wait, done);
  const Nanos signaled = event.signaled == kNever ? done : event.signaled;
  return {.at = {visited, seen, ready, operands, stage_end - stage_wait,
                 stage_end, done,
                 std::clamp(signaled, done, std::max(done, ceiling))}};
}

// The time over which the event's bytes are spread.
struct Span {
  Nanos begin, end;
};
Span ReadSpan(const Event& event, const Visit& visit) {
  const Nanos end = visit.at[kPartOrder.size() - 1];            // done
  const Nanos begin = event.load_begin == kNever ? visit.at[2]  // ready
                                                 : event.load_begin;
  return {std::max<Nanos>(std::min(begin, end), 0), std::max<Nanos>(end, 0)};
}

}  // namespace

absl::string_view Name(Part part) {
  switch (part) {
    case Part::kWait:
      return "wait";
    case Part::kLoad:
      return "load operands";
    case Part::kOperandWait:
      return "wait for operands";
    case Part::kStageWait:
      return "wait for weights";
    case Part::kCompute:
      return "compute";
    case Part::kSignal:
      return "signal";
  }
  return "";
}

std::vector<Visit> Visits(const Trace& trace) {
  std::vector<Visit> visits;
  visits.reserve(trace.events.size());
  for (size_t i = 0; i < trace.events.size(); ++i) {
    const Event& event = trace.events[i];
    Nanos floor = 0;
    Nanos ceiling = std::numeric_limits<Nanos>::max();
    if (i > 0 && trace.events[i - 1].worker == event.worker) {
      floor = visits.back().end();
    }
    if (i + 1 < trace.events.size() &&
        trace.events[i + 1].worker == event.worker &&
        trace.events[i + 1].visited != kNever) {
      ceiling = trace.events[i + 1].visited;
    }
    visits.push_back(Split(event, floor, ceiling));
  }
  return visits;
}

ReadRate RateOfReads(const Trace& trace, size_t max_bins, Nanos min_bin_ns) {
  const std::vector<Visit> visits = Visits(trace);
  Nanos last = 0;
  for (const Visit& visit : visits) last = std::max(last, visit.end());
  const auto bins = static_cast<Nanos>(std::max<size_t>(max_bins, 1));
  ReadRate rate;
  rate.bin_ns = std::max({min_bin_ns, last / bins + 1, Nanos{1}});
  rate.gb_per_s.resize(static_cast<size_t>(last / rate.bin_ns) + 1);
  for (size_t i = 0; i < visits.size(); ++i) {
    const Event& event = trace.events[i];
    if (event.bytes == 0) continue;
    const Span span = ReadSpan(event, visits[i]);
    const double per_ns = static_cast<double>(event.bytes) /
                          static_cast<double>(span.end - span.begin + 1);
    for (Nanos t = span.begin; t <= span.end;) {
      const Nanos bin = t / rate.bin_ns;
      const Nanos next = std::min((bin + 1) * rate.bin_ns, span.end + 1);
      // Bytes per nanosecond are GB/s.
      rate.gb_per_s[static_cast<size_t>(bin)] +=
          static_cast<float>(per_ns * static_cast<double>(next - t) /
                             static_cast<double>(rate.bin_ns));
      t = next;
    }
  }
  return rate;
}

}  // namespace mkvm::trace
