// Pass 3: a worker for every tile.
//
// The shares of an operation go to different workers. Those that stream
// weights go, the largest first, to the workers that stream least so far, so
// that the units which don't divide evenly fall on another worker each time.
// Attention goes where its head's q, k and v were computed, and what streams
// after it to others than those that attend alone at short context.
#ifndef MKVM_SCHEDULER_PLACE_H_
#define MKVM_SCHEDULER_PLACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "scheduler/lower.h"

namespace mkvm::scheduler {

struct Placement {
  std::vector<uint32_t> worker;          // of each tile
  std::vector<uint64_t> streamed_bytes;  // of each worker, per pass
};

Placement Place(const Tiles& tiles);

// Per operation, which workers have how many of its bytes.
std::string DumpPlacement(const Graph& graph, const Tiles& tiles,
                          const Placement& placement);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_PLACE_H_
