// The times of the GPU interpreter in the built-in targets.
#ifndef MKVM_SCHEDULER_BUILTIN_COSTS_H_
#define MKVM_SCHEDULER_BUILTIN_COSTS_H_

#include "scheduler/target.h"

namespace mkvm::scheduler {

// Sets all times of `target` to those of an H200, fitted by mkvm calibrate.
void SetInterpreterCosts(Target& target);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_BUILTIN_COSTS_H_
