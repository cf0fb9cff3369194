// The rows of a split of attention with heads of 128 elements: their way
// through the stages, and what a warp computes of 16 of them on the tensor
// cores.
//
// Rows of earlier passes come through the weight stream, a part of the split at
// a time: a stage of up to kPartRows rows of K, then one of the same rows of V.
// Of a part, warps w and w + 4 have the same 16 rows, their tile: both compute
// the scores, and each half of the elements of P V, which takes less time than
// half as many rows each. One mma.m16n8k16 multiplies 16 rows of K by 16
// elements of q; its 8 columns are up to four heads, each as an upper and a
// lower bf16, which together keep 16 bits of an element:
//
//   column 2h: the upper halves of head h     column 2h + 1: the lower ones
//
// so that lane 4g + q ends with the scores of head q at two positions. Of P V,
// P is the first operand: row h its upper halves for head h, row 8 + h its
// lower ones, so that up to eight heads share the products.
//
// Which row or element is which index of a product is free, as long as both
// operands agree: all are such that lanes read whole 16-byte chunks, without
// bank conflicts (ops/kv_layout.h).
#ifndef MKVM_OPS_ATTENTION_TILE_CUH_
#define MKVM_OPS_ATTENTION_TILE_CUH_

#include "ops/attention_part.h"
#include "ops/device_context.cuh"
#include "ops/kv_layout.h"
#include "ops/ptx/math.cuh"
#include "ops/ptx/mma.cuh"

namespace mkvm::ops::head128 {

inline constexpr uint32_t kChunkBytes = kCacheChunk * 2;
// Warps with the same rows have different elements of P V.
inline constexpr uint32_t kHalves = kComputeWarps / kRowWarps;
inline constexpr uint32_t kHalfDim = kDim / kHalves;
// A lane has one chunk of a row of V.
static_assert(kHalfDim == 8 * kCacheChunk);
// Ranks below every score, and 2^(kNone - score) is 0. An f24.
inline constexpr float kNone = -0x1p100f;

__device__ __forceinline__ uint32_t RowWarp(const DeviceContext& context) {
  return context.warp() % kRowWarps;
}
__device__ __forceinline__ uint32_t Half(const DeviceContext& context) {
  return context.warp() / kRowWarps;
}

// The rows of a tile, in the order of this lane 4g + q. K: chunk 4t + q of rows
// KRow(g) and KRow(g) + 8. V: chunk g of the warp's half of rows VRow(q, i).
struct Tile {
  uint4 k[4][2];
  uint4 v[4];
};
// Two lanes that read at the same time have rows that differ in bit 2.
__device__ __forceinline__ uint32_t KRow(uint32_t g) {
  return g % 2 * 4 + g / 2;
}
// The g of the lanes with KRow(g) == row.
__device__ __forceinline__ uint32_t LanesOfRow(uint32_t row) {
  return row % 4 * 2 + row / 4;
}
__device__ __forceinline__ uint32_t VRow(uint32_t q, uint32_t i) {
  return 2 * q + i % 2 + i / 2 * 8;
}

// Where a tile's rows are: in the stages of a part, and perhaps one more, this
// pass's, unpermuted elsewhere in shared memory.
struct TileSource {
  const char* k;  // the tile's first row
  const char* v;
  uint32_t last;    // row that is there; those above are copies of it
  uint32_t now;     // row that is elsewhere, if it is below kTileRows
  const char* row;  // that row's k, then its v
};
// Of the next part.
__device__ __forceinline__ TileSource NextTile(DeviceContext& context) {
  const uint32_t begin = RowWarp(context) * kTileRows * kRowBytes;
  const auto stage = [&](uint32_t i) {
    return reinterpret_cast<const char*>(context.StageData(i)) + begin;
  };
  return {stage(0), stage(1), 0, kTileRows, nullptr};
}

__device__ __forceinline__ uint4 LoadChunk(const TileSource& source,
                                           const char* base,
                                           uint32_t unpermuted, uint32_t row,
                                           uint32_t chunk) {
  row = min(row, source.last);
  const char* at = base + row * kRowBytes + (chunk ^ row % 8) * kChunkBytes;
  if (row == source.now) at = source.row + unpermuted + chunk * kChunkBytes;
  return ptx::LoadSharedInOrder(reinterpret_cast<const uint4*>(at));
}
__device__ __forceinline__ void LoadK(const TileSource& source,
                                      DeviceContext& context,
                                      uint4 (&k)[4][2]) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
#pragma unroll
  for (uint32_t t = 0; t < 4; ++t) {
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      k[t][i] = LoadChunk(source, source.k, 0, KRow(g) + 8 * i, 4 * t + q);
    }
  }
}
__device__ __forceinline__ void LoadV(const TileSource& source,
                                      DeviceContext& context, uint4 (&v)[4]) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    v[i] = LoadChunk(source, source.v, kRowBytes, VRow(q, i),
                     g + 8 * Half(context));
  }
}

