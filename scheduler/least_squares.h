// The costs of one opcode's classes from times of instructions.
#ifndef MKVM_SCHEDULER_LEAST_SQUARES_H_
#define MKVM_SCHEDULER_LEAST_SQUARES_H_

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "scheduler/costs.h"

namespace mkvm::scheduler {

struct Observation {
  size_t class_index = 0;
  PerUnit<uint32_t> work = {};
  double us = 0;
  double weight = 1;
};

// Fixed and unit costs of each class, none negative, that come nearest to the
// observations. The classes share what theirs alone does not determine: a unit
// that never varies within a class costs what it costs in the others, a fixed
// time that can't be told from the units is the others'. Classes without an
// observation get what is shared. No spread.
std::vector<OpCost> FitCosts(absl::Span<const Observation> observations,
                             size_t num_classes);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_LEAST_SQUARES_H_
