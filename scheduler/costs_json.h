// The "costs" of a target file, read and written (docs/target.md).
#ifndef MKVM_SCHEDULER_COSTS_JSON_H_
#define MKVM_SCHEDULER_COSTS_JSON_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "scheduler/costs.h"

namespace mkvm::scheduler {

// Errors: InvalidArgument, naming the entry and the key.
absl::StatusOr<CostTable> ParseCosts(const nlohmann::ordered_json& value);
nlohmann::ordered_json CostsToJson(const CostTable& costs);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COSTS_JSON_H_
