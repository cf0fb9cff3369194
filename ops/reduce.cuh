// Sums and arg-maxima over a warp and over the compute threads of a block, in
// an order that depends on nothing but the thread.
#ifndef MKVM_OPS_REDUCE_CUH_
#define MKVM_OPS_REDUCE_CUH_

#include "ops/device_context.cuh"
#include "ops/float_order.h"

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
  float* sums = context.shared->squares[context.NextPartials()];
  if (context.lane() == 0) sums[context.warp()] = value;
  // The warps' sums are written before any is read.
  context.Barrier();
  float total = 0;
  for (uint32_t w = 0; w < kComputeWarps; ++w) total += sums[w];
  return total;
}

struct Best {
  float score;
  uint32_t row;
};

__device__ inline Best BetterOf(const Best& a, const Best& b) {
  return isa::RanksBefore(b.score, b.row, a.score, a.row) ? b : a;
}

// Orders that may be compared like the values: -0 is 0, a NaN is the highest.
__device__ inline uint32_t RankOf(float value) {
  return isnan(value) ? 0xffffffffu : OrderOf(value + 0.0f);
}

// The highest value of the warp, in every lane; a NaN if one is.
__device__ inline float WarpHighest(float value) {
  return FloatOfOrder(__reduce_max_sync(0xffffffffu, RankOf(value)));
}

// The best of the warp in the order of argmax, in every lane; there is one zero
// and one NaN only.
__device__ inline Best WarpBest(const Best& best) {
  const uint32_t rank = RankOf(best.score);
  const uint32_t highest = __reduce_max_sync(0xffffffffu, rank);
  return {FloatOfOrder(highest),
          __reduce_min_sync(0xffffffffu,
                            rank == highest ? best.row : isa::kMaxRankedIndex)};
}

// The best over the compute threads, in thread 0. Threads without a candidate
// pass {-inf, 0xffffffff}, which ranks last.
__device__ inline Best BlockBest(DeviceContext& context, Best best) {
  best = WarpBest(best);
  float* scores = context.shared->scratch.floats;
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

}  // namespace mkvm::ops

#endif  // MKVM_OPS_REDUCE_CUH_
