#include "vm/trace_clock.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace mkvm::vm {

// The timers count from long ago: their differences are exact as integers, but
// the times themselves would not be as doubles.
double ClockMap::Nanos(const ops::TraceSample& sample) const {
  return static_cast<double>(
      static_cast<int64_t>(sample.global_ns - origin_ns_));
}

double ClockMap::Between(const ops::TraceSample& a, const ops::TraceSample& b,
                         uint64_t cycles) const {
  // Signed: a time may lie before the first sample.
  const auto since =
      static_cast<double>(static_cast<int64_t>(cycles - a.cycles));
  return Nanos(a) + since * static_cast<double>(b.global_ns - a.global_ns) /
                        static_cast<double>(b.cycles - a.cycles);
}

double ClockMap::NanosAt(uint64_t cycles) const {
  const auto after = std::upper_bound(
      samples_.begin(), samples_.end(), cycles,
      [](uint64_t c, const ops::TraceSample& s) { return c < s.cycles; });
  const auto index = std::clamp<int64_t>(after - samples_.begin(), 1,
                                         std::ssize(samples_) - 1);
  return Between(samples_[index - 1], samples_[index], cycles);
}

double ClockMap::NanosPerCycle() const {
  const ops::TraceSample& a = samples_.front();
  const ops::TraceSample& b = samples_.back();
  return static_cast<double>(b.global_ns - a.global_ns) /
         static_cast<double>(b.cycles - a.cycles);
}

double ClockMap::LargestError() const {
  double largest = 0;
  for (size_t i = 1; i + 1 < samples_.size(); ++i) {
    const double expected =
        Between(samples_[i - 1], samples_[i + 1], samples_[i].cycles);
    largest = std::max(largest, std::abs(expected - Nanos(samples_[i])));
  }
  return largest / 2;
}

trace::Event ToEvent(const ops::TraceRecord& record, uint32_t worker,
                     const ClockMap& clock) {
  const auto at = [&](uint32_t time) -> trace::Nanos {
    if (time == 0) return trace::kNever;
    const uint32_t since = time - static_cast<uint32_t>(record.fetched);
    return std::llround(clock.NanosAt(record.fetched + since));
  };
  // A duration at the rate of the visit's own time.
  const auto lasting = [&](uint32_t cycles) -> trace::Nanos {
    return std::llround(clock.NanosAt(record.fetched + cycles) -
                        clock.NanosAt(record.fetched));
  };
  trace::Event event;
  event.worker = worker;
  event.pass = record.pass;
  event.pc = record.pc;
  event.fetched = std::llround(clock.NanosAt(record.fetched));
  event.load_begin = at(record.load_begin);
  event.load_end = at(record.load_end);
  event.visited = at(record.visited);
  event.waited = at(record.waited);
  event.poll_begin = at(record.poll_begin);
  event.ready = at(record.ready);
  event.stage_ready = at(record.stage_ready);
  event.done = at(record.done);
  event.signaled = at(record.signaled);
  event.stage_wait = lasting(record.stage_wait);
  event.operand_wait = lasting(record.operand_wait);
  event.last_wait = static_cast<int8_t>(static_cast<int>(record.last_wait) - 1);
  event.last_buffer =
      record.last_buffer == 0 ? isa::kNoBuffer : record.last_buffer - 1;
  // A signal that is no release is on its way at once (kNever is before all).
  event.signaled = std::max(event.signaled, event.done);
  // Nothing to wait for or to read: it could begin at once.
  if (event.waited == trace::kNever) event.waited = event.visited;
  if (event.ready == trace::kNever) event.ready = event.waited;
  return event;
}

}  // namespace mkvm::vm
