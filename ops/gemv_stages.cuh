// The weights of a gemv: their way into the stages (whose order is
// ops/gemv_shape.h's), and from a stage to a warp's sums.
//
// Within a slab, warp w takes tiles w, w+8, w+16 and w+24 as they are stored,
// which are those of 128 neighbouring columns where all slabs are whole
// (ops/panel.h), and multiplies them on the tensor cores. One mma.m16n8k16
// takes 8 rows x 32 columns as its A operand; its B operand holds the vector's
// two column halves, each split into an upper and a lower bf16 so that no
// activation bit is lost:
//
//   B column   0            1            2            3            4..7
//              half 0 high  half 1 high  half 0 low   half 1 low   zero
#ifndef MKVM_OPS_GEMV_STAGES_CUH_
#define MKVM_OPS_GEMV_STAGES_CUH_

#include "ops/device_context.cuh"
#include "ops/panel.h"
#include "ops/ptx/math.cuh"
#include "ops/ptx/mma.cuh"

namespace mkvm::ops {

static_assert(kWarpTiles * kComputeWarps == kSlabTiles);
static_assert(kWarpTiles * 8 == 32);

__device__ inline uint32_t SlabTiles(const GemvShape& shape, uint32_t slab) {
  return min(kSlabTiles, shape.tiles - slab * kSlabTiles);
}

// What stages are filled from: panels of `panel_bytes` bytes, one after the
// other, of one matrix or two.
struct StageSource {
  const char* w;
  const char* w2;
  uint32_t panel_bytes;
};
__device__ __forceinline__ StageSource SourceOf(const isa::GemvOperands& op,
                                                const GemvAddresses& at,
                                                const GemvShape& shape) {
  const uint32_t panel_bytes = shape.tiles * kTileBytes;
  const uint64_t begin = op.row_begin / isa::kPanelRows * uint64_t{panel_bytes};
  return {static_cast<const char*>(at.w) + begin,
          static_cast<const char*>(at.w2) + begin, panel_bytes};
}

// The loader's side: fills stages in their order. `ring` has BeginChunk(bytes),
// Copy(source, bytes) of a stage and EndChunk(); where one of the first two
// returns false, so does this, at once.
template <typename Ring>
__device__ __forceinline__ bool FillStages(const StageSource& source,
                                           const GemvShape& shape, Ring& ring) {
  const uint32_t matrices = shape.matrices;
  const uint32_t panel_bytes = source.panel_bytes;
  const uint32_t chunk_bytes = shape.chunk * isa::kStageBytes;
  // Panels that follow each other in memory, in whole stages, are like one.
  const bool joined = matrices == 1 && shape.chunk == shape.slabs &&
                      panel_bytes % isa::kStageBytes == 0;
  const char* group_w = source.w;
  const char* group_w2 = source.w2;
  uint32_t left = shape.panels;
  while (left != 0) {
    const uint32_t panels = min(left, shape.group);
    for (uint32_t begin = 0; begin < panel_bytes; begin += chunk_bytes) {
      const uint32_t bytes = min(panel_bytes - begin, chunk_bytes);
      if (!ring.BeginChunk(panels * matrices * bytes)) return false;
      const uint32_t run_bytes = joined ? panels * bytes : bytes;
      const char* w = group_w + begin;
      const char* w2 = group_w2 + begin;
      for (uint32_t runs = joined ? 1 : panels * matrices; runs != 0; --runs) {
        for (uint32_t at = 0; at < run_bytes; at += isa::kStageBytes) {
          if (!ring.Copy(w + at, min(run_bytes - at, isa::kStageBytes))) {
            return false;
          }
        }
        w += panel_bytes;
        if (matrices == 2) {
          const char* const next = w;
          w = w2;
          w2 = next;
        }
      }
      ring.EndChunk();
    }
    left -= panels;
    group_w += panels * panel_bytes;
    group_w2 += panels * panel_bytes;
  }
  return true;
}

// The first of the four columns of a slab that this lane reads, of x and of g:
// in tile lane / 8 of its warp's, so that a warp reads every column of its
// tiles once. With kWhole all slabs are whole.
template <bool kWhole>
__device__ __forceinline__ uint32_t LaneColumn(const DeviceContext& context) {
  const uint32_t j = context.lane() / 8;
  const uint32_t tile = kWhole ? context.warp() * kWarpTiles + j
                               : context.warp() + j * kComputeWarps;
  return tile * isa::kPanelTileColumns + context.lane() % 8 * 4;
}

// Fragments of a slab: for each lane of LaneColumn its four columns' upper
// parts, then their lower parts. Those of a chunk are together, and those of
// kFragmentSlabs slabs are kept; with a chunk of all slabs, of these.
__device__ __forceinline__ uint4* WarpFragments(const DeviceContext& context) {
  return context.shared->scratch.warps[context.warp()].fragments[0];
}
__device__ __forceinline__ bool KeepsFragments(const GemvShape& shape) {
  return shape.slabs <= kFragmentSlabs || shape.slabs == shape.chunk;
}

// Puts this lane's columns of a slab there, with kNorm times their gains (two
// bf16 a word); returns its share of sum x^2 then, else 0. A __syncwarp must
// follow.
template <bool kNorm>
__device__ __forceinline__ float WriteFragments(uint4* fragments,
                                                const uint4& x, uint2 gains,
                                                DeviceContext& context) {
  float v[4] = {isa::FloatOfF24Bits(x.x), isa::FloatOfF24Bits(x.y),
                isa::FloatOfF24Bits(x.z), isa::FloatOfF24Bits(x.w)};
  float squares = 0;
  if constexpr (kNorm) {
    squares = (v[0] * v[0] + v[1] * v[1]) + (v[2] * v[2] + v[3] * v[3]);
    v[0] *= isa::FloatOfBits(gains.x << 16);
    v[1] *= isa::FloatOfBits(gains.x & 0xffff0000u);
    v[2] *= isa::FloatOfBits(gains.y << 16);
    v[3] *= isa::FloatOfBits(gains.y & 0xffff0000u);
  }
  // The values as bf16, and what that leaves out.
  uint32_t high[2], low[2];
#pragma unroll
  for (uint32_t h = 0; h < 2; ++h) {
    high[h] = ptx::PackBf16(v[2 * h], v[2 * h + 1]);
    low[h] = ptx::PackBf16Rest(v[2 * h], v[2 * h + 1], high[h]);
  }
  fragments[context.lane()] = make_uint4(high[0], high[1], low[0], low[1]);
  return squares;
}

// This lane's B operands for its warp's tiles of one slab.
struct Fragments {
  uint32_t b[kWarpTiles][2];
};
__device__ __forceinline__ Fragments
ReadFragments(const uint4* slab_fragments, const DeviceContext& context) {
  // Lane 4g + q multiplies, in every tile, column half g % 2: the upper part
  // if g < 2, the lower if g < 4, else nothing.
  const uint32_t g = context.lane() / 4;
  const uint2* words = reinterpret_cast<const uint2*>(slab_fragments) +
                       context.lane() % 8 * 2 + g / 2 % 2;
  Fragments fragments;
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) {
    const uint2 b = words[j * 16];
    fragments.b[j][0] = b.x;
    fragments.b[j][1] = b.y;
  }
  return fragments;
}

