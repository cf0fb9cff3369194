// In which order a gemv's weights go through the stages: host and device.
//
// A stage is one panel (8 rows) by up to 1024 columns (a slab). Group by group
// of panels; within a group chunk by chunk of slabs; within a chunk panel by
// panel, with a silu_mul's gate and up panels side by side; within a panel slab
// by slab. A chunk of a group is what the registers hold at once.
#ifndef MKVM_OPS_GEMV_SHAPE_H_
#define MKVM_OPS_GEMV_SHAPE_H_

#include <algorithm>
#include <cstdint>

#include "isa/opcode.h"
#include "ops/panel.h"

namespace mkvm::ops {

// Panels whose partial sums an op may hold at once.
inline constexpr uint32_t kGroupSlots = 6;
// Stages whose weights are in registers at once: those of a chunk.
inline constexpr uint32_t kStagesAtOnce = kGroupSlots;
// Slabs of a chunk at most.
inline constexpr uint32_t kChunkSlabs = 3;

// Of one gemv; loader and compute warps walk the same. Of an attention's rows,
// too (ops/attention_part.h).
struct alignas(16) GemvShape {
  uint32_t panels;    // of w
  uint32_t matrices;  // 2 with w2, else 1
  uint32_t tiles;     // per panel
  uint32_t slabs;
  uint32_t chunk;   // slabs per chunk
  uint32_t group;   // panels of w per group
  float mean;       // 1 / k
  uint32_t x_mask;  // bits of a word of x that must be the tag's: 0 unpolled

  MKVM_HOST_DEVICE uint32_t GroupPanels(uint32_t first) const {
    return group < panels - first ? group : panels - first;
  }
  MKVM_HOST_DEVICE uint32_t ChunkSlabs(uint32_t first) const {
    return chunk < slabs - first ? chunk : slabs - first;
  }
};

// REQUIRES: num_stages >= 2.
inline GemvShape MakeGemvShape(uint32_t rows, uint32_t k, uint32_t matrices,
                               uint32_t num_stages) {
  GemvShape shape = {};
  shape.panels = (rows + isa::kPanelRows - 1) / isa::kPanelRows;
  shape.matrices = matrices;
  shape.mean = 1.0f / static_cast<float>(k);
  shape.tiles = static_cast<uint32_t>(TilesPerPanel(k));
  shape.slabs = (shape.tiles + kSlabTiles - 1) / kSlabTiles;
  // All of a chunk's stages must be in the ring at once, too.
  const uint32_t stages = std::min(kStagesAtOnce, num_stages);
  const uint32_t most = matrices == 2 ? stages / 2 : stages;
  // In as few chunks as can be, and these as narrow as that allows: two and two
  // slabs rather than three and one, for the more panels of a group. (A k of
  // zero has no slabs.)
  const auto divide = [](uint32_t a, uint32_t b) { return (a + b - 1) / b; };
  const uint32_t chunks = divide(shape.slabs, std::min(kChunkSlabs, most));
  shape.chunk = divide(shape.slabs, std::max(chunks, 1u));
  const uint32_t slots = stages / std::max(shape.chunk, 1u);
  shape.group = matrices == 2 ? slots / 2 : slots;
  return shape;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_SHAPE_H_
