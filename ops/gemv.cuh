// gemv: a range of rows of a packed matrix times an activation vector.
//
// The weights arrive as stages of one panel (8 rows) by up to 1024 columns (a
// slab). Within a slab, the tiles of 32 columns go round the 8 compute warps:
// warp w owns tiles w, w+8, w+16, w+24 and multiplies them on the tensor
// cores. One mma.m16n8k16 takes 8 rows x 32 columns as its A operand
// (ops/panel.h); its B operand holds the vector's two column halves, each split
// into an upper and a lower bf16 so that no activation bit is lost:
//
//   B column   0            1            2            3            4..7
//              half 0 high  half 1 high  half 0 low   half 1 low   zero
//
// The rows' partial sums of the warps meet in shared memory, in a fixed order.
// A warp reads every column of its tiles once, four per lane and slab and up to
// kSlabsAtOnce slabs in one round trip; the lanes exchange by shuffles what
// their B operands need. Weights come to registers one stage ahead, the first
// before the vector is there.
//
// Order of stages: groups of up to 8 panels; within a group slab by slab, so
// that a slab of the vector is converted once per group; within a slab panel by
// panel, with a silu_mul's gate and up panels side by side.
#ifndef MKVM_OPS_GEMV_CUH_
#define MKVM_OPS_GEMV_CUH_

#include "ops/device_context.cuh"
#include "ops/panel.h"
#include "ops/ptx/copy.cuh"
#include "ops/ptx/math.cuh"
#include "ops/ptx/mma.cuh"
#include "ops/reduce.cuh"
#include "ops/silu_mul.cuh"

namespace mkvm::ops {

inline constexpr uint32_t kSlabTiles =
    isa::kStageColumns / isa::kPanelTileColumns;
inline constexpr uint32_t kWarpTiles = kSlabTiles / kComputeWarps;

// The shape of one gemv's stage order; loader and compute warps walk the same.
struct GemvShape {
  uint32_t panels;    // of w
  uint32_t matrices;  // 2 with w2, else 1
  uint32_t group;     // panels of w per group
  uint32_t tiles;     // per panel
  uint32_t slabs;

  __device__ explicit GemvShape(const isa::GemvOperands& op)
      : panels((op.rows + isa::kPanelRows - 1) / isa::kPanelRows),
        matrices(op.w2 == isa::kNoBuffer ? 1 : 2),
        group(kPanelGroup / matrices),
        tiles(TilesPerPanel(op.k)),
        slabs((tiles + kSlabTiles - 1) / kSlabTiles) {}

