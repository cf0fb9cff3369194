// The rows of a split of attention with heads of 128 elements: their way
// through the stages, and the tensor cores' products with them.
//
// Rows of earlier passes come through the weight stream, a part of the split at
// a time: a stage of up to kPartRows rows of K, then one of the same rows of V.
// A warp computes the scores of kWarpRows rows of a part, from whole rows of K,
// and the weighed sum of kWarpDim elements of V, of all rows of the part: so no
// sums of V need be added up over warps, only scores be exchanged.
//
// The first operand of a product (mma.m16n8k16) are the heads, up to eight, as
// two bf16 each, which together keep 16 bits of a value:
//
//   row h: the upper half of head h          row 8 + h: the lower one
//
// q for scores, whose second operand is K, and the weights for V. Lane 4g + q
// ends with results of head g in both cases.
//
// Which row or element is which index of a product is free, as long as both
// operands agree: all are such that lanes read whole 16-byte chunks, without
// bank conflicts (ops/kv_layout.h).
#ifndef MKVM_OPS_ATTENTION_TILE_CUH_
#define MKVM_OPS_ATTENTION_TILE_CUH_

#include "ops/attention_part.h"
#include "ops/device_context.cuh"
#include "ops/kv_layout.h"
#include "ops/ptx/memory.cuh"
#include "ops/ptx/mma.cuh"

namespace mkvm::ops::head128 {

inline constexpr uint32_t kWarpRows = kPartRows / kComputeWarps;
static_assert(kWarpRows == 8);
inline constexpr uint32_t kWarpDim = kDim / kComputeWarps;
static_assert(kWarpDim == 2 * kCacheChunk);
// Ranks below every score, and 2^(kNone - score) is 0. An f24.
inline constexpr float kNone = -0x1p100f;

// What lane 4g + q has of a part. K: chunk 4t + q of the warp's row RowAt(g).
// V, of rows 16i to 16i + 15, as LoadSharedColumnsInOrder gives it: the first
// of the warp's chunks, of the first eight rows and the others, then the second
// chunk.
struct Tile {
  uint4 k[4];
  uint4 v[4];
};
// Which of eight rows has index i in the products. Two lanes that read of K at
// the same time have rows that differ in bit 2.
__device__ __forceinline__ uint32_t RowAt(uint32_t i) {
  return i % 2 * 4 + i / 2;
}

// Takes this warp's tile of the next part, of which `rows` are in the stages, 1
// at least, and hands its memory back. Rows that are not there become copies of
// one that is. Whole warp.
__device__ __forceinline__ Tile TakeTile(uint32_t rows,
                                         DeviceContext& context) {
  Tile tile = {};
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
  const uint32_t last = min(rows, kPartRows) - 1;
  const auto chunk_of = [&](uint32_t stage, uint32_t row, uint32_t chunk) {
    return context.StageData(stage) + row * (kDim / kCacheChunk) +
           (chunk ^ row % 8);
  };
  context.WaitChunk();
  const uint32_t row = min(context.warp() * kWarpRows + RowAt(g), last);
#pragma unroll
  for (uint32_t t = 0; t < 4; ++t) {
    tile.k[t] = ptx::LoadSharedInOrder(chunk_of(0, row, 4 * t + q));
  }
  const uint32_t matrix = context.lane() / 8;
  const uint32_t in_matrix = matrix % 2 * 8 + RowAt(context.lane() % 8);
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    tile.v[i] = ptx::LoadSharedColumnsInOrder(chunk_of(
        1, min(16 * i + in_matrix, last), 2 * context.warp() + matrix / 2));
  }
  // With the last loads all others have returned.
  context.FreeChunk(kPartStages, tile.k[3].w | tile.v[3].w);
  return tile;
}

// Puts k of a row into the tile, if it is this lane's: `row` counts from the
// part's first, `own` is this lane's own. `k`: the row's chunk q, unpermuted in
// shared memory.
__device__ __forceinline__ void PutK(uint32_t row, uint32_t own, const uint4* k,
                                     Tile& tile) {
  if (row == own) {
#pragma unroll
    for (uint32_t t = 0; t < 4; ++t) tile.k[t] = k[4 * t];
  }
}

// The scores of head g at the warp's rows q and 4 + q. `query`: where chunk q
// of head g's q is, in shared memory: in the order of a product's first
// operand, two of them a chunk.
__device__ __forceinline__ float2 Scores(const uint4 (&k)[4],
                                         const uint4* query) {
  // Four chains of products, so that each waits for fewer before it.
  float sums[4][4] = {};
#pragma unroll
  for (uint32_t t = 0; t < 4; ++t) {
    ptx::MmaBf16(sums[t % 2], query[8 * t], k[t].x, k[t].y);
    ptx::MmaBf16(sums[2 + t % 2], query[8 * t + 1], k[t].z, k[t].w);
  }
  const auto sum_of = [&](uint32_t i) {
    return ((sums[0][i] + sums[0][i + 2]) + (sums[1][i] + sums[1][i + 2])) +
           ((sums[2][i] + sums[2][i + 2]) + (sums[3][i] + sums[3][i + 2]));
  };
  return make_float2(sum_of(0), sum_of(1));
}

// What a warp has gathered of head g: the maximum, and in two chains of
// products, relative to it, the sums of V's elements 2q and 2q + 1 of its first
// chunk, of its second and of the weights, of upper halves in [0] and [1], of
// lower ones in [2] and [3].
struct State {
  float m;
  float sums[2][3][4];
};

// Adds the weighed rows of V, and the weights. `weights`: where the weights of
// this lane are, in shared memory: in the order of a product's first operand.
__device__ __forceinline__ void AddWeighed(const uint4 (&v)[4],
                                           const uint4* weights, State& state) {
  constexpr uint32_t kOnes = 0x3f803f80;  // two bf16
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    const uint4 a = weights[i];
    auto& sums = state.sums[i % 2];
    ptx::MmaBf16(sums[0], a, v[i].x, v[i].y);
    ptx::MmaBf16(sums[1], a, v[i].z, v[i].w);
    ptx::MmaBf16(sums[2], a, kOnes, kOnes);
  }
}

}  // namespace mkvm::ops::head128

#endif  // MKVM_OPS_ATTENTION_TILE_CUH_
