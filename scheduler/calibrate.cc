#include "scheduler/calibrate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "scheduler/completion.h"
#include "scheduler/cost_model.h"
#include "scheduler/costs.h"
#include "scheduler/least_squares.h"
#include "trace/dependencies.h"

namespace mkvm::scheduler {
namespace {

constexpr double kNanosPerUs = 1e3;

double Us(trace::Nanos nanos) {
  return static_cast<double>(nanos) / kNanosPerUs;
}

// REQUIRES: not empty.
double Quantile(std::vector<double>& values, double level) {
  const ptrdiff_t i =
      std::lround(level * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + i, values.end());
  return values[static_cast<size_t>(i)];
}

// Sets `field` to the median, if there are values; times are not negative.
template <typename Field>
void SetToMedian(std::vector<double>& values, Field& field) {
  if (!values.empty()) field = std::max(0.0, Quantile(values, 0.5));
}

// The mean without the largest and the smallest twentieth.
double TrimmedMean(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const size_t cut = values.size() / 20;
  double sum = 0;
  for (size_t i = cut; i < values.size() - cut; ++i) sum += values[i];
  return sum / static_cast<double>(values.size() - 2 * cut);
}

// Cut short by the end of a recording otherwise.
bool IsWhole(const trace::Event& event) {
  return event.visited != trace::kNever && event.done != trace::kNever &&
         event.signaled != trace::kNever;
}

// What an event waited for: the latest publication of each transport.
struct Waits {
  bool known = true;  // every producer is in the trace
  bool by_counter = false;
  Completion tagged, counted;
};

// One trace and what its events waited for.
class Recording {
 public:
  explicit Recording(const trace::Trace& trace)
      : trace_(trace), dependencies_(trace), phases_(trace.program) {
    for (const trace::Join& join : dependencies_.joins()) {
      joins_.push_back(CompletionOf(join));
    }
  }

  const trace::Trace& trace() const { return trace_; }
  const trace::Dependencies& dependencies() const { return dependencies_; }
  const trace::Phases& phases() const { return phases_; }
  const isa::Instruction& InstructionOf(const trace::Event& event) const {
    return trace_.program.queues[event.worker][event.pc];
  }
  uint64_t PositionOf(const trace::Event& event) const {
    return static_cast<uint64_t>(trace_.first_position) + event.pass;
  }

  Waits WaitsOf(trace::EventIndex index) const {
    Waits waits;
    const trace::Event& event = trace_.events[index];
    const isa::Instruction& instruction = InstructionOf(event);
    for (int i = 0; i < instruction.num_waits; ++i) {
      if (event.pass == 0 && instruction.WaitIsLagged(i)) continue;
      const uint32_t join = dependencies_.JoinOf(index, i);
      if (join == trace::kNoJoin || !joins_[join].has_value()) {
        waits.known = false;
        continue;
      }
      const bool tagged =
          dependencies_.joins()[join].transport == trace::Transport::kTagged;
      waits.by_counter |= !tagged;
      Completion& all = tagged ? waits.tagged : waits.counted;
      for (int k = 0; k < 2; ++k) {
        if (joins_[join]->worker[k] < 0) continue;
        all.Publish(joins_[join]->us[k],
                    static_cast<uint32_t>(joins_[join]->worker[k]));
      }
    }
    return waits;
  }

 private:
  std::optional<Completion> CompletionOf(const trace::Join& join) const {
    Completion completion;
    for (const trace::ProducerPlace& place :
         dependencies_.Producers(join.set)) {
      const trace::EventIndex e =
          dependencies_.Find(place.worker, join.pass, place.pc);
      if (e == trace::kNoEvent || !IsWhole(trace_.events[e])) {
        return std::nullopt;
      }
      completion.Publish(Us(dependencies_.Publish(e, join.transport)),
                         place.worker);
    }
    return completion;
  }

  const trace::Trace& trace_;
  trace::Dependencies dependencies_;
  trace::Phases phases_;
  std::vector<std::optional<Completion>> joins_;
};

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

// One instruction's own time, from the moment that its operands are there.
struct Sample {
  size_t class_index;
  PerUnit<uint32_t> work;
  double us;
};
// Instructions that ran side by side: class, trace, pass and phase.
using Crowd = std::tuple<size_t, size_t, uint32_t, uint32_t>;

class BodyFit {
 public:
  // All times are differences on one worker's clock: two workers' clocks are
  // further apart than instructions differ.
  void Add(const Recording& recording, size_t number) {
    const trace::Trace& trace = recording.trace();
    for (const trace::Event& event : trace.events) {
      if (!IsWhole(event)) continue;
      const isa::Instruction& instruction = recording.InstructionOf(event);
      const size_t c = ClassIndex(ClassOf(instruction));
      const trace::Nanos ready = trace::ReadyTime(event);
      if (ReadsActivations(trace.program, instruction)) {
        const trace::Nanos begin = std::max(event.visited, event.waited);
        loads_[c].push_back(Us(ready - begin));
      }
      crowds_[{c, number, event.pass, recording.phases().PhaseOf(event)}]
          .push_back({c, WorkOf(instruction, recording.PositionOf(event)),
                      Us(event.done - event.stage_wait - ready)});
    }
  }