// Takes this warp's tile of the next part, of which `streamed` rows are in the
// stages, and hands its memory back. Rows that are not there become copies of
// one that is, or zero. Whole warp.
__device__ __forceinline__ Tile TakeTile(uint32_t streamed,
                                         DeviceContext& context) {
  Tile tile = {};
  const uint32_t first = RowWarp(context) * kTileRows;
  context.WaitChunk();
  if (first < streamed) {
    TileSource source = NextTile(context);
    source.last = min(kTileRows, streamed - first) - 1;
    LoadK(source, context, tile.k);
    LoadV(source, context, tile.v);
  }
  // With the last load all others have returned.
  context.FreeChunk(kPartStages, tile.v[3].w);
  return tile;
}

// Puts this pass's row, k and v unpermuted in shared memory, into row `row` of
// the tile.
__device__ __forceinline__ void PutRow(uint32_t row, const uint4* k,
                                       const uint4* v, DeviceContext& context,
                                       Tile& tile) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    if (KRow(g) + 8 * i == row) {
#pragma unroll
      for (uint32_t t = 0; t < 4; ++t) tile.k[t][i] = k[4 * t + q];
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    if (VRow(q, i) == row) tile.v[i] = v[g + 8 * Half(context)];
  }
}

// What a warp has gathered. Lane 4g + q: of heads 4s + q the maximum (of all
// lanes) and its own positions' part of the sum; of head g, element i of chunk
// 2q of the half in acc[i][0] and [2], of the next chunk in [1] and [3].
template <uint32_t kSets>
struct State {
  float m[kSets];
  float l[kSets];
  float acc[8][4];
};

// q of this lane's column in each set: where its chunk q is, in shared memory.
template <uint32_t kSets>
struct Query {
  const uint4* row[kSets];
};

// A value of all heads' lanes, as the lanes of the accumulator want it: of head
// g, from lane `lane` + (that head's place in its set).
template <uint32_t kSets>
__device__ __forceinline__ float OfHead(const float (&value)[kSets],
                                        uint32_t lane, uint32_t head) {
  float mine = __shfl_sync(0xffffffffu, value[0], lane + head % kSetHeads);
  if constexpr (kSets == 2) {
    const float other =
        __shfl_sync(0xffffffffu, value[1], lane + head % kSetHeads);
    if (head >= kSetHeads) mine = other;
  }
  return mine;
}

// The scores of one set of heads at positions KRow(g) and KRow(g) + 8.
__device__ __forceinline__ float2 Scores(const uint4 (&k)[4][2],
                                         const uint4* query) {
  // Two chains of products, so that each waits for fewer before it.
  float a[4] = {}, b[4] = {};
#pragma unroll
  for (uint32_t t = 0; t < 4; ++t) {
    const uint4& low = k[t][0];
    const uint4& high = k[t][1];
    const uint4 chunk = query[4 * t];
    ptx::MmaBf16(a, make_uint4(low.x, high.x, low.y, high.y), chunk.x, chunk.y);
    ptx::MmaBf16(b, make_uint4(low.z, high.z, low.w, high.w), chunk.z, chunk.w);
  }
  return make_float2((a[0] + a[1]) + (b[0] + b[1]),
                     (a[2] + a[3]) + (b[2] + b[3]));
}

