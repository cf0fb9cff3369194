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
  target.hop_us = 0.005;
  target.counter_hop_us = 0.003;
  target.load_us = 0.596;
  target.signal_us = 0;
  target.release_us = 0.918;
  target.instruction_us = 0;
  target.costs = {
      {"advance", Cost(1.195, 0.8041, {},
                       {-0.1543, -0.1543, -0.0225, -0.0125, -0.0001, 0.0223,
                        0.0223, 0.0223})},
      {"argmax", Cost(0, 1.2456, {},
                      {-0.1835, -0.1835, -0.1377, -0.0839, -0.0727, 0.0678,
                       0.0678, 0.0678})},
      {"attention.qk_norm_rope",
       Cost(1.355, 0.6042, {{Unit::kTurns, 0.2347}, {Unit::kColdTurns, 0.0341}},
            {-0.1783, -0.0504, -0.0166, 0, 0.0095, 0.0355, 0.0674, 0.1098})},
      {"attention_merge",
       Cost(0.918, 0.3324, {{Unit::kSplits, 0.0026}},
            {-0.1145, -0.0461, -0.0184, 0, 0.1067, 0.5994, 0.8558, 0.9587})},
      {"embed",
       Cost(std::nullopt, 1.3886, {},
            {-0.1818, -0.1088, -0.0517, 0, 0, 0.1195, 0.2018, 0.2018})},
      {"gemv.none.add",
       Cost(1.217, 0,
            {{Unit::kStages, 0.0203},
             {Unit::kSlabs, 0.4225},
             {Unit::kGroups, 2.6453}},
            {-0.1928, -0.1068, -0.0393, 0, 0.0424, 0.1327, 0.2361, 0.4864})},
      {"gemv.rms_norm.argmax",
       Cost(1.173, 0,
            {{Unit::kStages, 0.1035},
             {Unit::kSlabs, 1.4742},
             {Unit::kGroups, 2.6583}},
            {-0.0741, -0.0386, -0.0168, 0, 0.0135, 0.0344, 0.0504, 0.0642})},
      {"gemv.rms_norm.silu_mul",
       Cost(1.169, 0,
            {{Unit::kStages, 0.1088},
             {Unit::kSlabs, 0.7317},
             {Unit::kGroups, 2.6618}},
            {-0.1174, -0.0692, -0.0267, 0, 0.0373, 0.1087, 0.1716, 0.2497})},
      {"gemv.rms_norm.store",
       Cost(1.034, 0, {{Unit::kStages, 0.1471}, {Unit::kGroups, 2.6453}},
            {-0.1602, -0.0924, -0.038, 0, 0.054, 0.2014, 0.3269, 0.5513})},
      {"halt",
       Cost(std::nullopt, 0.7813, {},
            {-0.0568, -0.0306, -0.0127, 0, 0.0152, 0.033, 0.0537, 0.1526})},
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