  // Replaces the costs of the classes seen.
  void Run(CostTable& costs) const {
    std::map<std::string, std::vector<size_t>> opcodes;
    for (size_t c = 0; c < classes_.size(); ++c) {
      opcodes[classes_[c].substr(0, classes_[c].find('.'))].push_back(c);
    }
    const std::vector<Observation> observations = Observations();
    for (const auto& [opcode, members] : opcodes) {
      std::vector<Observation> own;
      for (Observation o : observations) {
        const auto it =
            std::find(members.begin(), members.end(), o.class_index);
        if (it == members.end()) continue;
        o.class_index = static_cast<size_t>(it - members.begin());
        own.push_back(o);
      }
      std::vector<OpCost> fitted = FitCosts(own, members.size());
      for (size_t i = 0; i < members.size(); ++i) {
        fitted[i].spread = Spread(members[i], fitted[i]);
        if (loads_.contains(members[i])) {
          fitted[i].load_us = LoadUs(loads_.at(members[i]));
        }
        costs[classes_[members[i]]] = std::move(fitted[i]);
      }
    }
  }

 private:
  size_t ClassIndex(const std::string& name) {
    const auto it = std::find(classes_.begin(), classes_.end(), name);
    if (it != classes_.end()) {
      return static_cast<size_t>(it - classes_.begin());
    }
    classes_.push_back(name);
    return classes_.size() - 1;
  }

  // One per class and work: the mean over crowds of their medians.
  std::vector<Observation> Observations() const {
    std::map<std::pair<size_t, PerUnit<uint32_t>>, std::vector<double>> medians;
    for (const auto& [key, samples] : crowds_) {
      std::map<PerUnit<uint32_t>, std::vector<double>> by_work;
      for (const Sample& s : samples) by_work[s.work].push_back(s.us);
      for (auto& [work, us] : by_work) {
        medians[{std::get<0>(key), work}].push_back(Quantile(us, 0.5));
      }
    }
    std::vector<Observation> observations;
    for (auto& [key, us] : medians) {
      const double n = static_cast<double>(us.size());
      observations.push_back({.class_index = key.first,
                              .work = key.second,
                              .us = TrimmedMean(us),
                              .weight = n / (n + 4)});
    }
    return observations;
  }

  // How far instructions with the same work are from the median of their crowd,
  // as parts of it, by trace. With crowds too small to have a median: from the
  // fit.
  std::map<size_t, std::vector<double>> Distances(size_t c, const OpCost& cost,
                                                  size_t smallest) const {
    std::map<size_t, std::vector<double>> distances;
    const auto end = crowds_.lower_bound({c + 1, 0, 0, 0});
    for (auto it = crowds_.lower_bound({c, 0, 0, 0}); it != end; ++it) {
      std::map<PerUnit<uint32_t>, std::vector<double>> by_work;
      for (const Sample& s : it->second) by_work[s.work].push_back(s.us);
      for (auto& [work, us] : by_work) {
        if (us.size() < smallest) continue;
        const double middle =
            smallest > 1 ? Quantile(us, 0.5) : WorkUs(cost, work);
        if (middle <= 0) continue;
        std::vector<double>& to = distances[std::get<1>(it->first)];
        for (const double t : us) to.push_back(t / middle - 1);
      }
    }
    return distances;
  }

  // The median over the traces, so that one of them, say one that is bound by
  // the stream, does not speak for all.
  std::vector<double> Spread(size_t c, const OpCost& cost) const {
    constexpr size_t kLargeCrowd = 4;
    auto distances = Distances(c, cost, kLargeCrowd);
    if (distances.empty()) distances = Distances(c, cost, 1);
    if (distances.empty()) return {};
    std::vector<double> spread;
    for (const double level : kSpreadLevels) {
      std::vector<double> of_traces;
      of_traces.reserve(distances.size());
      for (auto& [trace, parts] : distances) {
        // The very last ones are interrupts and other accidents.
        of_traces.push_back(Quantile(parts, std::clamp(level, 0.001, 0.999)));
      }
      spread.push_back(std::max(-1.0, Quantile(of_traces, 0.5)));
    }
    constexpr double kNoticeable = 0.002;  // the clock's steps
    if (spread.back() - spread.front() < kNoticeable) spread.clear();
    return spread;
  }

  // Some instruction of a class always comes when its operands are there; the
  // others waited longer.
  static double LoadUs(std::vector<double> us) {
    constexpr double kNotWaited = 0.02;
    return std::max(0.0, Quantile(us, kNotWaited));
  }

  std::vector<std::string> classes_;
  std::map<size_t, std::vector<double>> loads_;  // by class
  std::map<Crowd, std::vector<Sample>> crowds_;
};

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
