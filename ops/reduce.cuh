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

// The same, and the highest of the values, in every thread; with one barrier.
// Uses the end of scratch in turn, like `squares`.
struct Top {
  Best best;
  float max;
};
inline constexpr uint32_t kTopOffset = kScratchFloats - 2 * 4 * kComputeWarps;
__device__ inline Top BlockTop(DeviceContext& context, Top top) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    Best other;
    other.score = __shfl_xor_sync(0xffffffffu, top.best.score, offset);
    other.row = __shfl_xor_sync(0xffffffffu, top.best.row, offset);
    top.best = BetterOf(top.best, other);
    top.max = fmaxf(top.max, __shfl_xor_sync(0xffffffffu, top.max, offset));
  }
  float4* tops =
      reinterpret_cast<float4*>(context.shared->scratch + kTopOffset +
                                context.NextPartials() * (4 * kComputeWarps));
  if (context.lane() == 0) {
    tops[context.warp()] =
        make_float4(top.best.score, __uint_as_float(top.best.row), top.max, 0);
  }
  // The warps' tops are written before any is read.
  context.Barrier();
#pragma unroll 1
  for (uint32_t w = 0; w < kComputeWarps; ++w) {
    const float4 other = tops[w];
    top.best = BetterOf(top.best, {other.x, __float_as_uint(other.y)});
    top.max = fmaxf(top.max, other.z);
  }
  return top;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_REDUCE_CUH_
