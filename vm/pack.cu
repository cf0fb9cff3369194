// Packs weights into panels as they are loaded (ops/panel.h).
#include <cuda_runtime.h>

#include "ops/panel.h"
#include "vm/launch.h"

namespace mkvm::vm {
namespace {

// One thread packs 8 elements that are contiguous in the packed matrix.
__global__ void Pack(const uint16_t* source, uint64_t row_begin, uint64_t rows,
                     uint64_t columns, uint16_t* destination) {
  const uint64_t tiles = ops::TilesPerPanel(columns);
  const uint64_t first_panel = row_begin / isa::kPanelRows;
  const uint64_t panels = (rows + isa::kPanelRows - 1) / isa::kPanelRows;
  const uint64_t pieces = panels * tiles * 32;
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < pieces;
       i += uint64_t{gridDim.x} * blockDim.x) {
    const uint32_t lane = i % 32;
    const uint64_t tile = ops::TileAtPlace(i / 32 % tiles, columns);
    const uint64_t row = i / 32 / tiles * isa::kPanelRows + lane / 4;
    alignas(16) uint16_t piece[8];
    for (uint32_t e = 0; e < 8; ++e) {
      // Register e/2 holds half (e/2)%2, columns 4q + 2*(e/4) + e%2.
      const uint64_t column = tile * isa::kPanelTileColumns + e / 2 % 2 * 16 +
                              lane % 4 * 4 + e / 4 * 2 + e % 2;
      piece[e] = row < rows && column < columns ? source[row * columns + column]
                                                : uint16_t{0};
    }
    reinterpret_cast<uint4*>(destination)[(first_panel * tiles * 32) + i] =
        *reinterpret_cast<const uint4*>(piece);
  }
}

}  // namespace

int LaunchPack(const uint16_t* source, uint64_t row_begin, uint64_t rows,
               uint64_t columns, uint16_t* destination, CUstream_st* stream) {
  Pack<<<1024, 256, 0, stream>>>(source, row_begin, rows, columns, destination);
  return cudaGetLastError();
}

}  // namespace mkvm::vm
