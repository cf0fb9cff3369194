#include "scheduler/pass_fit.h"

#include <cstddef>
#include <cstdint>

#include "scheduler/cost_model.h"
#include "scheduler/recording.h"

namespace mkvm::scheduler {
namespace {

// The mean time of a pass on each worker's own clock; 0 when it is not known.
double PassUs(const trace::Trace& trace) {
  struct Span {
    trace::Nanos first = trace::kNever, last = trace::kNever;
    uint32_t first_pass = 0, last_pass = 0;
  };
  std::vector<Span> workers(trace.program.num_workers());
  for (const trace::Event& event : trace.events) {
    if (event.pc != 0 || event.visited == trace::kNever) continue;
    Span& span = workers[event.worker];
    if (span.first == trace::kNever) {
      span.first = event.visited;
      span.first_pass = event.pass;
    }
    span.last = event.visited;
    span.last_pass = event.pass;
  }
  double us = 0;
  double passes = 0;
  for (const Span& span : workers) {
    us += Us(span.last - span.first);
    passes += span.last_pass - span.first_pass;
  }
  return passes > 0 ? us / passes : 0;
}

// The time of a whole pass at the middle of a recording, to be met.
struct PassTime {
  const trace::Trace* trace;
  uint64_t position;
  double us;
};

// How much too long the predictions are, in parts, summed up.
double Excess(absl::Span<const PassTime> times, const Target& target) {
  double sum = 0;
  for (const PassTime& t : times) {
    sum += PredictPassUs(t.trace->program, target, t.position) / t.us - 1;
  }
  return sum;
}

// Calls set(part) last with the largest part in [0, 1] for which the
// predictions with `target` are not too long in the mean; with 0 if they always
// are.
template <typename Set>
void Shorten(absl::Span<const PassTime> times, const Target& target, Set set) {
  if (times.empty() || Excess(times, target) <= 0) return;
  double low = 0;
  double high = 1;
  constexpr int kHalvings = 12;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    set(middle);
    (Excess(times, target) < 0 ? low : high) = middle;
  }
  set(low);
}

}  // namespace

void TakeOffTracing(const std::vector<trace::Trace>& traces,
                    absl::Span<const double> pass_us, Target& target) {
  std::vector<PassTime> times;
  for (size_t i = 0; i < traces.size(); ++i) {
    PassTime time;
    time.trace = &traces[i];
    time.position = static_cast<uint64_t>(traces[i].first_position) +
                    traces[i].first_pass + traces[i].num_passes / 2;
    time.us = i < pass_us.size() ? pass_us[i] : 0;
    if (time.us <= 0) time.us = PassUs(traces[i]);
    if (time.us > 0) times.push_back(time);
  }
  const Target whole = target;
  Shorten(times, target, [&](double part) {
    target.instruction_us = whole.instruction_us * part;
  });
  Shorten(times, target, [&](double part) {
    target.hop_us = whole.hop_us * part;
    if (whole.counter_hop_us.has_value()) {
      target.counter_hop_us = *whole.counter_hop_us * part;
    }
  });
}

}  // namespace mkvm::scheduler