  __device__ uint32_t GroupPanels(uint32_t first) const {
    return min(group, panels - first);
  }
  __device__ uint32_t SlabTiles(uint32_t slab) const {
    return min(kSlabTiles, tiles - slab * kSlabTiles);
  }
};

// The loader's side: calls issue(source, bytes) for every stage, in order,
// until it returns false.
template <typename Issue>
__device__ inline void ForEachGemvStage(const isa::GemvOperands& op,
                                        const GemvAddresses& at,
                                        Issue&& issue) {
  const GemvShape shape(op);
  const uint64_t panel_bytes = uint64_t{shape.tiles} * kTileBytes;
  const uint64_t first_panel = op.row_begin / isa::kPanelRows;
  for (uint32_t p0 = 0; p0 < shape.panels; p0 += shape.group) {
    for (uint32_t slab = 0; slab < shape.slabs; ++slab) {
      const uint32_t bytes = shape.SlabTiles(slab) * kTileBytes;
      for (uint32_t p = 0; p < shape.GroupPanels(p0); ++p) {
        const uint64_t offset = (first_panel + p0 + p) * panel_bytes +
                                uint64_t{slab} * kSlabTiles * kTileBytes;
        for (uint32_t m = 0; m < shape.matrices; ++m) {
          const char* base = static_cast<const char*>(m == 0 ? at.w : at.w2);
          if (!issue(base + offset, bytes)) return;
        }
      }
    }
  }
}

// This lane's B operands for its warp's tiles of one slab.
struct SlabFragments {
  uint32_t b[kWarpTiles][2];
};

// Slabs of the vector that are read in one go: one round trip for all.
inline constexpr uint32_t kSlabsAtOnce = 4;

// What a lane reads of one slab: four columns of x and of g, in tile lane / 8
// of its warp's, so that a warp reads every column of its tiles once.
struct SlabWords {
  uint32_t x[4];
  uint2 g;
};
static_assert(kWarpTiles * 8 == 32);

// The first of those columns.
__device__ inline uint32_t LaneColumn(uint32_t slab, DeviceContext& context) {
  const uint32_t tile =
      slab * kSlabTiles + context.warp() + context.lane() / 8 * kComputeWarps;
  return tile * isa::kPanelTileColumns + context.lane() % 8 * 4;
}

// Reads slabs [first, first + count) of x, and of g with a norm; 0 past k.
// REQUIRES: count <= kSlabsAtOnce.
__device__ inline void LoadSlabs(const isa::GemvOperands& op,
                                 const GemvAddresses& at, uint32_t first,
                                 uint32_t count, bool polled,
                                 DeviceContext& context,
                                 SlabWords (&slabs)[kSlabsAtOnce]) {
  const bool norm = op.prologue == isa::Prologue::kRmsNorm;
#pragma unroll
  for (uint32_t s = 0; s < kSlabsAtOnce; ++s) {
    const uint32_t column = LaneColumn(first + s, context);
    slabs[s].g = make_uint2(0, 0);
    // Buffers are padded, so that a load of the last elements is in bounds.
    if (norm && s < count && column < op.k) {
      slabs[s].g = ptx::LoadConstant2(reinterpret_cast<const uint32_t*>(
          static_cast<const uint16_t*>(at.g) + column));
    }
  }
  uint32_t words[4 * kSlabsAtOnce];
  context.LoadTogether(
      words, polled, op.x, [&](uint32_t(&to)[4 * kSlabsAtOnce]) {
#pragma unroll
        for (uint32_t s = 0; s < kSlabsAtOnce; ++s) {
          const uint32_t column = LaneColumn(first + s, context);
          const uint32_t tag = context.tag;
          uint4 v = make_uint4(tag, tag, tag, tag);
          if (s < count && column < op.k) {
            v = ptx::LoadRelaxedGpu4(static_cast<const uint32_t*>(at.x) +
                                     column);
          }
          to[4 * s] = v.x;
          to[4 * s + 1] = column + 1 < op.k ? v.y : tag;
          to[4 * s + 2] = column + 2 < op.k ? v.z : tag;
          to[4 * s + 3] = column + 3 < op.k ? v.w : tag;
        }
      });
#pragma unroll
  for (uint32_t s = 0; s < kSlabsAtOnce; ++s) {
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) slabs[s].x[e] = words[4 * s + e];
  }
}

// The fragments of one slab; adds this lane's share of sum x^2 to `squares`.
__device__ inline void MakeFragments(const SlabWords& slab, bool norm,
                                     DeviceContext& context,
                                     SlabFragments& fragments, float& squares) {
  float v[4];
#pragma unroll
  for (uint32_t e = 0; e < 4; ++e) v[e] = isa::FloatOfF24Bits(slab.x[e]);
  if (norm) {
    squares += v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + v[3] * v[3];
    v[0] *= isa::FloatOfBits(slab.g.x << 16);
    v[1] *= isa::FloatOfBits(slab.g.x & 0xffff0000u);
    v[2] *= isa::FloatOfBits(slab.g.y << 16);
    v[3] *= isa::FloatOfBits(slab.g.y & 0xffff0000u);
  }
  // The values as bf16, and what that leaves out.
  uint32_t high[2], low[2];
#pragma unroll
  for (uint32_t h = 0; h < 2; ++h) {
    high[h] = ptx::PackBf16(v[2 * h], v[2 * h + 1]);
    low[h] =
        ptx::PackBf16(v[2 * h] - isa::FloatOfBits(high[h] << 16),
                      v[2 * h + 1] - isa::FloatOfBits(high[h] & 0xffff0000u));
  }
  // Lane 4g + q multiplies, in every tile, column half g % 2: the upper part if
  // g < 2, the lower if g < 4. Lanes 8j .. 8j+7 have read those of tile j.
  const uint32_t g = context.lane() / 4;
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) {
    const uint32_t from = 8 * j + context.lane() % 8;
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t upper = __shfl_sync(0xffffffffu, high[h], from);
      const uint32_t lower = __shfl_sync(0xffffffffu, low[h], from);
      fragments.b[j][h] = g < 2 ? upper : g < 4 ? lower : 0;
    }
  }
}

