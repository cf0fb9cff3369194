// What a program costs on a target, from its instructions alone.
#ifndef MKVM_SCHEDULER_COST_MODEL_H_
#define MKVM_SCHEDULER_COST_MODEL_H_

#include <cstdint>
#include <vector>

#include "isa/program.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

struct CriticalPath {
  uint32_t instructions = 0;
  double us = 0;
};
// The longest chain through queue order and waits of one pass at position 0 if
// nothing were prefetched: after all that it waits for, each instruction
// streams its bytes at the worker's share of the bandwidth and computes, plus a
// hop for each edge between workers. {0, 0} when the program has a cycle.
CriticalPath LongestPath(const isa::Program& program, const Target& target);

// Time of a pass in the steady state, microseconds, simulated
// (scheduler/simulate.h) at that position. 0 when the program has a cycle.
double PredictPassUs(const isa::Program& program, const Target& target,
                     uint64_t position);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COST_MODEL_H_
