// attention with heads of 128 elements, which is what models have: the same
// computation as ops/attention.cuh, on the tensor cores.
//
// The rows that were in the cache before this pass come through the stages, as
// weights do, long before q is there; the first part's are in registers by
// then. All warps keep the same online softmax (Milakov and Gimelshein 2018)
// over the parts: they exchange their rows' maxima and then their weights, and
// each publishes its own elements (ops/attention_tile.cuh).
#ifndef MKVM_OPS_ATTENTION_HEAD128_CUH_
#define MKVM_OPS_ATTENTION_HEAD128_CUH_

#include "ops/attention_tile.cuh"
#include "ops/device_context.cuh"
#include "ops/gemv_stages.cuh"
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

// What there is to attend to, from a part's first row on.
struct Rows {
  uint32_t count;  // perhaps more than a part's
  uint32_t now;    // which is this pass's; more than a part has: none here
};

// Exchanges the warps' maxima: the highest score of head g, of all rows.
__device__ __forceinline__ float Exchange(float most, const LanePlaces& at,
                                          DeviceContext& context) {
  float* const scratch = context.shared->scratch.floats;
  most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
  most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
  if (context.lane() % 4 == 0) scratch[at.maxima + context.warp()] = most;
  // The warps' maxima are written before any warp reads them; and the weights
  // of the parts before are read before they are written again.
  context.Barrier();
  const auto* maxima = reinterpret_cast<const float4*>(scratch + at.maxima);
  const float4 a = maxima[0], b = maxima[1];
  return fmaxf(fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)),
               fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w)));
}

// Puts the weights of a lane's two rows into scratch, as part `p` of those
// there. This pass's row, `now` from that part's first, goes its own way: its v
// is in no stage.
__device__ __forceinline__ void PutWeights(float2 weight, uint32_t p,
                                           uint32_t now, const LanePlaces& at,
                                           DeviceContext& context) {
  float* const scratch = context.shared->scratch.floats;
  const uint32_t ahead = now - at.score;
  const float mine = ahead == 0 ? weight.x : weight.y;
  if (ahead == 0) weight.x = 0;
  if (ahead == 4) weight.y = 0;
  if ((ahead & ~4u) == 0) scratch[kNowWeightBegin + context.lane() / 4] = mine;
  const uint32_t high = ptx::PackBf16(weight.x, weight.y);
  const uint32_t low = ptx::PackBf16Rest(weight.x, weight.y, high);
  if (at.has_head) {
    *reinterpret_cast<uint2*>(scratch + at.own + p * kPartDistance) =
        make_uint2(high, low);
  }
}

