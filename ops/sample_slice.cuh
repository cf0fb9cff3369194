// sample_slice: what the choice of a token needs to know of a slice of the
// logits.
#ifndef MKVM_OPS_SAMPLE_SLICE_CUH_
#define MKVM_OPS_SAMPLE_SLICE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

inline constexpr uint32_t kSliceValues = kMaxSliceRows / kComputeThreads;

// A thread's values of the slice: tokens begin + thread, + 256, ...
struct SliceValues {
  float values[kSliceValues];

  // Of values[j]; for those past the end a token that ranks behind all.
  __device__ static uint32_t Token(const isa::SampleSliceOperands& op,
                                   const DeviceContext& context, uint32_t j) {
    const uint32_t i = context.thread() + j * kComputeThreads;
    return i < op.count ? op.begin + i : isa::kMaxRankedIndex;
  }

  // How many of the slice satisfy `condition(value)`, in every thread.
  template <typename Condition>
  __device__ uint32_t Count(DeviceContext& context,
                            Condition&& condition) const {
    uint32_t count = 0;
#pragma unroll
    for (uint32_t j = 0; j < kSliceValues; ++j) count += condition(values[j]);
    // Exact: no more than 2^11.
    return static_cast<uint32_t>(BlockSum(context, static_cast<float>(count)));
  }
};

// The candidates are the values not below this; there are no more of them than
// `kept`, and where equal values allow it not less than three quarters of that.
// Bisected: by value, so that the distance between the logits decides how many
// steps it takes, about 6.
__device__ inline float CandidateThreshold(const SliceValues& slice, float max,
                                           uint32_t kept,
                                           DeviceContext& context) {
  const uint32_t finite =
      slice.Count(context, [](float v) { return v != -INFINITY; });
  if (finite <= kept) return -INFINITY;
  float lowest = INFINITY;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    if (slice.values[j] != -INFINITY) lowest = fminf(lowest, slice.values[j]);
  }
  float too_low = -BlockMax(context, -lowest);
  float threshold = nextafterf(max, INFINITY);  // no value is above
  for (int step = 0; step < 64; ++step) {
    const float middle = too_low + (threshold - too_low) * 0.5f;
    if (middle <= too_low || middle >= threshold) break;
    const uint32_t count =
        slice.Count(context, [middle](float v) { return v >= middle; });
    if (count > kept) {
      too_low = middle;
    } else {
      threshold = middle;
      if (count >= kept / 4 * 3) break;
    }
  }
  return threshold;
}

// Stores the candidates and pads them. Returns the highest value that is none.
__device__ inline float StoreCandidates(const SliceValues& slice,
                                        const isa::SampleSliceOperands& op,
                                        const SampleSliceAddresses& at,
                                        float max, DeviceContext& context) {
  const uint64_t first = uint64_t{op.slice} * (op.kept + 1);
  const float threshold = CandidateThreshold(slice, max, op.kept, context);
  uint32_t* stored = reinterpret_cast<uint32_t*>(context.shared->scratch);
  if (context.thread() == 0) *stored = 0;
  // The count is 0 before anybody adds to it.
  context.Barrier();
  float hidden = -INFINITY;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    const float value = slice.values[j];
    if (value == -INFINITY) continue;
    if (value < threshold) {
      hidden = fmaxf(hidden, value);
      continue;
    }
    context.StoreRanked(at.candidates, first + atomicAdd(stored, 1), value,
                        op.begin + context.thread() + j * kComputeThreads);
  }
  // All have added before the sum is read.
  hidden = BlockMax(context, hidden);
  for (uint32_t i = *stored + context.thread(); i < op.kept;
       i += kComputeThreads) {
    context.StoreRanked(at.candidates, first + i, -INFINITY,
                        isa::kMaxRankedIndex);
  }
  return hidden;
}

// All loads at once: one round trip to memory, not one for each.
__device__ inline SliceValues LoadSlice(const SamplingValues& s,
                                        const isa::SampleSliceOperands& op,
                                        const SampleSliceAddresses& at,
                                        const DeviceContext& context) {
  const bool penalizes = s.Penalizes();
  const uint32_t* logits = static_cast<const uint32_t*>(at.logits) + op.begin;
  const uint32_t* counts = static_cast<const uint32_t*>(at.counts) + op.begin;
  uint32_t words[kSliceValues];
  uint32_t seen[kSliceValues];
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    const uint32_t i =
        min(context.thread() + j * kComputeThreads, op.count - 1);
    words[j] = ptx::LoadRelaxedGpu(logits + i);
    seen[j] = penalizes ? ptx::LoadRelaxedGpu(counts + i) : 0;
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
// numbers are one loop and not as many copies of it as there are values: the
// instructions of a body that runs once per token come from afar.
__device__ inline Best DrawFromSlice(const SamplingValues& s,
                                     const SliceValues& slice,
                                     const isa::SampleSliceOperands& op,
                                     const DeviceContext& context) {
  float* values = context.shared->scratch + 2 * kComputeWarps;
  static_assert(2 * kComputeWarps + kMaxSliceRows <= kScratchFloats);
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    values[context.thread() + j * kComputeThreads] = slice.values[j];
  }
  Best best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
  for (uint32_t i = context.thread(); i < op.count; i += kComputeThreads) {
    const uint32_t token = op.begin + i;
    best = BetterOf(
        best, {DrawScore(s, values[i], context.position(), token), token});
  }
  return best;
}

__device__ inline void DeviceSampleSlice(const isa::SampleSliceOperands& op,
                                         const SampleSliceAddresses& at,
                                         DeviceContext& context) {
  const SamplingValues s = LoadSampling(static_cast<const float*>(at.numbers),
                                        static_cast<const int32_t*>(at.ints));
  SliceValues slice = LoadSlice(s, op, at, context);
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  float max = -INFINITY;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    max = fmaxf(max, slice.values[j]);
    best = BetterOf(best, {slice.values[j], slice.Token(op, context, j)});
  }
  if (s.temperature > 0 && !s.Filters()) {
    best = DrawFromSlice(s, slice, op, context);
  }
  max = BlockMax(context, max);
  best = BlockBest(context, best);
  float mass = 0;
  float tempered = 0;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    mass += RelativeMass(slice.values[j], max);
    tempered += TemperedMass(s, slice.values[j], max);
  }
  mass = BlockSum(context, mass);
  tempered = BlockSum(context, tempered);
  float hidden = max;
  if (s.Filters() || s.logprobs > 0) {
    hidden = StoreCandidates(slice, op, at, max, context);
  } else {
    // Nobody looks at them; but what is written does not hang on the options.
    for (uint32_t i = context.thread(); i < op.kept; i += kComputeThreads) {
      context.StoreRanked(at.candidates, uint64_t{op.slice} * (op.kept + 1) + i,
                          -INFINITY, isa::kMaxRankedIndex);
    }
  }
  if (context.thread() != 0) return;
  context.StoreRanked(at.candidates,
                      uint64_t{op.slice} * (op.kept + 1) + op.kept, best.score,
                      best.row);
  ptx::StoreRelaxedGpu4(
      static_cast<uint32_t*>(at.sums) + uint64_t{op.slice} * kSliceSums,
      make_uint4(isa::BitsOfFloat(max), isa::BitsOfFloat(mass),
                 isa::BitsOfFloat(tempered), isa::BitsOfFloat(hidden)));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_SLICE_CUH_
