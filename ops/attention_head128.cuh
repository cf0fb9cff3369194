// attention with heads of 128 elements, which is what models have: the same
// computation as ops/attention.cuh, on the tensor cores.
//
// The rows that were in the cache before this pass come through the stages, as
// weights do, long before q is there; those of the first part, or of the first
// two, are in registers by then. All warps keep the same online softmax
// (Milakov and Gimelshein 2018) over the parts: they exchange their rows'
// maxima and then their weights, and each publishes its own elements
// (ops/attention_tile.cuh).
#ifndef MKVM_OPS_ATTENTION_HEAD128_CUH_
#define MKVM_OPS_ATTENTION_HEAD128_CUH_

#include <type_traits>

#include "ops/attention_query.cuh"
#include "ops/attention_tile.cuh"
#include "ops/device_context.cuh"
#include "ops/kv_cache.cuh"
#include "ops/ptx/math.cuh"
#include "ops/ptx/memory.cuh"
#include "ops/ptx/registers.cuh"

namespace mkvm::ops {
namespace head128 {

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

// Attends to the next parts, from row `begin` of the split on.
template <uint32_t kParts>
__device__ __forceinline__ void AttendNext(uint32_t begin,
                                           const AttentionPlace& place,
                                           bool append, const LanePlaces& at,
                                           State& state,
                                           DeviceContext& context) {
  const auto* now =
      reinterpret_cast<const uint4*>(context.shared->scratch.floats + at.now);
  const Rows rows = {place.positions - begin,
                     append ? place.positions - 1 - begin : ~0u};
  Tile tile[kParts] = {};
#pragma unroll
  for (uint32_t p = 0; p < kParts; ++p) {
    const uint32_t first = begin + p * kPartRows;
    // (The last part may have no rows in the stages, only this pass's.)
    if (first < place.streamed) {
      tile[p] = TakeTile(place.streamed - first, context);
    }
    PutK(rows.now - p * kPartRows, at.row, now, tile[p]);
  }
  Attend<kParts, false>(tile, rows, at, state, context);
}

// Attends to all parts from row `begin` on: an odd one first, the others two at
// a time.
__device__ __forceinline__ void AttendOtherParts(
    uint32_t begin, const AttentionPlace& place, bool append,
    const LanePlaces& at, State& state, DeviceContext& context) {
  if ((place.positions - begin - 1) / kPartRows % kPartsAtOnce == 0) {
    AttendNext<1>(begin, place, append, at, state, context);
    begin += kPartRows;
  }
#pragma unroll 1
  for (; begin < place.positions; begin += kPartsAtOnce * kPartRows) {
    AttendNext<kPartsAtOnce>(begin, place, append, at, state, context);
  }
}
static_assert(kPartsAtOnce == 2);

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
  const Rows rows = {place.positions, append ? place.positions - 1 : ~0u};
  State state = {};
  // The first parts: all of them that are in registers when q comes.
  const auto attend = [&](auto parts) {
    Tile tile[parts] = {};
#pragma unroll
    for (uint32_t p = 0; p < parts; ++p) {
      const uint32_t first = p * kPartRows;
      if (first < place.streamed) {
        tile[p] = TakeTile(place.streamed - first, context);
      }
    }
    // What a gemv before reads and writes comes before this one's writes.
    context.WaitForRows();
    if (fused) {
      PrepareFused(heads, append, early, k_cache, v_cache, place.slot, context);
    } else {
      PrepareReady(heads.q, group, heads.poll_q, op.q, append, k_cache, v_cache,
                   place.slot, context);
    }
    // q and this position's k and v are in scratch before any thread reads
    // them.
    context.Barrier();
    const auto* now = reinterpret_cast<const uint4*>(
        context.shared->scratch.floats + places.now);
#pragma unroll
    for (uint32_t p = 0; p < parts; ++p) {
      PutK(rows.now - p * kPartRows, places.row, now, tile[p]);
    }
    Attend<parts, true>(tile, rows, places, state, context);
  };
  // One part, as in short contexts, has a way of its own.
  if (__builtin_expect(place.positions > kPartRows, 0)) {
    attend(std::integral_constant<uint32_t, kPartsAtOnce>());
    if (place.positions > kPartsAtOnce * kPartRows) {
      AttendOtherParts(kPartsAtOnce * kPartRows, place, append, places, state,
                       context);
    }
  } else {
    attend(std::integral_constant<uint32_t, 1>());
  }
  Publish(published, place.positions == 0, places, state, context);
}

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_HEAD128_CUH_