// Attends to some parts, of which the tile has this pass's k but not its v.
template <uint32_t kParts, bool kFirst>
__device__ __forceinline__ void Attend(const Tile (&tile)[kParts],
                                       const Rows& rows, const LanePlaces& at,
                                       State& state, DeviceContext& context) {
  float* const scratch = context.shared->scratch.floats;
  float2 score[kParts];
  float most = kNone;
#pragma unroll
  for (uint32_t p = 0; p < kParts; ++p) {
    score[p] =
        Scores(tile[p].k, reinterpret_cast<const uint4*>(scratch + at.query));
    if (p * kPartRows + at.score >= rows.count) score[p].x = kNone;
    if (p * kPartRows + at.score + 4 >= rows.count) score[p].y = kNone;
    const float higher = fmaxf(score[p].x, score[p].y);
    most = p == 0 ? higher : fmaxf(most, higher);
  }
  most = Exchange(most, at, context);
  if constexpr (!kFirst) most = fmaxf(most, state.m);
#pragma unroll
  for (uint32_t p = 0; p < kParts; ++p) {
    PutWeights(make_float2(ptx::Exp2Approximate(score[p].x - most),
                           ptx::Exp2Approximate(score[p].y - most)),
               p, rows.now - p * kPartRows, at, context);
  }
  // Without branches: a word that is not wanted is not read.
  const bool has_now = rows.now < kParts * kPartRows;
  uint32_t now_v[2] = {};
#pragma unroll
  for (uint32_t c = 0; c < 2; ++c) {
    if (has_now) {
      now_v[c] = reinterpret_cast<const uint32_t*>(
          scratch)[at.now_v + c * (kCacheChunk / 2)];
    }
  }
  // The weights are written before any warp reads them; and the maxima are read
  // before they are written again.
  context.Barrier();
  float now = 0;
  if (has_now) now = scratch[kNowWeightBegin + context.lane() / 4];
  if constexpr (!kFirst) {
    const float keep = ptx::Exp2Approximate(state.m - most);
#pragma unroll
    for (uint32_t i = 0; i < 2 * 3 * 4; ++i) {
      state.sums[i / 12][i / 4 % 3][i % 4] *= keep;
    }
  }
  state.m = most;
#pragma unroll
  for (uint32_t p = 0; p < kParts; ++p) {
    AddWeighed(tile[p].v,
               reinterpret_cast<const uint4*>(scratch + at.weights +
                                              p * kPartDistance),
               state);
  }
  auto& sums = state.sums[0];
#pragma unroll
  for (uint32_t c = 0; c < 2; ++c) {
    sums[c][0] += now * isa::FloatOfBits(now_v[c] << 16);
    sums[c][1] += now * isa::FloatOfBits(now_v[c] & 0xffff0000u);
  }
  sums[2][0] += now;
}

// Where the warp's elements of head g go.
struct Published {
  uint32_t* to;       // the first of this lane's, in the warp's first chunk
  uint32_t distance;  // of the second chunk's
  bool whole;         // to y; else to a part
};
__device__ __forceinline__ Published
PublishedOf(const isa::AttentionOperands& op, const AttentionAddresses& at,
            bool whole, uint32_t group, const DeviceContext& context) {
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
  const uint32_t element = context.warp() * kWarpDim + 2 * q;
  Published published = {};
  published.whole = whole;
  if (whole) {
    published.distance = kRunDistance;
    published.to = static_cast<uint32_t*>(at.y) +
                   ActivationWord((op.kv_head * group + g) * kDim + element);
  } else {
    published.distance = kCacheChunk;
    published.to =
        static_cast<uint32_t*>(at.part) +
        ((op.kv_head * op.splits + op.split) * group + g) * (kDim + 4) +
        element;
  }
  published.distance = ptx::Kept(published.distance);
  return published;
}
static_assert(kRunWords == kCacheChunk);

// Publishes the warp's elements of all heads; of a part, warp 0 also has what
// follows the elements.
__device__ __forceinline__ void Publish(const Published& published, bool empty,
                                        const LanePlaces& at,
                                        const State& state,
                                        DeviceContext& context) {
  const auto sum_of = [&](uint32_t c, uint32_t i) {
    return (state.sums[0][c][i] + state.sums[0][c][i + 2]) +
           (state.sums[1][c][i] + state.sums[1][c][i + 2]);
  };
  const auto put = [&](auto&& word_of) {
    uint2 words[2];
#pragma unroll
    for (uint32_t c = 0; c < 2; ++c) {
      words[c].x = word_of(sum_of(c, 0));
      words[c].y = word_of(sum_of(c, 1));
    }
    if (at.has_head) {
      ptx::StoreRelaxedGpu2(published.to, words[0]);
      ptx::StoreRelaxedGpu2(published.to + published.distance, words[1]);
    }
  };
  if (published.whole) {
    const float by = ptx::ReciprocalApproximate(sum_of(2, 0));
    put([&](float sum) { return context.WordOf(sum * by); });
    return;
  }
  // Everything is relative to the m that is stored.
  const float stored = isa::RoundToF24(state.m * kLn2);
  const float scale =
      empty ? 0.0f : ptx::Exp2Approximate(state.m - stored * kLog2e);
  put([&](float sum) { return context.WordOf(sum * scale); });
  if (context.warp() == 0 && context.lane() % 4 == 0 && at.has_head) {
    context.StoreWords4(published.to, kDim, empty ? -INFINITY : stored,
                        sum_of(2, 0) * scale, 0.0f, 0.0f);
  }
}

