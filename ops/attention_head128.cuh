// attention with heads of 128 elements, which is what models have: the same
// computation as ops/attention.cuh, on the tensor cores.
//
// The rows that were in the cache before this pass come through the stages, as
// weights do, long before q is there; the first part's are in registers by
// then. Each warp keeps an online softmax over its tiles (ops/attention_tile.
// cuh); the warps meet in scratch, in a fixed order.
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

// Heads whose states are in scratch at once.
inline constexpr uint32_t kHeads = 2;

// Scratch, floats: for each warp the q head that it writes, its upper and its
// lower halves, which is all that may be written while others are still in a
// gemv (a warp's fragments are in the same place), then its accumulators [head
// of the pair][its half]; after all that the warps' m and l, and this pass's k
// and v (bf16). The lower halves begin half of the banks after the upper ones.
inline constexpr uint32_t kWarpScratch =
    kScratchSlabs * kSlabFragments * sizeof(uint4) / sizeof(float);
inline constexpr uint32_t kLowerBytes = kRowBytes + 64;
inline constexpr uint32_t kAccBegin = 2 * kLowerBytes / sizeof(float);
static_assert(kMaxHeads <= kComputeWarps);
static_assert(kAccBegin + kHeads * kHalfDim <= kWarpScratch);
inline constexpr uint32_t kStateBegin = kComputeWarps * kWarpScratch;
inline constexpr uint32_t kNowBegin = kStateBegin + kHeads * kRowWarps * 2;
static_assert(kNowBegin + kDim <= kScratchFloats);
__device__ __forceinline__ char* QueryRow(uint32_t head, bool lower,
                                          DeviceContext& context) {
  return reinterpret_cast<char*>(context.shared->scratch +
                                 head * kWarpScratch) +
         (lower ? kLowerBytes : 0);
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
  *reinterpret_cast<uint2*>(QueryRow(head, false, context) + element * 2) =
      make_uint2(high[0], high[1]);
  *reinterpret_cast<uint2*>(QueryRow(head, true, context) + element * 2) =
      make_uint2(low[0], low[1]);
}

template <uint32_t kSets>
__device__ __forceinline__ Query<kSets> QueryOf(uint32_t group,
                                                DeviceContext& context) {
  const uint32_t column = context.lane() / 4;
  Query<kSets> query;
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
    // Columns without a head are computed and not used.
    const uint32_t head = min(s * kSetHeads + column / 2, group - 1);
    query.row[s] = reinterpret_cast<const uint4*>(
                       QueryRow(head, column % 2 != 0, context)) +
                   context.lane() % 4;
  }
  return query;
}

// The sums over the lanes of what Weigh leaves apart.
template <uint32_t kSets>
struct Totals {
  float l[kSets];
};
template <uint32_t kSets>
__device__ __forceinline__ Totals<kSets> TotalsOf(const State<kSets>& state) {
  Totals<kSets> totals;
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
    totals.l[s] = state.l[s];
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      totals.l[s] += __shfl_xor_sync(0xffffffffu, totals.l[s], offset);
    }
  }
  return totals;
}

// Puts the warp's states of heads [head, head + kHeads) into scratch.
template <uint32_t kSets>
__device__ __forceinline__ void PutStates(const State<kSets>& state,
                                          const Totals<kSets>& totals,
                                          uint32_t head,
                                          DeviceContext& context) {
  float* scratch = context.shared->scratch;
  const uint32_t g = context.lane() / 4, q = context.lane() % 4;
  if (g / kHeads == head / kHeads) {
    float* acc = scratch + context.warp() * kWarpScratch + kAccBegin +
                 g % kHeads * kHalfDim;
#pragma unroll
    for (uint32_t e = 0; e < 2; ++e) {
      float sum[8];
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
        sum[i] = state.acc[i][e] + state.acc[i][e + 2];
      }
      auto* to = reinterpret_cast<float4*>(acc + (2 * q + e) * kCacheChunk);
      to[0] = make_float4(sum[0], sum[1], sum[2], sum[3]);
      to[1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
    }
  }
  // Both warps of a tile have the same.
  if (Half(context) != 0) return;
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
    const uint32_t mine = s * kSetHeads + q;
    if (g == 0 && mine / kHeads == head / kHeads) {
      *reinterpret_cast<float2*>(
          scratch + kStateBegin +
          (mine % kHeads * kRowWarps + RowWarp(context)) * 2) =
          make_float2(state.m[s], totals.l[s]);
    }
  }
}