// acc += P V. p: this lane's weights, of rows KRow(g) and KRow(g) + 8.
template <uint32_t kSets>
__device__ __forceinline__ void AddWeighed(const uint4 (&v)[4],
                                           const float2 (&p)[kSets],
                                           State<kSets>& state,
                                           DeviceContext& context) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
  const uint32_t even = 4 * LanesOfRow(2 * q), odd = 4 * LanesOfRow(2 * q + 1);
  float p0[kSets], p1[kSets];
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
    p0[s] = p[s].x;
    p1[s] = p[s].y;
  }
  const float weights[4] = {
      OfHead<kSets>(p0, even, g), OfHead<kSets>(p0, odd, g),
      OfHead<kSets>(p1, even, g), OfHead<kSets>(p1, odd, g)};
  uint32_t high[2], low[2];
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const float a = weights[2 * i], b = weights[2 * i + 1];
    high[i] = ptx::PackBf16(a, b);
    low[i] = ptx::PackBf16Rest(a, b, high[i]);
  }
  const uint4 a = make_uint4(high[0], low[0], high[1], low[1]);
  const uint32_t words[4][4] = {{v[0].x, v[0].y, v[0].z, v[0].w},
                                {v[1].x, v[1].y, v[1].z, v[1].w},
                                {v[2].x, v[2].y, v[2].z, v[2].w},
                                {v[3].x, v[3].y, v[3].z, v[3].w}};
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    // Element i of two rows in one register.
    const uint32_t halves = i % 2 == 0 ? 0x5410u : 0x7632u;
    ptx::MmaBf16(state.acc[i], a,
                 __byte_perm(words[0][i / 2], words[1][i / 2], halves),
                 __byte_perm(words[2][i / 2], words[3][i / 2], halves));
  }
}

// The scores of kTiles tiles become their weights e^(score - maximum), and what
// was gathered before is made relative to the new maximum. Of rows from `rows`
// on, and of tiles without any, the weights are 0.
template <uint32_t kTiles, uint32_t kSets>
__device__ __forceinline__ void Weigh(const uint32_t (&rows)[kTiles],
                                      float2 (&score)[kTiles][kSets],
                                      State<kSets>& state,
                                      DeviceContext& context) {
  const uint32_t row = KRow(context.lane() / 4);
  float keep[kSets];
  bool rescale = false;
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
    float m = kNone;
#pragma unroll
    for (uint32_t t = 0; t < kTiles; ++t) {
      if (row >= rows[t]) score[t][s].x = kNone;
      if (row + 8 >= rows[t]) score[t][s].y = kNone;
      m = fmaxf(m, fmaxf(score[t][s].x, score[t][s].y));
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, offset));
    }
    m = fmaxf(m, state.m[s]);
    keep[s] = ptx::Exp2Approximate(state.m[s] - m);
    // Before the first tile there is nothing to scale.
    rescale |= m != state.m[s] && state.m[s] != kNone;
    state.m[s] = m;
    state.l[s] *= keep[s];
#pragma unroll
    for (uint32_t t = 0; t < kTiles; ++t) {
      score[t][s].x = ptx::Exp2Approximate(score[t][s].x - m);
      score[t][s].y = ptx::Exp2Approximate(score[t][s].y - m);
      state.l[s] += score[t][s].x + score[t][s].y;
    }
  }
  if (!__any_sync(0xffffffffu, rescale)) return;
  const float by = OfHead<kSets>(keep, 0, context.lane() / 4);
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) state.acc[i][e] *= by;
  }
}

}  // namespace mkvm::ops::head128

#endif  // MKVM_OPS_ATTENTION_TILE_CUH_
