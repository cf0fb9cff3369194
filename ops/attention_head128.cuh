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

// Adds up over the lanes what Weigh leaves apart.
template <uint32_t kSets>
__device__ __forceinline__ void FinishState(State<kSets>& state) {
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) {
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      state.l[s] += __shfl_xor_sync(0xffffffffu, state.l[s], offset);
    }
  }
}

// Puts the warp's states of heads [head, head + kHeads) into scratch.
template <uint32_t kSets>
__device__ __forceinline__ void PutStates(const State<kSets>& state,
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
          make_float2(state.m[s], state.l[s]);
    }
  }
}

// Where a head's result goes: to a part, or whole to y.
struct Published {
  void* base;
  uint64_t begin;
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
  // Four elements in one store: words on their own take longer to arrive.
  const float second = __shfl_down_sync(0xffffffffu, value, 1);
  const float third = __shfl_down_sync(0xffffffffu, value, 2);
  const float fourth = __shfl_down_sync(0xffffffffu, value, 3);
  if (element % 4 == 0) {
    const uint64_t at = to.begin + element;
    context.StoreWords4(to.base, to.whole ? ActivationWord(at) : at, value,
                        second, third, fourth);
  }
  // The second thread of a part's head has m and l.
  if (element == 1 && !to.whole) {
    context.StoreWords4(to.base, to.begin + kDim, empty ? -INFINITY : stored,
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

template <uint32_t kSets>
__device__ __forceinline__ void DeviceAttention(
    const isa::AttentionOperands& op, const AttentionAddresses& at,
    DeviceContext& context) {
  // q is asked for first; what is there already need not be polled.
  const bool fused = op.prologue == isa::AttentionPrologue::kQkNormRope;
  const AttentionPlace place = context.slot()->attention;
  const bool append = place.append != 0;
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
    PrepareReady(heads.q, op.group, heads.poll_q, op.q, append, k_cache,
                 v_cache, place.slot, context);
  }
  // q and this position's k and v are in scratch before any thread reads them.
  context.Barrier();
  const Query<kSets> query = QueryOf<kSets>(op.group, context);
  State<kSets> state = {};
#pragma unroll
  for (uint32_t s = 0; s < kSets; ++s) state.m[s] = kNone;
  const auto* now =
      reinterpret_cast<const char*>(context.shared->scratch + kNowBegin);
  // This warp's rows among the positions from row `begin` of the split on.
  const auto rows_from = [&](uint32_t begin) {
    const uint32_t first = begin + RowWarp(context) * kTileRows;
    return first < place.positions ? min(place.positions - first, kTileRows)
                                   : 0;
  };
  // Which of them is this pass's, kTileRows or more: none.
  const auto now_from = [&](uint32_t begin) {
    const uint32_t first = begin + RowWarp(context) * kTileRows;
    return append ? place.positions - 1 - first : kTileRows;
  };
  if (rows_from(0) != 0) {
    if (now_from(0) < kTileRows) {
      const auto* row = reinterpret_cast<const uint4*>(now);
      PutRow(now_from(0), row, row + kDim / kCacheChunk, context, tile);
    }
    AttendTile(tile, rows_from(0), query, state, context);
  }
  // Then two parts at a time, which takes little longer than one.
#pragma unroll 1
  for (uint32_t part = kPartRows; part < place.positions;
       part += 2 * kPartRows) {
    const uint32_t rows[2] = {rows_from(part), rows_from(part + kPartRows)};
    float2 scores[2][kSets] = {};
    uint4 v[2][4] = {};
#pragma unroll
    for (uint32_t t = 0; t < 2; ++t) {
      const uint32_t begin = part + t * kPartRows;
      // (The last part may have no rows in the stages, only this pass's.)
      const bool streamed = begin < place.streamed;
      uint32_t read = 0;
      if (streamed) context.WaitChunk();
      if (rows[t] != 0) {
        TileSource source = NextTile(context);
        source.last = rows[t] - 1;
        source.now = now_from(begin);
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
      if (streamed) context.FreeChunk(kPartStages, read);
    }
    if (rows[0] == 0) break;
    Weigh<2, kSets>(rows, scores, state, context);
    AddWeighed<kSets>(v[0], scores[0], state, context);
    if (rows[1] != 0) AddWeighed<kSets>(v[1], scores[1], state, context);
  }
  FinishState(state);
  const bool whole = place.alone != 0;
  const uint32_t stride = whole ? kDim : kDim + 4;
  for (uint32_t head = 0; head < op.group; head += kHeads) {
    // The states of the heads before are read.
    if (head != 0) context.Barrier();
    PutStates(state, head, context);
    // The warps' states are written before any thread merges them.
    context.Barrier();
    const uint32_t h = context.thread() / kDim;
    if (head + h < op.group) {
      const uint32_t row = (whole ? op.kv_head : split_row) * op.group + head;
      Publish(place.positions == 0,
              {whole ? at.y : at.part, uint64_t{row + h} * stride, whole}, h,
              context.thread() % kDim, context);
    }
  }
}
static_assert(kComputeThreads == kHeads * kDim);

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_HEAD128_CUH_
