// The times of the GPU interpreter's instructions in the built-in targets.
#ifndef MKVM_SCHEDULER_BUILTIN_COSTS_H_
#define MKVM_SCHEDULER_BUILTIN_COSTS_H_

#include "scheduler/target.h"

namespace mkvm::scheduler {

// Sets all times of `target` but hop_us to those of an H200.
void SetInterpreterCosts(Target& target);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_BUILTIN_COSTS_H_
