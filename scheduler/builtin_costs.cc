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
  target.hop_us = 0;
  target.counter_hop_us = 0;
  target.load_us = 0.558;
  target.signal_us = 0;
  target.release_us = 0.781;
  target.instruction_us = 0;
  target.costs = {
      {"advance",
       Cost(0, 1.6662, {},
            {-0.062, -0.062, -0.0356, 0.0173, 0.0323, 0.0779, 0.0779, 0.0779})},
      {"argmax", Cost(0, 1.2456, {},
                      {-0.1835, -0.1835, -0.1377, -0.0839, -0.0727, 0.0678,
                       0.0678, 0.0678})},
      {"attention.qk_norm_rope",
       Cost(1.221, 0.8981,
            {{Unit::kTurns, 0.282},
             {Unit::kColdTurns, 0.017},
             {Unit::kHeads, 0.1139}},
            {-0.1174, -0.0527, -0.018, 0, 0.0088, 0.0341, 0.0551, 0.0848})},
      {"attention_merge",
       Cost(1.113, 0.3758, {{Unit::kSplits, 0.0059}},
            {-0.1689, -0.0877, -0.0354, 0, 0.0791, 0.4543, 0.5597, 0.6307})},
      {"embed",
       Cost(std::nullopt, 1.5023, {},
            {-0.1569, -0.1025, -0.0415, 0, 0, 0.1448, 0.1869, 0.2472})},
      {"gemv.none.add",
       Cost(1.135, 0, {{Unit::kStages, 0.2224}},
            {-0.196, -0.0889, -0.0357, 0, 0.0401, 0.1352, 0.2436, 0.3804})},
      {"gemv.rms_norm.argmax",
       Cost(1.125, 0,
            {{Unit::kStages, 0.1385},
             {Unit::kSlabs, 1.4114},
             {Unit::kGroups, 2.3719}},
            {-0.0515, -0.0302, -0.0079, 0, 0.0102, 0.0238, 0.0339, 0.0518})},
      {"gemv.rms_norm.silu_mul",
       Cost(1.123, 0, {{Unit::kStages, 0.1951}},
            {-0.1226, -0.0657, -0.0277, 0, 0.0355, 0.0999, 0.1663, 0.2261})},
      {"gemv.rms_norm.store",
       Cost(0.957, 0.0996, {{Unit::kStages, 0.1518}},
            {-0.1847, -0.1092, -0.0393, 0, 0.0541, 0.1682, 0.2558, 0.3448})},
      {"halt",
       Cost(std::nullopt, 0.7623, {},
            {-0.0493, -0.0254, -0.0107, 0, 0.0119, 0.0332, 0.0938, 0.1034})},
  };
  // Means of a trace with temperature, top_k and top_p.
  target.costs["sample_slice"] = Cost(std::nullopt, 1.9, {});
  target.costs["sample"] = Cost(std::nullopt, 8.6, {});
  // Not measured, because no decode uses them: estimates, and what is next of
  // kin.
  target.costs["default"] =
      Cost(std::nullopt, 0.5, {{Unit::kElements, 0.1}, {Unit::kHeads, 0.2}});
  target.costs["gemv"] = target.costs.at("gemv.rms_norm.store");
  target.costs["attention"] = target.costs.at("attention.qk_norm_rope");
}

}  // namespace mkvm::scheduler