// This warp's tiles of a stage, in registers.
struct StageTiles {
  uint4 a[kWarpTiles];
};

// Takes the next stage of `slab_tiles` tiles and hands its memory back.
__device__ inline void TakeStage(uint32_t slab_tiles, DeviceContext& context,
                                 StageTiles& tiles) {
  const uint4* stage = context.WaitStage();
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) {
    const uint32_t tile = context.warp() + j * kComputeWarps;
    tiles.a[j] = make_uint4(0, 0, 0, 0);
    if (tile < slab_tiles) tiles.a[j] = stage[tile * 32 + context.lane()];
  }
  context.FreeStage();
}

// This warp's share of one stage's 8 dot products.
struct StageSums {
  float c[kWarpTiles][4];
};
__device__ inline void MultiplyStage(const StageTiles& tiles,
                                     const SlabFragments& fragments,
                                     StageSums& sums) {
  // An accumulator for each, so that none waits for another.
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) {
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) sums.c[j][i] = 0;
    ptx::MmaBf16(sums.c[j], tiles.a[j], fragments.b[j][0], fragments.b[j][1]);
  }
}
// Row g in lanes 4g.
__device__ inline float SumOfStage(const StageSums& sums) {
  // Lane 4g+0 holds the upper halves' sums, lane 4g+1 the lower halves'.
  float sum = 0;
#pragma unroll
  for (uint32_t j = 0; j < kWarpTiles; ++j) sum += sums.c[j][0] + sums.c[j][3];
  return sum + __shfl_xor_sync(0xffffffffu, sum, 1);
}

// The finished value of row `r` of panel `slot` of the group: the warps'
// partial sums in the order of the warps, times the norm's scale.
__device__ inline float SumPartials(
    const float (&partials)[kComputeWarps][kPanelGroup][isa::kPanelRows],
    uint32_t slot, uint32_t r, float scale) {
  float sum = 0;
#pragma unroll
  for (uint32_t w = 0; w < kComputeWarps; ++w) sum += partials[w][slot][r];
  return sum * scale;
}

// r[row]; `early` was read before, but perhaps too early. (An early word with
// this pass's tag is good whether the operand is polled or not; without one it
// is read again, which for an unpolled operand is after its wait.)
__device__ inline float Residual(const isa::GemvOperands& op,
                                 const GemvAddresses& at, uint32_t row,
                                 uint32_t early, bool polled,
                                 DeviceContext& context) {
  if ((early & 0xffu) == context.tag) return isa::FloatOfF24Bits(early);
  return context.Load(at.r, row, polled, op.r);
}

