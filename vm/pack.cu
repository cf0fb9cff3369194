// Packs weights into panels as they are loaded (ops/panel.h).
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "ops/panel.h"
#include "vm/launch.h"

namespace mkvm::vm {
namespace {

// One thread packs so many elements at a time, which are contiguous in the
// packed matrix.
constexpr uint32_t kPieceElements = 8;

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
    alignas(16) uint16_t piece[kPieceElements];
    for (uint32_t e = 0; e < kPieceElements; ++e) {
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
  constexpr uint64_t kThreads = 256, kMostBlocks = 1024;
  const uint64_t pieces = ops::PackedElements(rows, columns) / kPieceElements;
  const uint64_t blocks = (pieces + kThreads - 1) / kThreads;
  void* parameters[] = {&source, &row_begin, &rows, &columns, &destination};
  return cudaLaunchKernel(Pack, dim3(std::min(blocks, kMostBlocks)),
                          dim3(kThreads), parameters, 0, stream);
}

}  // namespace mkvm::vm
