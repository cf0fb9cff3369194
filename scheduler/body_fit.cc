#include "scheduler/body_fit.h"

#include <algorithm>
#include <utility>

#include "scheduler/quantile.h"

namespace mkvm::scheduler {
namespace {

// Some instruction of a class always comes when its operands are there; the
// others waited longer.
double LoadUs(std::vector<double> us) {
  constexpr double kNotWaited = 0.02;
  return std::max(0.0, Quantile(us, kNotWaited));
}

}  // namespace

void BodyFit::Add(const Recording& recording, size_t number,
                  const Target& target) {
  const trace::Trace& trace = recording.trace();
  std::map<uint64_t, bool> kv_is_cold;  // by position
  for (uint32_t p = 0; p < trace.num_passes; ++p) {
    const uint64_t position =
        static_cast<uint64_t>(trace.first_position) + trace.first_pass + p;
    kv_is_cold[position] = KvIsCold(target, trace.program, position);
  }
  for (const trace::Event& event : trace.events) {
    if (!IsWhole(event) || recording.IsIdle(event)) continue;
    const isa::Instruction& instruction = recording.InstructionOf(event);
    const size_t c = ClassIndex(ClassOf(instruction));
    const trace::Nanos ready = trace::ReadyTime(event);
    if (ReadsActivations(trace.program, instruction)) {
      const trace::Nanos begin = std::max(event.visited, event.waited);
      loads_[c].push_back(Us(ready - begin));
    }
    const uint64_t position = recording.PositionOf(event);
    crowds_[{c, number, event.pass, recording.phases().PhaseOf(event)}]
        .push_back({c,
                    WorkOf(instruction, {.position = position,
                                         .panels = target.panels,
                                         .kv_is_cold = kv_is_cold[position]}),
                    Us(event.done - event.stage_wait - ready)});
  }
}

void BodyFit::Run(CostTable& costs) const {
  std::map<std::string, std::vector<size_t>> opcodes;
  for (size_t c = 0; c < classes_.size(); ++c) {
    opcodes[classes_[c].substr(0, classes_[c].find('.'))].push_back(c);
  }
  const std::vector<Observation> observations = Observations();
  for (const auto& [opcode, members] : opcodes) {
    std::vector<Observation> own;
    for (Observation o : observations) {
      const auto it = std::find(members.begin(), members.end(), o.class_index);
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

size_t BodyFit::ClassIndex(const std::string& name) {
  const auto it = std::find(classes_.begin(), classes_.end(), name);
  if (it != classes_.end()) {
    return static_cast<size_t>(it - classes_.begin());
  }
  classes_.push_back(name);
  return classes_.size() - 1;
}

std::vector<Observation> BodyFit::Observations() const {
  constexpr double kShortest = 0.1;  // us; below, the clock's steps matter
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
    const double mean_us = TrimmedMean(us);
    // As many per cent off count as much in a short instruction as in a long
    // one: a layer's gemvs are short, and there are many of them.
    const double unit_us = std::max(mean_us, kShortest);
    observations.push_back({.class_index = key.first,
                            .work = key.second,
                            .us = mean_us,
                            .weight = n / (n + 4) / (unit_us * unit_us)});
  }
  return observations;
}

std::map<size_t, std::vector<double>> BodyFit::Distances(
    size_t c, const OpCost& cost, size_t smallest) const {
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
std::vector<double> BodyFit::Spread(size_t c, const OpCost& cost) const {
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

}  // namespace mkvm::scheduler