// Where a head's result goes: to a part, or whole to y.
struct Published {
  uint32_t* element;  // this thread's
  uint32_t* rest;     // what follows a part's elements
  bool whole;
};

// Merges the warps' states of one element and publishes it.
__device__ __forceinline__ void Publish(bool empty, const Published& to,
                                        uint32_t head, uint32_t element,
                                        DeviceContext& context) {
  const float* scratch = context.shared->scratch;
  const auto* states = reinterpret_cast<const float4*>(scratch + kStateBegin +
                                                       head * kRowWarps * 2);
  float m[kRowWarps], l[kRowWarps], acc[kRowWarps];
#pragma unroll
  for (uint32_t w = 0; w < kRowWarps; w += 2) {
    const float4 two = states[w / 2];
    m[w] = two.x;
    l[w] = two.y;
    m[w + 1] = two.z;
    l[w + 1] = two.w;
  }
  const float* mine = scratch + element / kHalfDim * kRowWarps * kWarpScratch +
                      kAccBegin + head * kHalfDim + element % kHalfDim;
#pragma unroll
  for (uint32_t w = 0; w < kRowWarps; ++w) acc[w] = mine[w * kWarpScratch];
  float most = m[0];
#pragma unroll
  for (uint32_t w = 1; w < kRowWarps; ++w) most = fmaxf(most, m[w]);
  // Everything is relative to the m that is stored.
  const float stored = isa::RoundToF24(most * kLn2);
  most = stored * kLog2e;
  float value = 0, sum = 0;
#pragma unroll
  for (uint32_t w = 0; w < kRowWarps; ++w) {
    const float weight = ptx::Exp2Approximate(m[w] - most);
    value += acc[w] * weight;
    sum += l[w] * weight;
  }
  // As attention_merge would have it of the one part: rounded, then divided.
  if (to.whole) {
    value = __fdividef(isa::RoundToF24(value), isa::RoundToF24(sum));
  }
  const uint4 words = context.WordsOfFour(value);
  if (element % 4 == 0) ptx::StoreRelaxedGpu4(to.element, words);
  // The second thread of a part's head has m and l.
  if (element == 1 && !to.whole) {
    context.StoreWords4(to.rest, 0, empty ? -INFINITY : stored,
                        empty ? 0.0f : sum, 0.0f, 0.0f);
  }
}

// q into scratch, and this pass's k and v, which also go to row `slot` of the
// split's cache. `early`: the words of the warp's first head, perhaps.
__device__ __forceinline__ void PrepareFused(const QkvHeads& heads, bool append,
                                             const uint4& early,
                                             uint16_t* k_cache,
                                             uint16_t* v_cache, uint32_t slot,
                                             DeviceContext& context) {
  auto* now = reinterpret_cast<uint2*>(context.shared->scratch + kNowBegin);
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
    auto* now = reinterpret_cast<uint4*>(context.shared->scratch + kNowBegin);
    const uint32_t chunk = context.lane() % 16;
    now[context.lane()] = ptx::LoadGlobal16(
        (context.lane() < 16 ? k_cache : v_cache) + slot * kDim +
        PermutedElement(slot, chunk * kCacheChunk));
  }
}

// This warp's rows among a split's positions.
struct WarpRows {
  uint32_t positions;
  bool append;

  // From row `begin` of the split on: how many.
  __device__ __forceinline__ uint32_t
  Count(uint32_t begin, const DeviceContext& context) const {
    const uint32_t first = begin + RowWarp(context) * kTileRows;
    return first < positions ? min(positions - first, kTileRows) : 0;
  }
  // Which of them is this pass's, kTileRows or more: none.
  __device__ __forceinline__ uint32_t Now(uint32_t begin,
                                          const DeviceContext& context) const {
    const uint32_t first = begin + RowWarp(context) * kTileRows;
    return append ? positions - 1 - first : kTileRows;
  }
};

