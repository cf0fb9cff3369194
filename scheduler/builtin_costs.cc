#include "scheduler/builtin_costs.h"

#include <initializer_list>
#include <optional>

namespace mkvm::scheduler {
namespace {

struct UnitTime {
  Unit unit;
  double us;
};

OpCost Cost(std::optional<double> load_us, double fixed_us,
            std::initializer_list<UnitTime> units,
            std::initializer_list<double> spread = {}) {
  OpCost cost;
  cost.load_us = load_us;
  cost.fixed_us = fixed_us;
  for (const UnitTime& u : units) {
    cost.unit_us[static_cast<size_t>(u.unit)] = u.us;
  }
  cost.spread = spread;
  return cost;
}

}  // namespace

void SetInterpreterCosts(Target& target) {
  target.copy_us = 1;
  target.hop_us = 0.364;
  target.counter_hop_us = 0.356;
  target.load_us = 0.478;
  target.signal_us = 0;
  target.release_us = 0.546;
  target.instruction_us = 0.224;
  target.costs = {
      {"advance", Cost(0, 1.334, {},
                       {-0.0457, -0.0457, -0.039, -0.024, -0.0105, 0.0607,
                        0.0607, 0.0607})},
      {"argmax", Cost(0, 0.9492, {},
                      {-0.0845, -0.0845, -0.0297, 0.023, 0.0272, 0.0914, 0.0914,
                       0.0914})},
      {"attention.qk_norm_rope",
       Cost(0.972, 0.6299,
            {{Unit::kTurns, 0.4841},
             {Unit::kColdTurns, 0.3562},
             {Unit::kHeads, 0.9985}},
            {-0.0802, -0.0367, -0.0114, 0, 0.0081, 0.0327, 0.0507, 0.0981})},
      {"attention_merge",
       Cost(0.732, 0.3513, {{Unit::kSplits, 0.0212}},
            {-0.0547, -0.0326, -0.0137, 0, 0.0203, 0.0507, 0.0749, 0.1148})},
      {"embed",
       Cost(std::nullopt, 0.9867, {},
            {-0.1917, -0.1262, -0.0673, 0, 0, 0.1371, 0.1901, 0.2184})},
      {"gemv.none.add",
       Cost(0.801, 0.6991,
            {{Unit::kStages, 0.2468},
             {Unit::kSlabs, 0.7797},
             {Unit::kGroups, 2.8111}},
            {-0.147, -0.0702, -0.0258, 0, 0.0273, 0.0859, 0.1334, 0.164})},
      {"gemv.rms_norm.argmax",
       Cost(0.79, 3.677,
            {{Unit::kStages, 0.0236},
             {Unit::kSlabs, 2.5467},
             {Unit::kGroups, 2.33}},
            {-0.0239, -0.011, -0.0044, 0, 0.0073, 0.0173, 0.0239, 0.0369})},
      {"gemv.rms_norm.silu_mul",
       Cost(0.809, 1.5566,
            {{Unit::kStages, 0.1761},
             {Unit::kSlabs, 0.737},
             {Unit::kGroups, 4.1373}},
            {-0.0645, -0.025, -0.0108, 0, 0.0125, 0.0337, 0.052, 0.072})},
      {"gemv.rms_norm.store",
       Cost(0.85, 0.8247,
            {{Unit::kStages, 0.278},
             {Unit::kSlabs, 0.8631},
             {Unit::kGroups, 2.8111}},
            {-0.0641, -0.0356, -0.0151, 0, 0.0168, 0.0494, 0.0813, 0.1067})},
      {"halt",
       Cost(std::nullopt, 0.4802, {},
            {-0.1015, -0.0514, -0.0237, 0, 0.0239, 0.0613, 0.0825, 0.0979})},
  };
  // Not measured, because no decode uses them: estimates, and what is next of
  // kin.
  target.costs["default"] =
      Cost(std::nullopt, 0.5, {{Unit::kElements, 0.1}, {Unit::kHeads, 0.2}});
  target.costs["gemv"] = target.costs.at("gemv.rms_norm.store");
  target.costs["attention"] = target.costs.at("attention.qk_norm_rope");
}

}  // namespace mkvm::scheduler
