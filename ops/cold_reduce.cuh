// What the bodies that run once per token have in common: reductions of a warp
// in few instructions, and longer pieces out of line, so that there is one copy
// of each. Instructions that ran last a token ago come from afar; a call is
// cheaper than fetching another copy. By value: nobody's context goes to local
// memory.
#ifndef MKVM_OPS_COLD_REDUCE_CUH_
#define MKVM_OPS_COLD_REDUCE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// The options, on their way at once.
__device__ inline SamplingValues LoadOptions(const void* numbers,
                                             const void* ints) {
  static_assert(kSamplingNumbers == 8 && kSamplingInts == 8);
  const uint4 a = ptx::LoadGlobal16(numbers);
  const uint4 b = ptx::LoadGlobal16(static_cast<const uint4*>(numbers) + 1);
  const uint4 c = ptx::LoadGlobal16(ints);
  const uint4 d = ptx::LoadGlobal16(static_cast<const uint4*>(ints) + 1);
  const float floats[kSamplingNumbers] = {
      isa::FloatOfBits(a.x), isa::FloatOfBits(a.y), isa::FloatOfBits(a.z),
      isa::FloatOfBits(a.w), isa::FloatOfBits(b.x), isa::FloatOfBits(b.y),
      isa::FloatOfBits(b.z), isa::FloatOfBits(b.w)};
  const int32_t words[kSamplingInts] = {
      static_cast<int32_t>(c.x), static_cast<int32_t>(c.y),
      static_cast<int32_t>(c.z), static_cast<int32_t>(c.w),
      static_cast<int32_t>(d.x), static_cast<int32_t>(d.y),
      static_cast<int32_t>(d.z), static_cast<int32_t>(d.w)};
  return LoadSampling(floats, words);
}

// Floats in scratch that the block's reductions use, two copies in turn: a copy
// is read after one barrier and written again only by warps that have passed
// the next.
inline constexpr uint32_t kColdFloats = 2 * kComputeWarps;
inline constexpr uint32_t kColdOffset = kScratchFloats - 2 * kColdFloats;

// Two sums over the compute threads, in every one of them.
static __device__ __noinline__ float2 ColdSum2(float2 v, uint32_t copy,
                                               uint32_t thread) {
#pragma unroll 1
  for (uint32_t offset = 16; offset > 0; offset /= 2) {
    v.x += __shfl_xor_sync(0xffffffffu, v.x, offset);
    v.y += __shfl_xor_sync(0xffffffffu, v.y, offset);
  }
  const SharedPointer shared;
  float2* sums = reinterpret_cast<float2*>(shared->scratch.floats +
                                           kColdOffset + copy * kColdFloats);
  if (thread % 32 == 0) sums[thread / 32] = v;
  // The warps' sums are written before any is read.
  ptx::SyncNamed(1, kComputeThreads);
  v = make_float2(0, 0);
#pragma unroll 1
  for (uint32_t w = 0; w < kComputeWarps; ++w) {
    v.x += sums[w].x;
    v.y += sums[w].y;
  }
  return v;
}
__device__ inline float2 ColdSums(DeviceContext& context, float x, float y) {
  return ColdSum2(make_float2(x, y), context.NextPartials(), context.thread());
}

// The best of the compute threads, in every one of them.
static __device__ __noinline__ Best ColdBestOf(Best best, uint32_t copy,
                                               uint32_t thread) {
  best = WarpBest(best);
  const SharedPointer shared;
  uint2* bests = reinterpret_cast<uint2*>(shared->scratch.floats + kColdOffset +
                                          copy * kColdFloats);
  if (thread % 32 == 0) {
    bests[thread / 32] = make_uint2(__float_as_uint(best.score), best.row);
  }
  // The warps' bests are written before any is read.
  ptx::SyncNamed(1, kComputeThreads);
  const uint2 mine = bests[thread % kComputeWarps];
  return WarpBest({__uint_as_float(mine.x), mine.y});
}
__device__ inline Best ColdBest(DeviceContext& context, const Best& best) {
  return ColdBestOf(best, context.NextPartials(), context.thread());
}

// e^x, likewise.
static __device__ __noinline__ float ColdExp(float x) { return expf(x); }
__device__ inline float ColdMass(const SamplingValues& s, float value,
                                 float max) {
  return value == -INFINITY ? 0.0f
                            : ColdExp((value - max) * s.inverse_temperature);
}

// Penalized of a token below the limit, likewise; a call only for those that
// have a penalty.
static __device__ __noinline__ float ColdPenalizedOf(float repetition,
                                                     float presence,
                                                     float frequency,
                                                     float logit,
                                                     int32_t count) {
  SamplingValues s;
  s.repetition_penalty = repetition;
  s.presence_penalty = presence;
  s.frequency_penalty = frequency;
  s.token_limit = 1;
  return Penalized(s, logit, 0, count);
}
__device__ inline float ColdPenalized(const SamplingValues& s, float logit,
                                      uint32_t count) {
  if (count == 0) return logit;
  return ColdPenalizedOf(s.repetition_penalty, s.presence_penalty,
                         s.frequency_penalty, logit,
                         static_cast<int32_t>(count));
}

// DrawScore, likewise.
static __device__ __noinline__ float ColdDrawScoreOf(float scaled,
                                                     uint32_t seed_low,
                                                     uint32_t seed_high,
                                                     int64_t position,
                                                     uint32_t token) {
  SamplingValues s;
  s.seed_low = seed_low;
  s.seed_high = seed_high;
  return scaled + Gumbel(s, position, token);
}
__device__ inline float ColdDrawScore(const SamplingValues& s, float value,
                                      int64_t position, uint32_t token) {
  return ColdDrawScoreOf(value * s.inverse_temperature, s.seed_low, s.seed_high,
                         position, token);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_COLD_REDUCE_CUH_
