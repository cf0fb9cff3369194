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

__device__ inline void DeviceSampleSlice(const isa::SampleSliceOperands& op,
                                         const SampleSliceAddresses& at,
                                         DeviceContext& context) {
  const SamplingValues s = LoadSampling(static_cast<const float*>(at.numbers),
                                        static_cast<const int32_t*>(at.ints));
  const bool penalizes = s.Penalizes();
  const bool draws = s.temperature > 0 && !s.Filters();
  SliceValues slice;
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  float max = -INFINITY;
#pragma unroll
  for (uint32_t j = 0; j < kSliceValues; ++j) {
    const uint32_t i = context.thread() + j * kComputeThreads;
    slice.values[j] = -INFINITY;
    if (i >= op.count) continue;
    const uint32_t token = op.begin + i;
    const float logit = isa::FloatOfBits(
        ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at.logits) + token));
    const int32_t count =
        penalizes ? static_cast<int32_t>(ptx::LoadRelaxedGpu(
                        static_cast<const uint32_t*>(at.counts) + token))
                  : 0;
    const float value = Penalized(s, logit, token, count);
    slice.values[j] = value;
    max = fmaxf(max, value);
    best = BetterOf(
        best, {draws ? DrawScore(s, value, context.position(), token) : value,
               token});
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
