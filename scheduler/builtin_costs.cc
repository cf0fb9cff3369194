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
  target.hop_us = 0.437;
  target.counter_hop_us = 0.405;
  target.load_us = 0.511;
  target.signal_us = 0;
  target.release_us = 0.543;
  target.instruction_us = 0.198;
  target.costs = {
      {"advance", Cost(0, 1.6728, {},
                       {-0.074, -0.074, -0.0459, -0.0351, -0.0292, 0.0779,
                        0.0779, 0.0779})},
      {"argmax", Cost(0, 1.5598, {},
                      {-0.2268, -0.2268, -0.1153, 0.0578, 0.0899, 0.5559,
                       0.5559, 0.5559})},
      {"attention.qk_norm_rope",
       Cost(0.911, 0,
            {{Unit::kTurns, 0.4136},
             {Unit::kColdTurns, 0.0601},
             {Unit::kHeads, 0.6308}},
            {-0.2192, -0.0629, -0.0218, 0, 0.0184, 0.0532, 0.1029, 0.1427})},
      {"attention_merge",
       Cost(0.416, 0.3894, {{Unit::kSplits, 0.0059}},
            {-0.0569, -0.0308, -0.0145, 0, 0.0266, 0.0657, 0.1049, 0.1467})},
      {"embed", Cost(std::nullopt, 1.2982, {},
                     {-0.1641, -0.1117, -0.051, 0, 0, 0.1142, 0.1624, 0.1803})},
      {"gemv.none.add",
       Cost(1.281, 0, {{Unit::kStages, 0.2385}, {Unit::kGroups, 4.5679}},
            {-0.2268, -0.1209, -0.0457, 0, 0.0458, 0.1893, 0.5449, 0.9981})},
      {"gemv.rms_norm.argmax",
       Cost(1.161, 0.2203, {{Unit::kStages, 0.3424}, {Unit::kGroups, 0.8201}},
            {-0.0552, -0.0363, -0.0067, 0, 0.0146, 0.0406, 0.0559, 0.0684})},
      {"gemv.rms_norm.silu_mul",
       Cost(1.161, 0, {{Unit::kStages, 0.1514}, {Unit::kGroups, 5.4379}},
            {-0.178, -0.0934, -0.0399, 0, 0.046, 0.125, 0.1794, 0.2679})},
      {"gemv.rms_norm.store",
       Cost(1.015, 0, {{Unit::kStages, 0.2285}, {Unit::kGroups, 4.5679}},
            {-0.1567, -0.0932, -0.0382, 0, 0.0449, 0.1392, 0.2241, 0.396})},
      {"halt",
       Cost(std::nullopt, 0.914, {},
            {-0.2372, -0.1183, -0.0588, 0, 0.0673, 0.2265, 0.3494, 0.4713})},
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