__device__ inline void DeviceGemv(const isa::GemvOperands& op,
                                  const GemvAddresses& at,
                                  DeviceContext& context) {
  const GemvShape shape(op);
  const bool polled = context.IsPolled(GemvIndex::x);
  const bool polled_residual = context.IsPolled(GemvIndex::r);
  const bool norm = op.prologue == isa::Prologue::kRmsNorm;
  const bool y_is_f24 = context.IsF24(GemvIndex::y);
  // The first group's residual is on its way while the weights are multiplied.
  uint32_t early_residual = 0;
  if (at.r != nullptr && context.thread() < op.rows) {
    early_residual = ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at.r) +
                                         op.row_begin + context.thread());
  }
  SlabFragments fragments;
  float squares = 0;
  float scale = 1.0f;
  Best best = {-INFINITY, 0xffffffffu};
  // The first weights are in registers before the vector is there; later ones
  // while the stage before is multiplied.
  uint32_t stages_left = shape.panels * shape.matrices * shape.slabs;
  StageTiles tiles;
  TakeStage(shape.SlabTiles(0), context, tiles);
  for (uint32_t p0 = 0; p0 < shape.panels; p0 += shape.group) {
    const uint32_t copy = context.partials_copy;
    context.partials_copy ^= 1;
    auto& partials = context.shared->partials[copy];
    const uint32_t group_panels = shape.GroupPanels(p0);
    const uint32_t slots = group_panels * shape.matrices;
    SlabWords words[kSlabsAtOnce];
#pragma unroll 1
    for (uint32_t slab = 0; slab < shape.slabs; ++slab) {
      // With one slab, all groups multiply the same fragments.
      if (shape.slabs > 1 || p0 == 0) {
        if (slab % kSlabsAtOnce == 0) {
          LoadSlabs(op, at, slab, min(kSlabsAtOnce, shape.slabs - slab), polled,
                    context, words);
        }
        float slab_squares = 0;
        MakeFragments(words[0], norm, context, fragments, slab_squares);
        // Every group reads the whole vector.
        if (p0 == 0) squares += slab_squares;
#pragma unroll
        for (uint32_t s = 1; s < kSlabsAtOnce; ++s) words[s - 1] = words[s];
      }
#pragma unroll 1
      for (uint32_t slot = 0; slot < slots; ++slot) {
        StageSums sums;
        MultiplyStage(tiles, fragments, sums);
        if (--stages_left != 0) {
          const uint32_t next_slab = slot + 1 < slots         ? slab
                                     : slab + 1 < shape.slabs ? slab + 1
                                                              : 0;
          TakeStage(shape.SlabTiles(next_slab), context, tiles);
        }
        const float sum = SumOfStage(sums);
        if (context.lane() % 4 == 0) {
          float& partial = partials[context.warp()][slot][context.lane() / 4];
          partial = slab == 0 ? sum : partial + sum;
        }
      }
    }
    if (norm && p0 == 0) {
      const float warp_squares = WarpSum(squares);
      if (context.lane() == 0) {
        context.shared->squares[copy][context.warp()] = warp_squares;
      }
    }
    // Partial sums and squares are written before any thread adds them up.
    context.Barrier();
    if (norm && p0 == 0) {
      float total = 0;
      for (uint32_t w = 0; w < kComputeWarps; ++w) {
        total += context.shared->squares[copy][w];
      }
      scale = 1.0f / sqrtf(total / op.k + op.eps);
    }
    const uint32_t panel = context.thread() / isa::kPanelRows;
    const uint32_t r = context.thread() % isa::kPanelRows;
    const uint32_t local = (p0 + panel) * isa::kPanelRows + r;
    if (panel < group_panels && local < op.rows) {
      const uint32_t row = op.row_begin + local;
      float value = SumPartials(partials, panel * shape.matrices, r, scale);
      switch (op.epilogue) {
        case isa::Epilogue::kStore:
          break;
        case isa::Epilogue::kAdd:
          value += Residual(op, at, row, p0 == 0 ? early_residual : 0,
                            polled_residual, context);
          break;
        case isa::Epilogue::kSiluMul:
          value = Silu(value) * SumPartials(partials, panel * 2 + 1, r, scale);
          break;
        case isa::Epilogue::kArgmax:
          best = BetterOf(best, {value, row});
          break;
      }
      if (at.y != nullptr) {
        if (y_is_f24) {
          context.Store(at.y, row, value);
        } else {
          static_cast<float*>(at.y)[row] = value;
        }
      }
    }
  }
  if (op.epilogue == isa::Epilogue::kArgmax) {
    best = BlockBest(context, best);
    if (context.thread() == 0) {
      context.StoreRanked(at.best, op.slot, best.score, best.row);
    }
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_CUH_
