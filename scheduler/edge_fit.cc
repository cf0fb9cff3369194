#include "scheduler/edge_fit.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "scheduler/costs.h"
#include "scheduler/quantile.h"

namespace mkvm::scheduler {
namespace {

// An event that waited: when it came and when it had what. Microseconds.
struct Look {
  OpCost* cost;  // of its class
  uint32_t worker;
  double visited;
  double waited;  // its counters have been seen; `visited` without counters
  double ready;
  bool at_once;  // all operands at `ready`, as far as is recorded
  Waits waits;
};

std::vector<Look> Looks(const std::vector<Recording>& recordings,
                        CostTable& costs) {
  std::vector<Look> looks;
  for (const Recording& recording : recordings) {
    const std::vector<trace::Event>& events = recording.trace().events;
    for (trace::EventIndex e = 0; e < events.size(); ++e) {
      const trace::Event& event = events[e];
      if (!IsWhole(event) || recording.IsIdle(event)) continue;
      Waits waits = recording.WaitsOf(e);
      if (!waits.known) continue;
      waits.by_counter &= event.waited != trace::kNever;
      looks.push_back(
          {.cost = &costs.at(ClassOf(recording.InstructionOf(event))),
           .worker = event.worker,
           .visited = Us(event.visited),
           .waited = Us(waits.by_counter ? std::max(event.waited, event.visited)
                                         : event.visited),
           .ready = Us(trace::ReadyTime(event)),
           .at_once = event.operand_wait == 0,
           .waits = waits});
    }
  }
  return looks;
}

// Another worker's publication was the last, and came after `time`.
bool HeldUp(const Look& look, const Completion& by, double time) {
  return by.worker[0] >= 0 && by.worker[0] != look.worker && by.us[0] > time;
}

// Times are not negative. False when there are too few values.
bool Median(std::vector<double>& values, double& field) {
  constexpr size_t kEnough = 8;
  if (values.size() < kEnough) return false;
  field = std::max(0.0, Quantile(values, 0.5));
  return true;
}

void FitHops(const std::vector<Look>& looks, Target& target) {
  std::vector<double> tagged, counted;
  for (const Look& look : looks) {
    // Later than this, the operands were not there at the first look.
    const double looked =
        look.waited + look.cost->load_us.value_or(target.load_us);
    // Tagged data can be there before their producer is done, when it makes
    // more than these; how long those took to come is not known.
    if (look.at_once && HeldUp(look, look.waits.tagged, looked) &&
        look.ready > look.waits.tagged.us[0]) {
      tagged.push_back(look.ready - look.waits.tagged.us[0]);
    }
    if (look.waits.by_counter &&
        HeldUp(look, look.waits.counted, look.visited + target.load_us)) {
      counted.push_back(look.waited - look.waits.counted.us[0]);
    }
  }
  Median(tagged, target.hop_us);
  double counter_hop_us = 0;
  if (Median(counted, counter_hop_us)) target.counter_hop_us = counter_hop_us;
}

void FitLoads(const std::vector<Look>& looks, Target& target) {
  const double counter_hop_us = target.counter_hop_us.value_or(target.hop_us);
  std::map<OpCost*, std::vector<double>> operands;
  std::vector<double> counters;
  for (const Look& look : looks) {
    if (look.cost->load_us.has_value() &&
        look.waits.tagged.SeenBy(look.worker, target.hop_us) <= look.waited) {
      operands[look.cost].push_back(look.ready - look.waited);
    }
    if (look.waits.by_counter &&
        look.waits.counted.SeenBy(look.worker, counter_hop_us) <=
            look.visited) {
      counters.push_back(look.waited - look.visited);
    }
  }
  for (auto& [cost, us] : operands) Median(us, *cost->load_us);
  Median(counters, target.load_us);
}

}  // namespace

void FitEdges(const std::vector<Recording>& recordings, Target& target) {
  const std::vector<Look> looks = Looks(recordings, target.costs);
  FitHops(looks, target);
  FitLoads(looks, target);
}

}  // namespace mkvm::scheduler