// Weights of kStages stages: this lane's words of its warp's tiles.
template <uint32_t kStages>
struct StageTiles {
  uint4 a[kStages][kWarpTiles];
};

// Takes the next chunk, `slots` panels of kSlabs stages each, and hands its
// memory back: each warp by itself, ahead of or behind the others. What is
// beyond the chunk's panels becomes a copy of its first one's. With kWhole all
// tiles are there; else stage i has tiles_of(i), and others become zero. Calls
// before_last() before the last stage is read.
template <uint32_t kSlabs, uint32_t kSlots, bool kWhole, typename TilesOf,
          typename BeforeLast>
__device__ __forceinline__ StageTiles<kSlabs * kSlots> TakeStages(
    uint32_t slots, DeviceContext& context, TilesOf&& tiles_of,
    BeforeLast&& before_last) {
  constexpr uint32_t kStages = kSlabs * kSlots;
  StageTiles<kStages> tiles;
  uint32_t read = 0;
  context.WaitChunk();
#pragma unroll
  for (uint32_t i = 0; i < kStages; ++i) {
    const uint32_t panel = i / kSlabs;
    if (i == kStages - 1) before_last();
    const uint4* stage =
        context.StageData(panel < slots ? i : i % kSlabs) + context.thread();
    const uint32_t count = tiles_of(i);
#pragma unroll
    for (uint32_t j = 0; j < kWarpTiles; ++j) {
      tiles.a[i][j] = make_uint4(0, 0, 0, 0);
      if (kWhole || context.warp() + j * kComputeWarps < count) {
        tiles.a[i][j] = ptx::LoadSharedInOrder(stage + j * kComputeThreads);
        read = tiles.a[i][j].w;
      }
    }
  }
  // With the last load all others have returned; where there may be none, one
  // more, whatever it reads.
  if constexpr (!kWhole) {
    read = ptx::LoadSharedInOrder(context.StageData(0) + context.thread()).w;
  }
  context.FreeChunk(slots * kSlabs, read);
  return tiles;
}

