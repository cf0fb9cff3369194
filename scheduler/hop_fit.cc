#include "scheduler/hop_fit.h"

#include <cstddef>
#include <cstdint>

#include "isa/program.h"
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

  bool IsTagged() const {
    for (const auto& queue : trace->program.queues) {
      for (const isa::Instruction& i : queue) {
        if (i.tagged != 0) return true;
      }
    }
    return false;
  }
};

// How much too long the predictions are, in parts, summed up.
double Excess(absl::Span<const PassTime> times, const Target& target) {
  double sum = 0;
  for (const PassTime& t : times) {
    sum += PredictPassUs(t.trace->program, target, t.position) / t.us - 1;
  }
  return sum;
}

// Calls set(value) with the value in [low, high] for which the predictions with
// `target` are neither too long nor too short in the mean. They get longer with
// the value.
template <typename Set>
void MeetPassTimes(absl::Span<const PassTime> times, const Target& target,
                   double low, double high, Set set) {
  constexpr int kHalvings = 12;
  for (int i = 0; i < kHalvings; ++i) {
    set((low + high) / 2);
    (Excess(times, target) < 0 ? low : high) = (low + high) / 2;
  }
}

// Hops can't be read off a trace: they are of the size of what the clocks of
// two workers are apart. False when even hops that take no time are too long.
bool MeetWithHops(absl::Span<const PassTime> times, const Target& target,
                  double& hop_us) {
  hop_us = 0;
  if (Excess(times, target) > 0) return false;
  double high = 1;
  constexpr double kLongest = 1e3;
  for (hop_us = high; high < kLongest && Excess(times, target) < 0;) {
    hop_us = high *= 2;
  }
  MeetPassTimes(times, target, 0, high, [&](double us) { hop_us = us; });
  return true;
}

// Classes that always waited hide how short their load times are.
void MeetWithLoads(absl::Span<const PassTime> times, Target& target) {
  const Target before = target;
  MeetPassTimes(times, target, 0, 1, [&](double part) {
    target.load_us = before.load_us * part;
    for (auto& [name, cost] : target.costs) {
      const OpCost& measured = before.costs.at(name);
      if (measured.load_us) cost.load_us = *measured.load_us * part;
    }
  });
}

}  // namespace

void FitHops(const std::vector<trace::Trace>& traces,
             absl::Span<const double> pass_us, Target& target) {
  std::vector<PassTime> tagged, counted;
  for (size_t i = 0; i < traces.size(); ++i) {
    PassTime time;
    time.trace = &traces[i];
    time.position = static_cast<uint64_t>(traces[i].first_position) +
                    traces[i].first_pass + traces[i].num_passes / 2;
    time.us = i < pass_us.size() ? pass_us[i] : 0;
    if (time.us <= 0) time.us = PassUs(traces[i]);
    if (time.us <= 0) continue;
    (time.IsTagged() ? tagged : counted).push_back(time);
  }
  // Tagged programs have a counter or two as well; what is measured for those
  // holds until the others are known.
  if (!tagged.empty() && !MeetWithHops(tagged, target, target.hop_us)) {
    MeetWithLoads(tagged, target);
  }
  if (!counted.empty() &&
      !MeetWithHops(counted, target, target.counter_hop_us.emplace()) &&
      tagged.empty()) {
    MeetWithLoads(counted, target);
  }
}

}  // namespace mkvm::scheduler
