// gemv: a range of rows of a packed matrix times an activation vector.
//
// The weights come first: as many stages as registers hold (a chunk,
// ops/gemv_stages.cuh) are taken before the vector is read. Then every warp
// reads its columns of the vector, multiplies, leaves its sums in shared memory
// and goes on to the next instruction, as far as its weights. Once all have
// done so, the finishing warps (ops/gemv_finish.cuh) do the rest.
#ifndef MKVM_OPS_GEMV_CUH_
#define MKVM_OPS_GEMV_CUH_

#include "ops/device_context.cuh"
#include "ops/gemv_finish.cuh"
#include "ops/gemv_stages.cuh"
#include "ops/ptx/copy.cuh"
#include "ops/reduce.cuh"

namespace mkvm::ops {

// What the chunks of a gemv read, for this lane.
struct GemvInput {
  const uint32_t* x;  // its first column of slab 0
  const uint16_t* g;  // likewise; nullptr: no norm
  uint32_t mask;      // bits of a word that must be the tag's
  uint32_t columns;   // from its first one on; only if slabs aren't whole
};

// This lane's four columns of kSlabs slabs, and their gains.
template <uint32_t kSlabs>
struct GemvColumns {
  uint4 x[kSlabs];
  uint2 g[kSlabs];
};

// Asks for one slab's words. Columns that aren't there have the tag.
template <bool kWhole>
__device__ __forceinline__ uint4 AskColumns(const GemvInput& in, uint32_t slab,
                                            uint32_t tag) {
  const uint32_t column = slab * isa::kStageColumns;
  if constexpr (kWhole) {
    return ptx::LoadRelaxedGpu4(in.x + ActivationWord(column));
  }
  // Buffers are padded, so that a load of the last elements is in bounds.
  uint4 v = make_uint4(tag, tag, tag, tag);
  if (column < in.columns) {
    v = ptx::LoadRelaxedGpu4(in.x + ActivationWord(column));
  }
  if (column + 1 >= in.columns) v.y = tag;
  if (column + 2 >= in.columns) v.z = tag;
  if (column + 3 >= in.columns) v.w = tag;
  return v;
}

// Gains of four columns: the norm's, or ones.
template <bool kWhole>
__device__ __forceinline__ uint2 LoadGains(const GemvInput& in, uint32_t slab) {
  const uint32_t column = slab * isa::kStageColumns;
  if (in.g == nullptr || (!kWhole && column >= in.columns)) {
    return make_uint2(0x3f803f80u, 0x3f803f80u);
  }
  return ptx::LoadConstant2(reinterpret_cast<const uint32_t*>(in.g + column));
}

__device__ __forceinline__ uint32_t WrongBits(const uint4& v, uint32_t tag) {
  return (v.x ^ tag) | (v.y ^ tag) | (v.z ^ tag) | (v.w ^ tag);
}

// Polls until all words that the warp has asked for carry the tag. What is
// there is not asked for again: the fewer polls, the sooner the others' words
// arrive.
template <uint32_t kSlabs, bool kWhole>
__device__ __forceinline__ void PollColumns(const GemvInput& in,
                                            uint32_t first_slab,
                                            uint32_t operand,
                                            GemvColumns<kSlabs>& columns,
                                            DeviceContext& context) {
  const uint32_t tag = context.tag;
  const auto wrong_bits = [&] {
    uint32_t wrong = 0;
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) {
      wrong |= WrongBits(columns.x[s], tag);
    }
    return wrong & in.mask;
  };
  uint64_t state = 0;
  const uint32_t begin = context.TraceNow();
  uint32_t poll_begin = begin;
  uint32_t wrong = wrong_bits();
  // One way out, so that it costs no more than the vote.
  for (uint32_t polls = 1; __any_sync(0xffffffffu, wrong != 0); ++polls) {
    bool lost = false;
    if (polls % 64 == 0) {
      if (wrong != 0) {
        uint32_t seen = 0;
#pragma unroll
        for (uint32_t s = 0; s < kSlabs; ++s) {
          const uint4 v = columns.x[s];
          const auto look = [&](uint32_t word) {
            if (((word ^ tag) & 0xffu) != 0) seen = word & 0xffu;
          };
          look(v.x);
          look(v.y);
          look(v.z);
          look(v.w);
        }
        state = SpinStep(context.shared, context.place(), state, operand, seen,
                         tag);
      }
      lost = __any_sync(0xffffffffu, state == kSpinLost);
      context.Fail(lost);
    }
    poll_begin = context.TraceNow();
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) {
      if ((WrongBits(columns.x[s], tag) & 0xffu) != 0) {
        columns.x[s] = AskColumns<kWhole>(in, first_slab + s, tag);
      }
    }
    wrong = lost ? 0 : wrong_bits();
  }
  context.TraceOperands(begin, poll_begin, operand);
}

