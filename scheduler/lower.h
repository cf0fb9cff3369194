// Pass 2: operations to tiles.
//
// Each operation is a line of units (panels of rows, cache lines of elements,
// whole heads), its parts one after the other or, per kv head, interleaved.
// The line is cut into as many shares as there are workers, equal to within one
// unit; a share becomes one tile (one instruction) per part and kv head that it
// touches. Nothing is capped, and no worker idles while there are units.
#ifndef MKVM_SCHEDULER_LOWER_H_
#define MKVM_SCHEDULER_LOWER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "isa/instruction.h"
#include "scheduler/graph.h"

namespace mkvm::scheduler {

inline constexpr int32_t kAnyWorker = -1;
inline constexpr int32_t kNoHead = -1;
inline constexpr int32_t kNoTile = -1;

struct Tile {
  isa::Instruction instruction;  // operands only: no waits, no signal
  uint32_t op = 0;               // index into Graph::ops
  uint32_t share = 0;            // tiles of one share go to one worker
  int32_t kv_head = kNoHead;
  int32_t pinned = kAnyWorker;  // the worker it must go to
  int32_t beside = kNoTile;     // goes to the worker of this tile
  uint64_t streamed_bytes = 0;  // weights, per pass
  std::string label;            // "L03.qkv[17]"
  std::string counter;          // signalled when done; empty: none
};

struct Tiles {
  uint32_t workers = 1;
  std::vector<Tile> tiles;  // by operation, then share
};

Tiles Lower(const Graph& graph, const Geometry& geometry);

// One line per tile.
std::string DumpTiles(const Graph& graph, const Tiles& tiles);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_LOWER_H_
