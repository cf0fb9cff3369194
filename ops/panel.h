// Where an element of a matrix in Layout::kPanels lives. Host and device.
//
// A panel is 8 rows; it is a run of tiles of 8 rows x 32 columns, 512 bytes
// each, columns ascending. A tile holds, for lane l = 4 * g + q of a warp, the
// 16 bytes that are that lane's A operand of mma.m16n8k16: operand rows 0..7
// are matrix rows 0..7 at columns 0..15 of the tile, operand rows 8..15 the
// same matrix rows at columns 16..31. Within each half, the k index is permuted
// so that lane q owns columns 4q .. 4q+3, which are contiguous in the vector:
//
//   register 0: half 0, columns 4q, 4q+1      register 1: half 1, same columns
//   register 2: half 0, columns 4q+2, 4q+3    register 3: half 1, same columns
//
// A warp reads a tile with one conflict-free 16-byte load per lane.
//
// Where the columns are whole slabs (of as many as a stage holds), the tiles of
// a slab are in another order: those of 128 neighbouring columns 8 tiles apart.
// Each of a block's 8 warps takes every eighth tile, and so has columns that
// lie side by side in the vector: 512 bytes to poll, in whole cache lines.
#ifndef MKVM_OPS_PANEL_H_
#define MKVM_OPS_PANEL_H_

#include <cstdint>

#include "isa/opcode.h"

namespace mkvm::ops {

inline constexpr uint32_t kTileElements =
    isa::kPanelRows * isa::kPanelTileColumns;
inline constexpr uint32_t kTileBytes = 2 * kTileElements;

MKVM_HOST_DEVICE inline uint64_t TilesPerPanel(uint64_t columns) {
  return (columns + isa::kPanelTileColumns - 1) / isa::kPanelTileColumns;
}

// Tiles of a slab, and those of them that one warp takes.
inline constexpr uint32_t kSlabTiles =
    isa::kStageColumns / isa::kPanelTileColumns;
inline constexpr uint32_t kWarpTiles = 4;
inline constexpr uint32_t kTileStep = kSlabTiles / kWarpTiles;

// Where in a panel its tile `tile` is, and the reverse.
MKVM_HOST_DEVICE inline uint64_t PlaceOfTile(uint64_t tile, uint64_t columns) {
  if (columns % isa::kStageColumns != 0) return tile;
  const uint64_t in_slab = tile % kSlabTiles;
  return tile - in_slab + in_slab % kWarpTiles * kTileStep +
         in_slab / kWarpTiles;
}
MKVM_HOST_DEVICE inline uint64_t TileAtPlace(uint64_t place, uint64_t columns) {
  if (columns % isa::kStageColumns != 0) return place;
  const uint64_t in_slab = place % kSlabTiles;
  return place - in_slab + in_slab % kTileStep * kWarpTiles +
         in_slab / kTileStep;
}

// Elements of the packed matrix, padding included.
MKVM_HOST_DEVICE inline uint64_t PackedElements(uint64_t rows,
                                                uint64_t columns) {
  return (rows + isa::kPanelRows - 1) / isa::kPanelRows *
         TilesPerPanel(columns) * kTileElements;
}

// Index of element (row, column) in the packed matrix.
MKVM_HOST_DEVICE inline uint64_t PackedIndex(uint64_t row, uint64_t column,
                                             uint64_t columns) {
  const uint64_t tile = row / isa::kPanelRows * TilesPerPanel(columns) +
                        PlaceOfTile(column / isa::kPanelTileColumns, columns);
  const uint32_t g = static_cast<uint32_t>(row % isa::kPanelRows);
  const uint32_t c = static_cast<uint32_t>(column % isa::kPanelTileColumns);
  const uint32_t half = c / 16;
  const uint32_t q = c % 16 / 4;
  const uint32_t e = c % 4;
  return tile * kTileElements + (g * 4 + q) * 8 + (e / 2 * 2 + half) * 2 +
         e % 2;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_PANEL_H_
