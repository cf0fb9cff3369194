#include "scheduler/builtin_costs.h"

namespace mkvm::scheduler {
namespace {

struct UnitTime {
  Unit unit;
  double us;
};

OpCost Cost(double fixed_us, std::initializer_list<UnitTime> units) {
  OpCost cost;
  cost.fixed_us = fixed_us;
  for (const UnitTime& u : units) {
    cost.unit_us[static_cast<size_t>(u.unit)] = u.us;
  }
  return cost;
}

}  // namespace

void SetInterpreterCosts(Target& target) {
  target.copy_us = 1;
  target.load_us = 0.6;
  target.signal_us = 0.27;
  target.release_us = 2;
  target.instruction_us = 0.24;
  target.costs = {
      {"default", Cost(0.3, {{Unit::kElements, 0.1}, {Unit::kHeads, 0.2}})},
      {"gemv", Cost(0.3, {{Unit::kStages, 0.37}, {Unit::kSlabs, 0.3}})},
      {"attention", Cost(1.6, {{Unit::kTurns, 0.5}, {Unit::kHeads, 0.1}})},
      {"attention_merge", Cost(0.4, {{Unit::kSplits, 0.02}})},
  };
}

}  // namespace mkvm::scheduler
