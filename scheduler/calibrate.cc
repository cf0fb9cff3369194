#include "scheduler/calibrate.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "scheduler/completion.h"
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
  const auto i = static_cast<ptrdiff_t>(
      level * static_cast<double>(values.size() - 1) + 0.5);
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
  std::vector<double> load, hop, counter_hop;
  std::vector<double> stream_gb_per_s;
};

// How long the last, successful reading of operands took.
std::optional<double> LoadUs(const isa::Program& program,
                             const isa::Instruction& instruction,
                             const trace::Event& event) {
  if (event.ready == trace::kNever || !ReadsActivations(program, instruction)) {
    return std::nullopt;
  }
  const trace::Nanos begin =
      std::max({event.poll_begin, event.waited, event.visited});
  return Us(event.ready - begin);
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
    const auto load = LoadUs(trace.program, instruction, event);
    if (load.has_value()) between.load.push_back(*load);
  }
}

// Edges that were waited for: the producer published after the visit. REQUIRES:
// load_us.
void MeasureHops(const Recording& recording, double load_us, Between& between) {
  const trace::Trace& trace = recording.trace();
  for (trace::EventIndex e = 0; e < trace.events.size(); ++e) {
    const trace::Event& event = trace.events[e];
    const isa::Instruction& instruction = recording.InstructionOf(event);
    const Waits waits = recording.WaitsOf(e);
    if (!waits.known || !IsWhole(event)) continue;
    const double visited = Us(event.visited);
    // Index 0: the latest publication.
    if (event.waited != trace::kNever && waits.counted.worker[0] >= 0 &&
        waits.counted.worker[0] != event.worker &&
        waits.counted.us[0] > visited) {
      between.counter_hop.push_back(Us(event.waited) - waits.counted.us[0]);
    }
    // Several slabs: the first is ready when the last is still under way.
    const PerUnit<uint32_t> work = WorkOf(instruction, 0);
    if (waits.tagged.worker[0] >= 0 && waits.tagged.worker[0] != event.worker &&
        waits.tagged.us[0] > visited &&
        work[static_cast<size_t>(Unit::kSlabs)] <= 1) {
      between.hop.push_back(Us(trace::ReadyTime(event)) - load_us -
                            waits.tagged.us[0]);
    }
  }
}

// One instruction's own time, after the modelled moment when its operands are
// there.
struct Sample {
  size_t class_index;
  PerUnit<uint32_t> work;
  double us;
};
// Instructions that ran side by side: class, trace, pass and phase.
using Crowd = std::tuple<size_t, size_t, uint32_t, uint32_t>;

class BodyFit {
 public:
  explicit BodyFit(const Target& target) : target_(target) {}

  void Add(const Recording& recording, size_t number) {
    const trace::Trace& trace = recording.trace();
    for (trace::EventIndex e = 0; e < trace.events.size(); ++e) {
      const trace::Event& event = trace.events[e];
      const isa::Instruction& instruction = recording.InstructionOf(event);
      const Waits waits = recording.WaitsOf(e);
      if (!waits.known || !IsWhole(event)) continue;
      double ready = Us(event.visited);
      if (waits.by_counter) ready += target_.load_us;
      const double counter_hop =
          target_.counter_hop_us.value_or(target_.hop_us);
      ready = std::max({ready, waits.counted.SeenBy(event.worker, counter_hop),
                        waits.tagged.SeenBy(event.worker, target_.hop_us)});
      if (ReadsActivations(trace.program, instruction)) {
        ready += target_.load_us;
      }
      const size_t c = ClassIndex(ClassOf(instruction));
      crowds_[{c, number, event.pass, recording.phases().PhaseOf(event)}]
          .push_back({c, WorkOf(instruction, recording.PositionOf(event)),
                      Us(event.done - event.stage_wait) - ready});
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
        fitted[i].spread_us = Spread(members[i], fitted[i]);
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

  // How far the instructions of a crowd are from its median; in crowds too
  // small to have one, from the fit.
  std::vector<double> Spread(size_t c, const OpCost& cost) const {
    constexpr size_t kLargeCrowd = 4;
    std::vector<double> off;
    const auto end = crowds_.lower_bound({c + 1, 0, 0, 0});
    for (auto it = crowds_.lower_bound({c, 0, 0, 0}); it != end; ++it) {
      std::vector<double> errors;
      for (const Sample& s : it->second) {
        errors.push_back(s.us - WorkUs(cost, s.work));
      }
      std::vector<double> sorted = errors;
      const double middle =
          errors.size() < kLargeCrowd ? 0 : Quantile(sorted, 0.5);
      for (const double error : errors) off.push_back(error - middle);
    }
    std::vector<double> spread;
    for (const double level : kSpreadLevels) {
      // The very last ones are interrupts and other accidents.
      spread.push_back(Quantile(off, std::clamp(level, 0.001, 0.999)));
    }
    constexpr double kNoticeable = 0.005;  // the clock's error
    if (spread.back() - spread.front() < kNoticeable) spread.clear();
    return spread;
  }

  const Target& target_;
  std::vector<std::string> classes_;
  std::map<Crowd, std::vector<Sample>> crowds_;
};

}  // namespace

absl::StatusOr<Target> Fit(const std::vector<trace::Trace>& traces,
                           const Target& base) {
  std::vector<Recording> recordings;
  recordings.reserve(traces.size());
  for (const trace::Trace& trace : traces) recordings.emplace_back(trace);
  Target target = base;
  Between between;
  for (const Recording& recording : recordings) Measure(recording, between);
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
  SetToMedian(between.load, target.load_us);
  SetToMedian(between.stream_gb_per_s, target.stream_gb_per_s);
  for (const Recording& recording : recordings) {
    MeasureHops(recording, target.load_us, between);
  }
  SetToMedian(between.hop, target.hop_us);
  SetToMedian(between.counter_hop, target.counter_hop_us);
  BodyFit bodies(target);
  for (size_t i = 0; i < recordings.size(); ++i) bodies.Add(recordings[i], i);
  bodies.Run(target.costs);
  return target;
}

}  // namespace mkvm::scheduler
