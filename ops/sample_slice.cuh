// sample_slice: what the choice of a token needs to know of a slice of the
// logits.
//
// A body that runs once per token has its instructions come from afar, and
// every trip to memory and every barrier counts: loops are kept rolled, loads
// together, reductions joined.
#ifndef MKVM_OPS_SAMPLE_SLICE_CUH_
#define MKVM_OPS_SAMPLE_SLICE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

inline constexpr uint32_t kSliceValues = kMaxSliceRows / kComputeThreads;
// Scratch: the slice's values, where a loop needs them; then sums.
inline constexpr uint32_t kSliceSumsOffset = kMaxSliceRows;
static_assert(kSliceSumsOffset + 2 * kMaxSums * kComputeWarps <= kTopOffset);

// A thread's values of the slice: tokens of neighbouring ids, which often are
// likely together, go to different warps.
struct SliceValues {
  float values[kSliceValues];

  // Of values[j]; for those past the end a token that ranks behind all.
  __device__ static uint32_t Token(const isa::SampleSliceOperands& op,
                                   const DeviceContext& context, uint32_t j) {
    const uint32_t i = Index(context, j);
    return i < op.count ? op.begin + i : isa::kMaxRankedIndex;
  }
  __device__ static uint32_t Index(const DeviceContext& context, uint32_t j) {
    return context.lane() * kComputeWarps + context.warp() +
           j * kComputeThreads;
  }
};

// All loads at once: one round trip to memory, not one for each.
__device__ inline SliceValues LoadSlice(const SamplingValues& s,
                                        const isa::SampleSliceOperands& op,
                                        const SampleSliceAddresses& at,
                                        const DeviceContext& context) {
  const uint32_t* logits = static_cast<const uint32_t*>(at.logits) + op.begin;
  const uint32_t* counts = static_cast<const uint32_t*>(at.counts) + op.begin;
  uint32_t words[kSliceValues];
  uint32_t seen[kSliceValues] = {};
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    words[j] = ptx::LoadRelaxedGpu(
        logits + min(SliceValues::Index(context, j), op.count - 1));
  }
  if (s.Penalizes()) {
#pragma unroll
    for (uint32_t j = 0; j < kSliceValues; ++j) {
      seen[j] = ptx::LoadRelaxedGpu(
          counts + min(SliceValues::Index(context, j), op.count - 1));
    }
  }
  SliceValues slice;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    const uint32_t token = SliceValues::Token(op, context, j);
    slice.values[j] = token == isa::kMaxRankedIndex
                          ? -INFINITY
                          : Penalized(s, isa::FloatOfBits(words[j]), token,
                                      static_cast<int32_t>(seen[j]));
  }
  return slice;
}

// The best draw of this thread. By way of shared memory, so that the random
// numbers are one loop and not as many copies of it as there are values.
__device__ inline Best DrawFromSlice(const SamplingValues& s,
                                     const SliceValues& slice,
                                     const isa::SampleSliceOperands& op,
                                     const DeviceContext& context) {
  float* values = context.shared->scratch;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    values[SliceValues::Index(context, j)] = slice.values[j];
  }
  Best best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    const uint32_t token = SliceValues::Token(op, context, j);
    if (token == isa::kMaxRankedIndex) break;
    best = BetterOf(best, {DrawScore(s, values[SliceValues::Index(context, j)],
                                     context.position(), token),
                           token});
  }
  return best;
}

// Stores the highest values of each warp, its share of `kept`, one after the
// other. Returns the highest value of the warp that is left.
__device__ inline float StoreCandidates(SliceValues slice,
                                        const isa::SampleSliceOperands& op,
                                        const SampleSliceAddresses& at,
                                        const DeviceContext& context) {
  const uint64_t first = uint64_t{op.slice} * (op.kept + 1);
#pragma unroll 1
  for (uint32_t slot = context.warp();; slot += kComputeWarps) {
    float mine = slice.values[0];
    uint32_t where = 0;
#pragma unroll
    for (uint32_t j = 1; j < kSliceValues; ++j) {
      if (slice.values[j] > mine) {
        mine = slice.values[j];
        where = j;
      }
    }
    const uint32_t order = __reduce_max_sync(0xffffffffu, OrderOf(mine));
    const float highest = FloatOfOrder(order);
    if (slot >= op.kept) return highest;
    const uint32_t lanes = __ballot_sync(0xffffffffu, OrderOf(mine) == order);
    if (context.lane() != static_cast<uint32_t>(__ffs(lanes)) - 1) continue;
    // Nothing left to store: what is there says so.
    const bool none = mine == -INFINITY;
    context.StoreRanked(
        at.candidates, first + slot, mine,
        none ? isa::kMaxRankedIndex : SliceValues::Token(op, context, where));
#pragma unroll
    for (uint32_t j = 0; j < kSliceValues; ++j) {
      if (j == where) slice.values[j] = -INFINITY;
    }
  }
}

__device__ inline void DeviceSampleSlice(const isa::SampleSliceOperands& op,
                                         const SampleSliceAddresses& at,
                                         DeviceContext& context) {
  const SamplingValues s = LoadSampling(static_cast<const float*>(at.numbers),
                                        static_cast<const int32_t*>(at.ints));
  SliceValues slice = LoadSlice(s, op, at, context);
  Top top = {{-INFINITY, isa::kMaxRankedIndex}, -INFINITY};
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    top.max = fmaxf(top.max, slice.values[j]);
    top.best = BetterOf(top.best,
                        {slice.values[j], SliceValues::Token(op, context, j)});
  }
  if (s.temperature > 0 && !s.Filters()) {
    top.best = DrawFromSlice(s, slice, op, context);
  }
  top = BlockTop(context, top);
  float sums[2] = {};
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    sums[0] += RelativeMass(slice.values[j], top.max);
    sums[1] += TemperedMass(s, slice.values[j], top.max);
  }
  BlockSums(context, context.shared->scratch + kSliceSumsOffset, sums);
  float hidden = top.max;
  if (s.Filters() || s.logprobs > 0) {
    hidden = BlockMax(context, StoreCandidates(slice, op, at, context));
  } else {
    // Nobody looks at them; but what is written does not hang on the options.
    for (uint32_t i = context.thread(); i < op.kept; i += kComputeThreads) {
      context.StoreRanked(at.candidates, uint64_t{op.slice} * (op.kept + 1) + i,
                          -INFINITY, isa::kMaxRankedIndex);
    }
  }
  if (context.thread() != 0) return;
  context.StoreRanked(at.candidates,
                      uint64_t{op.slice} * (op.kept + 1) + op.kept,
                      top.best.score, top.best.row);
  ptx::StoreRelaxedGpu4(
      static_cast<uint32_t*>(at.sums) + uint64_t{op.slice} * kSliceSums,
      make_uint4(isa::BitsOfFloat(top.max), isa::BitsOfFloat(sums[0]),
                 isa::BitsOfFloat(sums[1]), isa::BitsOfFloat(hidden)));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_SLICE_CUH_