// One chunk of a group, `slots` <= kSlots panels (of both matrices) of kSlabs
// slabs from `first_slab` on: their sums go to, or with later chunks are added
// to, the partial sums at `partial`. With `load`, the vector's slabs are not at
// `fragments` yet; returns the warp's sum of their squares. `first`: of the
// instruction. With kWhole all slabs are whole ones; without kNorm there are no
// gains, and no squares.
template <uint32_t kSlabs, uint32_t kSlots, bool kWhole, bool kNorm>
__device__ __forceinline__ float SumChunk(
    const GemvInput& in, const GemvShape& shape, uint32_t slots,
    uint32_t operand, uint32_t first_slab, bool load, bool first,
    uint4* fragments, float* partial, DeviceContext& context) {
  constexpr uint32_t kStages = kSlabs * kSlots;
  static_assert(kSlabs <= kChunkSlabs && kStages <= kStagesAtOnce);
  // The lanes have read their fragments of what the warp did before.
  __syncwarp();
  // What was in the copy of partial sums has been added up. And before an
  // instruction's first weights are taken, which keeps shared memory busy, the
  // rows of the gemv before are on their way: everybody waits for those.
  if (first) {
    context.WaitForRows();
  } else {
    context.WaitForCopy();
  }
  // The vector is asked for when all weights but the last stage's are taken: by
  // then it is often there, and the answer comes while that is.
  GemvColumns<kSlabs> columns = {};
  const auto tiles = TakeStages<kSlabs, kSlots, kWhole>(
      slots, context,
      [&](uint32_t i) { return SlabTiles(shape, first_slab + i % kSlabs); },
      [&]() {
        if (!load) return;
#pragma unroll
        for (uint32_t s = 0; s < kSlabs; ++s) {
          columns.x[s] = AskColumns<kWhole>(in, first_slab + s, context.tag);
          if constexpr (kNorm) {
            columns.g[s] = LoadGains<kWhole>(in, first_slab + s);
          }
        }
      });
  float squares = 0;
  if (load) {
    PollColumns<kSlabs, kWhole>(in, first_slab, operand, columns, context);
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) {
      squares += WriteFragments<kNorm>(fragments + s * kSlabFragments,
                                       columns.x[s], columns.g[s], context);
    }
    // The warp's fragments are written before any lane reads them.
    __syncwarp();
  }
  Fragments of_slab[kSlabs];
#pragma unroll
  for (uint32_t s = 0; s < kSlabs; ++s) {
    of_slab[s] = ReadFragments(fragments + s * kSlabFragments, context);
  }
  const StageSums<kStages> sums = MultiplyStages(
      tiles,
      [&](uint32_t i) -> const Fragments& { return of_slab[i % kSlabs]; });
  if constexpr (kNorm) squares = WarpSum(squares);
  if (context.lane() % 4 < 2) {
#pragma unroll
    for (uint32_t p = 0; p < kSlots; ++p) {
      // In the last chunk of a gemv in chunks of three slabs there is no room
      // for more. (Elsewhere what is beyond may be written, and is not read.)
      if (kSlabs == 1 && kSlots == 4 && p == 2 && slots <= 2) break;
      // Slab after slab, so that the rounding hangs on no chunk's size.
      float* to = partial + p * kPanelPartials;
      float sum = sums.sum[p * kSlabs];
      if (first_slab != 0) sum = *to + sum;
#pragma unroll
      for (uint32_t s = 1; s < kSlabs; ++s) sum += sums.sum[p * kSlabs + s];
      *to = sum;
    }
  }
  return squares;
}