// Attends to all parts but the first, of which `streamed` rows are in the
// stages; two at a time, which takes little longer than one.
template <uint32_t kSets>
__device__ __forceinline__ void AttendOtherParts(
    const WarpRows& mine, uint32_t streamed, const char* now,
    const Query<kSets>& query, State<kSets>& state, DeviceContext& context) {
#pragma unroll 1
  for (uint32_t part = kPartRows; part < mine.positions;
       part += 2 * kPartRows) {
    const uint32_t rows[2] = {mine.Count(part, context),
                              mine.Count(part + kPartRows, context)};
    float2 scores[2][kSets] = {};
    uint4 v[2][4] = {};
#pragma unroll
    for (uint32_t t = 0; t < 2; ++t) {
      const uint32_t begin = part + t * kPartRows;
      // (The last part may have no rows in the stages, only this pass's.)
      const bool in_stages = begin < streamed;
      uint32_t read = 0;
      if (in_stages) context.WaitChunk();
      if (rows[t] != 0) {
        TileSource source = NextTile(context);
        source.last = rows[t] - 1;
        source.now = mine.Now(begin, context);
        source.row = now;
        uint4 k[4][2];
        LoadK(source, context, k);
        LoadV(source, context, v[t]);
        read = v[t][3].w;
#pragma unroll
        for (uint32_t s = 0; s < kSets; ++s) {
          scores[t][s] = Scores(k, query.row[s]);
        }
      }
      if (in_stages) context.FreeChunk(kPartStages, read);
    }
    if (rows[0] == 0) break;
    Weigh<2, kSets>(rows, scores, state, context);
    AddWeighed<kSets>(v[0], scores[0], state, context);
    if (rows[1] != 0) AddWeighed<kSets>(v[1], scores[1], state, context);
  }
}

template <uint32_t kSets>
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
  const uint32_t split_row = op.kv_head * op.splits + op.split;
  const uint64_t cache_begin = uint64_t{split_row} * capacity * kDim;
  uint16_t* k_cache = static_cast<uint16_t*>(at.k_cache) + cache_begin;
  uint16_t* v_cache = static_cast<uint16_t*>(at.v_cache) + cache_begin;
  Tile tile = {};
  if (place.streamed != 0) {
    tile = TakeTile(min(place.streamed, kPartRows), context);
  }
  // What a gemv before reads and writes comes before this one's writes.
  context.WaitForRows();
  if (fused) {
    PrepareFused(heads, append, early, k_cache, v_cache, place.slot, context);
  } else {
    PrepareReady(heads.q, group, heads.poll_q, op.q, append, k_cache, v_cache,
                 place.slot, context);
  }
  // q and this position's k and v are in scratch before any thread reads them.
  context.Barrier();
  const Query<kSets> query = QueryOf<kSets>(group, context);
  State<kSets> state = {};
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) state.m[s] = kNone;
  const auto* now =
      reinterpret_cast<const char*>(context.shared->scratch + kNowBegin);
  const WarpRows mine = {place.positions, append};
  Totals<kSets> totals = {};
  if (mine.Count(0, context) != 0) {
    if (mine.Now(0, context) < kTileRows) {
      const auto* row = reinterpret_cast<const uint4*>(now);
      PutRow(mine.Now(0, context), row, row + kDim / kCacheChunk, context,
             tile);
    }
    float2 scores[1][kSets];
#pragma unroll
    for (uint32_t s = 0; s < kSets; ++s) {
      scores[0][s] = Scores(tile.k, query.row[s]);
    }
    Weigh<1, kSets>({mine.Count(0, context)}, scores, state, context);
    // Beside the products, in case that this was all.
    totals = TotalsOf(state);
    AddWeighed<kSets>(tile.v, scores[0], state, context);
  }
  // Seldom in short contexts: out of their way.
  if (__builtin_expect(place.positions > kPartRows, 0)) {
    AttendOtherParts(mine, place.streamed, now, query, state, context);
    totals = TotalsOf(state);
  }
  const bool whole = place.alone != 0;
  const uint32_t stride = whole ? kDim : kDim + 4;
  const uint32_t row_begin = (whole ? op.kv_head : split_row) * group;
  const uint32_t h = context.thread() / kDim;
  for (uint32_t head = 0; head < group; head += kHeads) {
    const uint64_t begin = uint64_t{row_begin + head + h} * stride;
    const uint64_t element = begin + context.thread() % kDim;
    uint32_t* const base = static_cast<uint32_t*>(whole ? at.y : at.part);
    const Published to = {base + (whole ? ActivationWord(element) : element),
                          base + begin + kDim, whole};
    // The states of the heads before are read.
    if (head != 0) context.Barrier();
    PutStates(state, totals, head, context);
    // The warps' states are written before any thread merges them.
    context.Barrier();
    if (head + h < group) {
      Publish(place.positions == 0, to, h, context.thread() % kDim, context);
    }
  }
}
static_assert(kComputeThreads == kHeads * kDim);

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_HEAD128_CUH_
