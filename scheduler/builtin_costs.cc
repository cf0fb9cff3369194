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
  target.hop_us = 0.473;
  target.counter_hop_us = 0.358;
  target.load_us = 0.471;
  target.signal_us = 0;
  target.release_us = 0.532;
  target.instruction_us = 0.223;
  target.costs = {
      {"advance", Cost(0, 1.3429, {},
                       {-0.0565, -0.0565, -0.0468, -0.0357, -0.0245, 0.0492,
                        0.0492, 0.0492})},
      {"argmax", Cost(0, 0.9463, {},
                      {-0.069, -0.069, -0.0616, -0.0363, 0.0271, 0.1814, 0.1814,
                       0.1814})},
      {"attention",
       Cost(0.972, 0.6299,
            {{Unit::kTurns, 0.4841},
             {Unit::kColdTurns, 0.3562},
             {Unit::kHeads, 0.9985}},
            {-0.0802, -0.0367, -0.0114, 0, 0.0081, 0.0327, 0.0507, 0.0981})},
      {"attention.qk_norm_rope",
       Cost(1.024, 0.4242,
            {{Unit::kTurns, 0.3997},
             {Unit::kColdTurns, 0.2464},
             {Unit::kHeads, 0.922}},
            {-0.0651, -0.0327, -0.0106, 0, 0.0079, 0.0266, 0.0449, 0.0912})},
      {"attention_merge",
       Cost(0.719, 0.3449, {{Unit::kSplits, 0.0235}},
            {-0.0611, -0.0405, -0.0196, 0, 0.0232, 0.069, 0.0968, 0.1246})},
      {"default",
       Cost(std::nullopt, 0.5, {{Unit::kHeads, 0.2}, {Unit::kElements, 0.1}})},
      {"embed", Cost(std::nullopt, 1.1315, {},
                     {-0.2138, -0.1636, -0.0801, 0, 0, 0.1325, 0.165, 0.1963})},
      {"gemv",
       Cost(0.85, 0.8247,
            {{Unit::kStages, 0.278},
             {Unit::kSlabs, 0.8631},
             {Unit::kGroups, 2.8111}},
            {-0.0641, -0.0356, -0.0151, 0, 0.0168, 0.0494, 0.0813, 0.1067})},
      {"gemv.none.add",
       Cost(1.16, 0.3954,
            {{Unit::kStages, 0.2545},
             {Unit::kSlabs, 0.3906},
             {Unit::kGroups, 1.4908}},
            {-0.1426, -0.0676, -0.0224, 0, 0.0294, 0.0792, 0.1233, 0.1631})},
      {"gemv.rms_norm.argmax",
       Cost(1.217, 2.3502,
            {{Unit::kStages, 0.1595},
             {Unit::kSlabs, 1.2046},
             {Unit::kGroups, 1.4485}},
            {-0.0276, -0.016, -0.0063, 0, 0.0078, 0.0196, 0.0283, 0.0437})},
      {"gemv.rms_norm.silu_mul",
       Cost(1.27, 1.0238,
            {{Unit::kStages, 0.2444},
             {Unit::kSlabs, 0.3596},
             {Unit::kGroups, 1.7132}},
            {-0.0564, -0.0306, -0.0127, 0, 0.0156, 0.0433, 0.0638, 0.0905})},
      {"gemv.rms_norm.store",
       Cost(1.354, 0.7131,
            {{Unit::kStages, 0.2744},
             {Unit::kSlabs, 0.2129},
             {Unit::kGroups, 1.4908}},
            {-0.0662, -0.0357, -0.0141, 0, 0.0159, 0.0512, 0.0754, 0.1043})},
      {"halt",
       Cost(std::nullopt, 0.5179, {},
            {-0.1024, -0.0727, -0.0332, 0, 0.095, 0.1534, 0.1795, 0.202})},
  };
  // Not measured, because no decode uses them: estimates, and what is next of
  // kin.
  target.costs["default"] =
      Cost(std::nullopt, 0.5, {{Unit::kElements, 0.1}, {Unit::kHeads, 0.2}});
  target.costs["gemv"] = target.costs.at("gemv.rms_norm.store");
  target.costs["attention"] = target.costs.at("attention.qk_norm_rope");
}

}  // namespace mkvm::scheduler
