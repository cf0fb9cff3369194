// Sums and arg-maxima over a warp and over the compute threads of a block, in
// an order that depends on nothing but the thread.
#ifndef MKVM_OPS_REDUCE_CUH_
#define MKVM_OPS_REDUCE_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

// The sum over the warp, in every lane.
__device__ inline float WarpSum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}

// The sum over the compute threads, in every one of them. Uses `squares` in
// turn, like a gemv.
__device__ inline float BlockSum(DeviceContext& context, float value) {
  value = WarpSum(value);
  float* sums = context.shared->squares[context.partials_copy];
  context.partials_copy ^= 1;
  if (context.lane() == 0) sums[context.warp()] = value;
  // The warps' sums are written before any is read.
  context.Barrier();
  float total = 0;
  for (uint32_t w = 0; w < kComputeWarps; ++w) total += sums[w];
  return total;
}

// The same for the highest value.
__device__ inline float BlockMax(DeviceContext& context, float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  float* maxima = context.shared->squares[context.partials_copy];
  context.partials_copy ^= 1;
  if (context.lane() == 0) maxima[context.warp()] = value;
  // The warps' maxima are written before any is read.
  context.Barrier();
  for (uint32_t w = 0; w < kComputeWarps; ++w) value = fmaxf(value, maxima[w]);
  return value;
}

// kCount sums at once, with one barrier. `memory`: two copies of the floats for
// kMaxSums sums, used in turn as `squares` are.
inline constexpr uint32_t kMaxSums = 16;
template <uint32_t kCount>
__device__ inline void BlockSums(DeviceContext& context, float* memory,
                                 float (&values)[kCount]) {
  static_assert(kCount <= kMaxSums);
  float* sums = memory + context.NextPartials() * (kMaxSums * kComputeWarps);
#pragma unroll
  for (uint32_t i = 0; i < kCount; ++i) {
    const float sum = WarpSum(values[i]);
    if (context.lane() == 0) sums[i * kComputeWarps + context.warp()] = sum;
  }
  // The warps' sums are written before any is read.
  context.Barrier();
#pragma unroll
  for (uint32_t i = 0; i < kCount; ++i) {
    values[i] = 0;
    for (uint32_t w = 0; w < kComputeWarps; ++w) {
      values[i] += sums[i * kComputeWarps + w];
    }
  }
}

struct Best {
  float score;
  uint32_t row;
};

__device__ inline Best BetterOf(const Best& a, const Best& b) {
  return isa::RanksBefore(b.score, b.row, a.score, a.row) ? b : a;
}

// The best over the compute threads, in thread 0. Threads without a candidate
// pass {-inf, 0xffffffff}, which ranks last.
__device__ inline Best BlockBest(DeviceContext& context, Best best) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    Best other;
    other.score = __shfl_xor_sync(0xffffffffu, best.score, offset);
    other.row = __shfl_xor_sync(0xffffffffu, best.row, offset);
    best = BetterOf(best, other);
  }
  float* scores = context.shared->scratch;
  uint32_t* rows = reinterpret_cast<uint32_t*>(scores + kComputeWarps);
  if (context.lane() == 0) {
    scores[context.warp()] = best.score;
    rows[context.warp()] = best.row;
  }
  // The warps' bests are written before thread 0 reads them. Scratch is free
  // again after the interpreter's barrier at the end of the instruction.
  context.Barrier();
  if (context.thread() == 0) {
    for (uint32_t w = 1; w < kComputeWarps; ++w) {
      best = BetterOf(best, {scores[w], rows[w]});
    }
  }
  return best;
}

// The same, in every thread.
__device__ inline Best BlockBestForAll(DeviceContext& context, Best best) {
  best = BlockBest(context, best);
  Best* shared = reinterpret_cast<Best*>(context.shared->scratch);
  // Thread 0 alone has read the warps' bests, which this overwrites.
  if (context.thread() == 0) *shared = best;
  // Thread 0's best is written before the others read it.
  context.Barrier();
  best = *shared;
  // All have read it before scratch is used again.
  context.Barrier();
  return best;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_REDUCE_CUH_