template <bool kWhole>
__device__ __forceinline__ void GemvOf(const isa::GemvOperands& op,
                                       const GemvAddresses& at,
                                       DeviceContext& context) {
  // Copied, so that it is read at once.
  const GemvShape shape = context.slot()->gemv;
  const uint32_t column = LaneColumn<kWhole>(context);
  GemvInput in;
  in.x = static_cast<const uint32_t*>(at.x) + ActivationWord(column);
  in.g =
      at.g == nullptr ? nullptr : static_cast<const uint16_t*>(at.g) + column;
  in.mask = shape.x_mask;
  if constexpr (!kWhole) in.columns = op.k - min(op.k, column);
  // What is not kept every group reads again.
  const bool keeps = KeepsFragments(shape);
  uint4* const scratch = WarpFragments(context);
  bool load = true;
  for (uint32_t p0 = 0; p0 < shape.panels; p0 += shape.group) {
    const uint32_t copy = context.copy();
    const uint32_t slots = shape.GroupPanels(p0) * shape.matrices;
    float squares = 0;
#pragma unroll 1
    for (uint32_t c0 = 0; c0 < shape.slabs; c0 += shape.chunk) {
      const uint32_t slabs = shape.ChunkSlabs(c0);
      uint4* const fragments = scratch + (keeps ? c0 * kSlabFragments : 0);
      // A body for each shape, unrolled: few shapes, since all bodies of a
      // layer should fit the instruction cache.
#define MKVM_CHUNK(kSlabs, kSlots)                                     \
  squares += SumChunk<kSlabs, kSlots, kWhole, true>(                   \
      in, shape, slots, op.x, c0, load, p0 == 0 && c0 == 0, fragments, \
      PartialOf(shape.chunk, copy, context), context)
      if (slabs == 1 && slots > 4) {
        MKVM_CHUNK(1, 6);
      } else if (slabs == 1) {
        MKVM_CHUNK(1, 4);
      } else if (slabs == 3) {
        MKVM_CHUNK(3, 2);
      } else if (slots <= 2) {
        MKVM_CHUNK(2, 2);
      } else {
        MKVM_CHUNK(2, 3);
      }
#undef MKVM_CHUNK
    }
    if (load && context.lane() == 0) {
      context.shared->gemv_squares[copy][context.warp()] = squares;
    }
    load = !keeps;
    context.HandOver();
  }
  context.EndOpen();
}

// A gemv of one chunk, with kSlots panels of kSlabs whole slabs, of a vector
// that is polled; without kNorm, without gains.
template <uint32_t kSlabs, uint32_t kSlots, bool kNorm>
__device__ __forceinline__ void DirectGemv(DeviceContext& context) {
  const InstructionSlot& slot = *context.slot();
  const auto& op =
      *reinterpret_cast<const isa::GemvOperands*>(slot.instruction.operands);
  const auto& at = *reinterpret_cast<const GemvAddresses*>(slot.addresses);
  const uint32_t column = LaneColumn<true>(context);
  GemvInput in;
  in.x = static_cast<const uint32_t*>(at.x) + ActivationWord(column);
  in.g = nullptr;
  if (kNorm && at.g != nullptr) {
    in.g = static_cast<const uint16_t*>(at.g) + column;
  }
  in.mask = 0xffu;
  const uint32_t copy = context.copy();
  const float squares = SumChunk<kSlabs, kSlots, true, kNorm>(
      in, slot.gemv, kSlots, op.x, 0, true, true, WarpFragments(context),
      PartialOf(kSlabs, copy, context), context);
  if (kNorm && context.lane() == 0) {
    context.shared->gemv_squares[copy][context.warp()] = squares;
  }
  context.HandOver();
  context.EndOpen();
}

__device__ __forceinline__ void DeviceGemv(const isa::GemvOperands& op,
                                           const GemvAddresses& at,
                                           DeviceContext& context) {
  GemvOf<true>(op, at, context);
}
// For a k that is not whole slabs.
__device__ __forceinline__ void DeviceAnyGemv(const isa::GemvOperands& op,
                                              const GemvAddresses& at,
                                              DeviceContext& context) {
  GemvOf<false>(op, at, context);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_CUH_