// Attends to all parts but the first.
__device__ __forceinline__ void AttendOtherParts(const AttentionPlace& place,
                                                 bool append,
                                                 const LanePlaces& at,
                                                 State& state,
                                                 DeviceContext& context) {
  const auto* now =
      reinterpret_cast<const uint4*>(context.shared->scratch.floats + at.now);
#pragma unroll 1
  for (uint32_t begin = kPartRows; begin < place.positions;
       begin += kPartsAtOnce * kPartRows) {
    const Rows rows = {place.positions - begin,
                       append ? place.positions - 1 - begin : ~0u};
    Tile tile[kPartsAtOnce] = {};
#pragma unroll
    for (uint32_t p = 0; p < kPartsAtOnce; ++p) {
      const uint32_t first = begin + p * kPartRows;
      // (The last part may have no rows in the stages, only this pass's.)
      if (first < place.streamed) {
        tile[p] = TakeTile(place.streamed - first, context);
      }
      PutK(rows.now - p * kPartRows, at.row, now, tile[p]);
    }
    Attend<kPartsAtOnce, false>(tile, rows, at, state, context);
  }
}

__device__ __forceinline__ void DeviceAttention(
    const isa::AttentionOperands& op, const AttentionAddresses& at,
    DeviceContext& context) {
  // q is asked for first; what is there already need not be polled.
  const bool fused = op.prologue == isa::AttentionPrologue::kQkNormRope;
  const AttentionPlace place = context.slot()->attention;
  const bool append = place.append != 0;
  const uint32_t group = ptx::Kept(op.group);
  const QkvHeads heads = HeadsOf<AttentionIndex>(op, at, context);
  uint4 early = make_uint4(0, 0, 0, 0);
  if (fused) early = AskHead128(heads, append, context);
  const uint32_t capacity = context.slot()->dims[AttentionIndex::k_cache].y;
  const uint32_t rope_rows = context.slot()->dims[AttentionIndex::rope].x;
  if (!CheckRoom(context, op.k_cache, capacity, op.splits, rope_rows)) return;
  const uint64_t cache_begin =
      uint64_t{op.kv_head * op.splits + op.split} * capacity * kDim;
  uint16_t* k_cache = static_cast<uint16_t*>(at.k_cache) + cache_begin;
  uint16_t* v_cache = static_cast<uint16_t*>(at.v_cache) + cache_begin;
  const LanePlaces places = PlacesOf(group, context);
  const Published published =
      PublishedOf(op, at, place.alone != 0, group, context);
  Tile tile[1] = {};
  if (place.streamed != 0) tile[0] = TakeTile(place.streamed, context);
  // What a gemv before reads and writes comes before this one's writes.
  context.WaitForRows();
  if (fused) {
    PrepareFused(heads, append, early, k_cache, v_cache, place.slot, context);
  } else {
    PrepareReady(heads.q, group, heads.poll_q, op.q, append, k_cache, v_cache,
                 place.slot, context);
  }
  const Rows rows = {place.positions, append ? place.positions - 1 : ~0u};
  // q and this position's k and v are in scratch before any thread reads them.
  context.Barrier();
  State state = {};
  PutK(rows.now, places.row,
       reinterpret_cast<const uint4*>(context.shared->scratch.floats +
                                      places.now),
       tile[0]);
  Attend<1, true>(tile, rows, places, state, context);
  // Seldom in short contexts: out of their way.
  if (__builtin_expect(place.positions > kPartRows, 0)) {
    AttendOtherParts(place, append, places, state, context);
  }
  Publish(published, place.positions == 0, places, state, context);
}

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_HEAD128_CUH_
