#include "scheduler/calibrate.h"

#include <algorithm>

#include "absl/status/status.h"
#include "scheduler/body_fit.h"
#include "scheduler/edge_fit.h"
#include "scheduler/pass_fit.h"
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
  std::vector<double> counter_load;
  std::vector<double> stream_gb_per_s;
};

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
    if (event.waited != trace::kNever && instruction.num_waits > 0) {
      between.counter_load.push_back(Us(event.waited - event.visited));
    }
  }
}

}  // namespace

absl::StatusOr<Target> Fit(const std::vector<trace::Trace>& traces,
                           const Target& base,
                           absl::Span<const double> pass_us) {
  Target target = base;
  Between between;
  BodyFit bodies;
  std::vector<Recording> recordings;
  recordings.reserve(traces.size());
  for (size_t i = 0; i < traces.size(); ++i) {
    recordings.emplace_back(traces[i]);
    Measure(recordings[i], between);
    bodies.Add(recordings[i], i, base);
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
  if (!between.counter_load.empty()) {
    constexpr double kNotWaited = 0.02;
    target.load_us = std::max(0.0, Quantile(between.counter_load, kNotWaited));
  }
  bodies.Run(target.costs);
  FitEdges(recordings, target);
  TakeOffTracing(traces, pass_us, target);
  return target;
}

}  // namespace mkvm::scheduler
