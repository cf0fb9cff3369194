// What attention with heads of 128 elements needs in shared memory before it
// can attend: q as the first operand of a product, and this pass's k and v; and
// where the lanes find these, the weights and each other's maxima.
#ifndef MKVM_OPS_ATTENTION_QUERY_CUH_
#define MKVM_OPS_ATTENTION_QUERY_CUH_

#include "ops/attention_tile.cuh"
#include "ops/device_context.cuh"
#include "ops/kv_cache.cuh"
#include "ops/ptx/math.cuh"
#include "ops/ptx/memory.cuh"
#include "ops/ptx/registers.cuh"

namespace mkvm::ops {

inline constexpr float kLog2e = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

namespace head128 {

// Scratch, floats. For each head: q, each element's upper and lower half as the
// first operand of a product wants them, and then its weights. Of these what
// lane q of a product's reader wants is together: [part][q][warp], with gaps.
// Every second head's lie some banks farther. After all that the warps' maxima
// [head][warp], this pass's weights [head], and its k and v (bf16).
inline constexpr uint32_t kQueryShift = 4;
inline constexpr uint32_t kWeightsShift = 16;
inline constexpr uint32_t kWeightsBegin = kDim + kWeightsShift;
inline constexpr uint32_t kLaneDistance = 2 * kComputeWarps + 4;
inline constexpr uint32_t kPartDistance = 4 * kLaneDistance;
inline constexpr uint32_t kPartsAtOnce = 2;
inline constexpr uint32_t kHeadScratch =
    kWeightsBegin + kWeightsShift + kPartsAtOnce * kPartDistance;
static_assert(kHeadScratch % 32 == 0 && kMaxHeads <= kComputeWarps);
inline constexpr uint32_t kMaximaBegin = kMaxHeads * kHeadScratch;
inline constexpr uint32_t kNowWeightBegin =
    kMaximaBegin + kMaxHeads * kComputeWarps;
inline constexpr uint32_t kNowBegin = kNowWeightBegin + kMaxHeads;
static_assert(kNowBegin + kDim <= kScratchFloats);

// What lane 4g + q has to do with, of head g: made before q is there, and kept.
// (Rows of a product without a head are computed and not used.)
struct LanePlaces {
  uint32_t row;      // RowAt(g) of the warp, from a part's first
  uint32_t score;    // the first of its two scores' rows
  uint32_t query;    // floats of scratch
  uint32_t weights;  // likewise
  uint32_t own;      // of them, the warp's
  uint32_t maxima;   // likewise
  uint32_t now;      // likewise: chunk q of this pass's k
  uint32_t now_v;    // likewise: its elements of this pass's v
  bool has_head;
};
__device__ __forceinline__ LanePlaces PlacesOf(uint32_t group,
                                               const DeviceContext& context) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
  const uint32_t warp = context.warp();
  const uint32_t head = min(g, group - 1);
  LanePlaces at;
  at.row = ptx::Kept(warp * kWarpRows + RowAt(g));
  at.score = ptx::Kept(warp * kWarpRows + q);
  at.query =
      ptx::Kept(head * kHeadScratch + head % 2 * kQueryShift + q * kCacheChunk);
  at.weights = ptx::Kept(head * kHeadScratch + head % 2 * kWeightsShift +
                         kWeightsBegin + q * kLaneDistance);
  at.own = ptx::Kept(at.weights + warp * 2);
  at.maxima = ptx::Kept(kMaximaBegin + g * kComputeWarps);
  at.now = ptx::Kept(kNowBegin + q * (kCacheChunk / 2));
  at.now_v = ptx::Kept(kNowBegin + kDim / 2 + warp * (kWarpDim / 2) + q);
  at.has_head = g < group;
  return at;
}

// Puts four elements of a head's q there, in units in which e^score is
// 2^score.
__device__ __forceinline__ void PutQuery(uint32_t head, uint32_t element,
                                         const float4& q,
                                         DeviceContext& context) {
  constexpr float kScale = 0.08838834764831845f * kLog2e;  // 1 / sqrt(128)
  const float v[4] = {
      isa::RoundToF24(q.x) * kScale, isa::RoundToF24(q.y) * kScale,
      isa::RoundToF24(q.z) * kScale, isa::RoundToF24(q.w) * kScale};
  uint32_t high[2], low[2];
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    high[i] = ptx::PackBf16(v[2 * i], v[2 * i + 1]);
    low[i] = ptx::PackBf16Rest(v[2 * i], v[2 * i + 1], high[i]);
  }
  *reinterpret_cast<uint4*>(context.shared->scratch.floats +
                            head * kHeadScratch + head % 2 * kQueryShift +
                            element) =
      make_uint4(high[0], low[0], high[1], low[1]);
}

// q into scratch, and this pass's k and v, which also go to row `slot` of the
// split's cache. `early`: the words of the warp's first head, perhaps.
__device__ __forceinline__ void PrepareFused(const QkvHeads& heads, bool append,
                                             const uint4& early,
                                             uint16_t* k_cache,
                                             uint16_t* v_cache, uint32_t slot,
                                             DeviceContext& context) {
  auto* now =
      reinterpret_cast<uint2*>(context.shared->scratch.floats + kNowBegin);
  NormRopeAppend128(
      context, heads, append, early,
      [&](uint32_t head, uint32_t i, const float4& value) {
        PutQuery(head, i, value, context);
      },
      [&](uint32_t i, uint2 bits) {
        *reinterpret_cast<uint2*>(k_cache + slot * kDim +
                                  PermutedElement(slot, i)) = bits;
        now[i / 4] = bits;
      },
      [&](uint32_t i, uint2 bits) {
        *reinterpret_cast<uint2*>(v_cache + slot * kDim +
                                  PermutedElement(slot, i)) = bits;
        now[kDim / 4 + i / 4] = bits;
      });
}

// The same when q is ready and the cache holds this position.
__device__ __forceinline__ void PrepareReady(
    const uint32_t* q, uint32_t group, bool polled, uint32_t operand,
    bool append, const uint16_t* k_cache, const uint16_t* v_cache,
    uint32_t slot, DeviceContext& context) {
  const uint32_t i = 4 * context.lane();
  if (context.warp() < group) {
    const uint32_t* from = q + ActivationWord(context.warp() * kDim + i);
    uint32_t words[4];
    LoadFour(context, from, ptx::LoadRelaxedGpu4(from), polled, operand, words);
    PutQuery(context.warp(), i,
             make_float4(
                 isa::FloatOfF24Bits(words[0]), isa::FloatOfF24Bits(words[1]),
                 isa::FloatOfF24Bits(words[2]), isa::FloatOfF24Bits(words[3])),
             context);
  }
  if (append && context.warp() == kComputeWarps - 1) {
    auto* now =
        reinterpret_cast<uint4*>(context.shared->scratch.floats + kNowBegin);
    const uint32_t chunk = context.lane() % 16;
    now[context.lane()] = ptx::LoadGlobal16(
        (context.lane() < 16 ? k_cache : v_cache) + slot * kDim +
        PermutedElement(slot, chunk * kCacheChunk));
  }
}

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_QUERY_CUH_