// This lane's sums of a stage: of the upper halves in lane 4g+0, of the lower
// halves in lane 4g+1, for row g.
template <uint32_t kStages>
struct StageSums {
  float sum[kStages];
};

// Multiplies; fragments_of(i) are those of stage i's slab.
template <uint32_t kStages, typename FragmentsOf>
__device__ __forceinline__ StageSums<kStages> MultiplyStages(
    const StageTiles<kStages>& tiles, FragmentsOf&& fragments_of) {
  // A chain of dependent products for every stage, side by side, so that none
  // waits for the one before.
  float c[kStages][4] = {};
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) {
#pragma unroll
    for (uint32_t i = 0; i < kStages; ++i) {
      const Fragments& fragments = fragments_of(i);
      ptx::MmaBf16(c[i], tiles.a[i][j], fragments.b[j][0], fragments.b[j][1]);
    }
  }
  StageSums<kStages> sums;
#pragma unroll
  for (uint32_t i = 0; i < kStages; ++i) sums.sum[i] = c[i][0] + c[i][3];
  return sums;
}

// From one panel's sums to the next one's, floats.
inline constexpr uint32_t kPanelPartials = isa::kPanelRows * 2;

// Where in a warp's memory for them a copy of partial sums is, floats: after
// the fragments of a chunk's third slab, if there may be one.
__device__ __forceinline__ uint32_t PartialsBegin(uint32_t chunk,
                                                  uint32_t copy) {
  constexpr uint32_t kThirdSlab = kSlabFragments * sizeof(uint4) / 4;
  constexpr uint32_t kThreeSlots = kStagesAtOnce / kChunkSlabs;
  static_assert((kThirdSlab + 2 * kThreeSlots * kPanelPartials) * 4 <=
                sizeof(WarpSums::partials));
  return chunk == kChunkSlabs
             ? kThirdSlab + copy * (kThreeSlots * kPanelPartials)
             : copy * (kGroupSlots * kPanelPartials);
}
// Where lanes 4g+0 and 4g+1 put the first panel's sums. `chunk`: slabs of the
// instruction's chunks.
__device__ __forceinline__ float* PartialOf(uint32_t chunk, uint32_t copy,
                                            const DeviceContext& context) {
  float* const partials =
      context.shared->scratch.warps[context.warp()].sums.partials[0][0][0];
  return partials + PartialsBegin(chunk, copy) + context.lane() / 4 * 2 +
         context.lane() % 2;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_STAGES_CUH_
