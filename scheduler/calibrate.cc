#include "scheduler/calibrate.h"

#include <algorithm>

#include "absl/status/status.h"
#include "scheduler/body_fit.h"
#include "scheduler/hop_fit.h"
#include "scheduler/quantile.h"
#include "scheduler/recording.h"

namespace mkvm::scheduler {
namespace {

// Sets `field` to the median, if there are values; times are not negative.
template <typename Field>
void SetToMedian(std::vector<double>& values, Field& field) {
  if (!values.empty()) field = std::max(0.0, Quantile(values, 0.5));
}

// What lies between instructions, over all traces.
struct Between {
  std::vector<double> instruction, signal, release;
  std::vector<double> counter_load, hop, counter_hop;
  std::vector<double> stream_gb_per_s;
};

// Edges that were waited for: the producer published after the visit.
void MeasureHops(const Recording& recording, trace::EventIndex index,
                 Between& between) {
  const trace::Event& event = recording.trace().events[index];
  const Waits waits = recording.WaitsOf(index);
  if (!waits.known) return;
  const double visited = Us(event.visited);
  const auto waited_for = [&](const Completion& c) {
    return c.worker[0] >= 0 && c.worker[0] != event.worker && c.us[0] > visited;
  };
  if (event.waited != trace::kNever && waits.by_counter) {
    between.counter_load.push_back(Us(event.waited) - visited);
    if (waited_for(waits.counted)) {
      between.counter_hop.push_back(Us(event.waited) - waits.counted.us[0]);
    }
  }
  if (waited_for(waits.tagged)) {
    between.hop.push_back(Us(trace::ReadyTime(event)) - waits.tagged.us[0]);
  }
}

void Measure(const Recording& recording, Between& between) {
  const trace::Trace& trace = recording.trace();
  if (trace.stream_gb_per_s > 0) {
    between.stream_gb_per_s.push_back(trace.stream_gb_per_s);
  }
  for (trace::EventIndex e = 0; e < trace.events.size(); ++e) {
    const trace::Event& event = trace.events[e];
    if (!IsWhole(event)) continue;
    const isa::Instruction& instruction = recording.InstructionOf(event);
    const bool releases = instruction.signal != isa::kNoCounter &&
                          (instruction.flags & isa::kFlagRelease) != 0;
    (releases ? between.release : between.signal)
        .push_back(Us(event.signaled - event.done));
    const trace::EventIndex previous = recording.dependencies().Previous(e);
    if (previous != trace::kNoEvent && IsWhole(trace.events[previous]) &&
        event.fetched <= trace.events[previous].signaled) {
      between.instruction.push_back(
          Us(event.visited - trace.events[previous].signaled));
    }
    MeasureHops(recording, e, between);
  }
}

}  // namespace

absl::StatusOr<Target> Fit(const std::vector<trace::Trace>& traces,
                           const Target& base,
                           absl::Span<const double> pass_us) {
  Target target = base;
  Between between;
  BodyFit bodies;
  for (size_t i = 0; i < traces.size(); ++i) {
    const Recording recording(traces[i]);
    Measure(recording, between);
    bodies.Add(recording, i);
  }
  if (between.instruction.empty()) {
    return absl::InvalidArgumentError(
        "no costs can be fitted: no trace holds two instructions in a row");
  }
  SetToMedian(between.instruction, target.instruction_us);
  SetToMedian(between.signal, target.signal_us);
  if (!between.release.empty()) {
    target.release_us =
        std::max(0.0, Quantile(between.release, 0.5) - target.signal_us);
  }
  SetToMedian(between.stream_gb_per_s, target.stream_gb_per_s);
  SetToMedian(between.hop, target.hop_us);
  SetToMedian(between.counter_hop, target.counter_hop_us);
  if (!between.counter_load.empty()) {
    constexpr double kNotWaited = 0.02;
    target.load_us = std::max(0.0, Quantile(between.counter_load, kNotWaited));
  }
  bodies.Run(target.costs);
  FitHops(traces, pass_us, target);
  return target;
}

}  // namespace mkvm::scheduler
