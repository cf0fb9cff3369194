// Pass 4: the order of each worker's queue.
//
// A queue runs its tiles in the order of the graph: layer by layer, the LM head
// after the last, argmax and advance on worker 0, halt at the end. Every queue
// in one and the same topological order can't deadlock: the earliest
// instruction that has not run waits only for earlier ones.
#ifndef MKVM_SCHEDULER_ORDER_H_
#define MKVM_SCHEDULER_ORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "isa/program.h"
#include "scheduler/lower.h"
#include "scheduler/place.h"

namespace mkvm::scheduler {

struct Queues {
  // Per worker, indices into Tiles::tiles.
  std::vector<std::vector<uint32_t>> tiles;
};

Queues Order(const Tiles& tiles, const Placement& placement);

// The finished queues: one line per instruction with its waits and signal.
std::string DumpQueues(const isa::Program& program);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_ORDER_H_
