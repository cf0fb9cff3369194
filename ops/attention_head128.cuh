// attention with heads of 128 elements, which is what models have: the same
// computation as ops/attention.cuh, with everything unrolled.
//
// A turn is 32 positions: 16 half-warps take two each, lane l of a half-warp
// elements 8l .. 8l+7. The rows of kTurnsAhead turns are in registers or on
// their way: those of the first turns before q is there. Each half-warp keeps
// an online softmax; the halves of a warp meet by shuffles, the warps in
// scratch, in a fixed order.
#ifndef MKVM_OPS_ATTENTION_HEAD128_CUH_
#define MKVM_OPS_ATTENTION_HEAD128_CUH_

#include "ops/device_context.cuh"
#include "ops/gemv_stages.cuh"
#include "ops/kv_cache.cuh"
#include "ops/ptx/math.cuh"
#include "ops/ptx/memory.cuh"

namespace mkvm::ops {

inline constexpr float kLog2e = 1.4426950408889634f;

__device__ inline void UnpackBf16(const uint4& packed, float (&out)[8]) {
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = isa::FloatOfBits(words[i] << 16);
    out[2 * i + 1] = isa::FloatOfBits(words[i] & 0xffff0000u);
  }
}

namespace head128 {

inline constexpr uint32_t kDim = 128;
inline constexpr uint32_t kTurn = 32;  // positions
inline constexpr uint32_t kHeads = 2;  // at once
inline constexpr uint32_t kTurnsAhead = 2;
// Ranks below every score, and e^(kNone - score) is 0. An f24.
inline constexpr float kNone = -0x1p100f;

// Scratch, floats: for each warp the q heads that it writes, which is all that
// may be written while others are still in a gemv (a warp's fragments are in
// the same place), then its accumulators [head of the pair][128]; after all
// that the warps' m and l, and this pass's k and v (bf16).
inline constexpr uint32_t kMaxHeads = 16;
inline constexpr uint32_t kWarpScratch =
    kScratchSlabs * kSlabFragments * sizeof(uint4) / sizeof(float);
inline constexpr uint32_t kAccBegin = kMaxHeads / kComputeWarps * kDim;
static_assert(kAccBegin + kHeads * kDim <= kWarpScratch);
inline constexpr uint32_t kStateBegin = kComputeWarps * kWarpScratch;
inline constexpr uint32_t kNowBegin = kStateBegin + kHeads * kComputeWarps * 2;
static_assert(kNowBegin + kDim <= kScratchFloats);
__device__ __forceinline__ uint32_t QBegin(uint32_t head) {
  return head % kComputeWarps * kWarpScratch + head / kComputeWarps * kDim;
}

// The cache rows of a split.
struct Rows {
  const uint16_t* k;
  const uint16_t* v;
  uint32_t positions;
  uint32_t stored;  // before this pass; the one more there may be is in scratch
};

// Two positions' rows: this lane's elements.
struct Tile {
  uint4 k[2], v[2];
};

__device__ __forceinline__ void LoadTile(const Rows& rows, uint32_t first,
                                         DeviceContext& context, Tile& tile) {
#pragma unroll
  for (uint32_t u = 0; u < 2; ++u) {
    const uint32_t p = first + context.thread() / 16 + 16 * u;
    const uint32_t offset = p * kDim + context.lane() % 16 * 8;
    tile.k[u] = tile.v[u] = make_uint4(0, 0, 0, 0);
    if (p < rows.stored) {
      tile.k[u] = ptx::LoadGlobal16(rows.k + offset);
      tile.v[u] = ptx::LoadGlobal16(rows.v + offset);
    }
  }
}

// This lane's share of a head: the running maximum and sum of its half-warp,
// and its elements of the accumulator.
struct State {
  float m = kNone;
  float l = 0;
  float acc[8] = {};
};

__device__ __forceinline__ float Weight(float score, float m) {
  return ptx::Exp2Approximate((score - m) * kLog2e);
}

template <uint32_t kUses>
__device__ __forceinline__ void Attend(const Rows& rows, uint32_t first,
                                       const Tile& tile,
                                       const float (&query)[kHeads][8],
                                       State (&state)[kHeads],
                                       DeviceContext& context) {
  float dot[kUses][kHeads];
#pragma unroll
  for (uint32_t u = 0; u < kUses; ++u) {
    float k[8];
    UnpackBf16(tile.k[u], k);
#pragma unroll
    for (uint32_t h = 0; h < kHeads; ++h) {
      float even = 0, odd = 0;
#pragma unroll
      for (uint32_t i = 0; i < 8; i += 2) {
        even += k[i] * query[h][i];
        odd += k[i + 1] * query[h][i + 1];
      }
      dot[u][h] = even + odd;
    }
  }
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) {
#pragma unroll
    for (uint32_t u = 0; u < kUses; ++u) {
#pragma unroll
      for (uint32_t h = 0; h < kHeads; ++h) {
        dot[u][h] += __shfl_xor_sync(0xffffffffu, dot[u][h], offset);
      }
    }
  }
  const uint32_t p = first + context.thread() / 16;
  float v[kUses][8];
#pragma unroll
  for (uint32_t u = 0; u < kUses; ++u) UnpackBf16(tile.v[u], v[u]);
#pragma unroll
  for (uint32_t h = 0; h < kHeads; ++h) {
    float score[kUses];
    State& s = state[h];
    float m = s.m;
#pragma unroll
    for (uint32_t u = 0; u < kUses; ++u) {
      score[u] = p + 16 * u < rows.positions ? dot[u][h] : kNone;
      m = fmaxf(m, score[u]);
    }
    const float keep = Weight(s.m, m);
    s.m = m;
    s.l *= keep;
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) s.acc[i] *= keep;
#pragma unroll
    for (uint32_t u = 0; u < kUses; ++u) {
      const float weight = Weight(score[u], m);
      s.l += weight;
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) s.acc[i] += weight * v[u][i];
    }
  }
}

// Replaces the row of this pass, if it is one of the tile's, by what is in
// scratch.
__device__ __forceinline__ void AddNow(const Rows& rows, uint32_t first,
                                       DeviceContext& context, Tile& tile) {
  if (rows.stored == rows.positions || rows.stored >= first + kTurn) return;
  const auto* now =
      reinterpret_cast<const uint4*>(context.shared->scratch + kNowBegin) +
      context.lane() % 16;
#pragma unroll
  for (uint32_t u = 0; u < 2; ++u) {
    if (first + context.thread() / 16 + 16 * u == rows.stored) {
      tile.k[u] = now[0];
      tile.v[u] = now[kDim / 8];
    }
  }
}

// The two halves of a warp, in both.
__device__ __forceinline__ void MergeHalves(State (&state)[kHeads]) {
#pragma unroll
  for (uint32_t h = 0; h < kHeads; ++h) {
    State& s = state[h];
    const float other = __shfl_xor_sync(0xffffffffu, s.m, 16);
    const float m = fmaxf(s.m, other);
    const float mine = Weight(s.m, m);
    s.m = m;
    s.l *= mine;
    s.l += __shfl_xor_sync(0xffffffffu, s.l, 16);
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
      s.acc[i] *= mine;
      s.acc[i] += __shfl_xor_sync(0xffffffffu, s.acc[i], 16);
    }
  }
}

// Puts the warp's states into scratch: each half one head's.
__device__ __forceinline__ void PutStates(const State (&state)[kHeads],
                                          DeviceContext& context) {
  static_assert(kHeads == 2);
  const bool upper = context.lane() >= 16;
  State mine;
  mine.m = upper ? state[1].m : state[0].m;
  mine.l = upper ? state[1].l : state[0].l;
#pragma unroll
  for (uint32_t i = 0; i < 8; ++i) {
    mine.acc[i] = upper ? state[1].acc[i] : state[0].acc[i];
  }
  float* scratch = context.shared->scratch;
  const uint32_t head = upper ? 1 : 0;
  auto* acc = reinterpret_cast<float4*>(
      scratch + context.warp() * kWarpScratch + kAccBegin + head * kDim);
  // Lane l's eight elements as words l and l + 16: no bank conflicts.
  acc[context.lane() % 16] =
      make_float4(mine.acc[0], mine.acc[1], mine.acc[2], mine.acc[3]);
  acc[16 + context.lane() % 16] =
      make_float4(mine.acc[4], mine.acc[5], mine.acc[6], mine.acc[7]);
  if (context.lane() % 16 == 0) {
    *reinterpret_cast<float2*>(scratch + kStateBegin +
                               (head * kComputeWarps + context.warp()) * 2) =
        make_float2(mine.m, mine.l);
  }
}

// Where a head's result goes: to a part, or whole to y.
struct Published {
  void* base;
  uint64_t begin;
  bool whole;
};

// Merges the warps' states of one element and publishes it.
__device__ __forceinline__ void Publish(const Rows& rows, const Published& to,
                                        uint32_t head, uint32_t element,
                                        DeviceContext& context) {
  const float* scratch = context.shared->scratch;
  const auto* states = reinterpret_cast<const float4*>(
      scratch + kStateBegin + head * kComputeWarps * 2);
  const uint32_t word =
      element / 8 * 4 + element % 4 + element / 4 % 2 * (kDim / 2);
  float m[kComputeWarps], l[kComputeWarps], acc[kComputeWarps];
#pragma unroll
  for (uint32_t w = 0; w < kComputeWarps; w += 2) {
    const float4 two = states[w / 2];
    m[w] = two.x;
    l[w] = two.y;
    m[w + 1] = two.z;
    l[w + 1] = two.w;
  }
#pragma unroll
  for (uint32_t w = 0; w < kComputeWarps; ++w) {
    acc[w] = scratch[w * kWarpScratch + kAccBegin + head * kDim + word];
  }
  float most = m[0];
#pragma unroll
  for (uint32_t w = 1; w < kComputeWarps; ++w) most = fmaxf(most, m[w]);
  // Everything is relative to the m that is stored.
  most = isa::RoundToF24(most);
  float value = 0, sum = 0;
#pragma unroll
  for (uint32_t w = 0; w < kComputeWarps; ++w) {
    const float weight = Weight(m[w], most);
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
    context.Store4(to.base, to.begin + element, value, second, third, fourth);
  }
  // The second thread of a part's head has m and l.
  if (element == 1 && !to.whole) {
    const bool empty = rows.positions == 0;
    context.Store4(to.base, to.begin + kDim, empty ? -INFINITY : most,
                   empty ? 0.0f : sum, 0.0f, 0.0f);
  }
}

__device__ __forceinline__ void DeviceAttention(
    const isa::AttentionOperands& op, const AttentionAddresses& at,
    DeviceContext& context) {
  // q is asked for first; what is there already need not be polled.
  const bool fused = op.prologue == isa::AttentionPrologue::kQkNormRope;
  const AttentionPlace place = context.slot()->attention;
  const bool append = fused && place.append != 0;
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
  Rows rows;
  rows.k = k_cache;
  rows.v = v_cache;
  rows.positions = place.positions;
  rows.stored = rows.positions - (append ? 1 : 0);
  // On their way while q is waited for.
  Tile tiles[kTurnsAhead];
#pragma unroll
  for (uint32_t t = 0; t < kTurnsAhead; ++t) {
    tiles[t] = {};
    if (t * kTurn < rows.stored) {
      LoadTile(rows, t * kTurn, context, tiles[t]);
    }
  }
  // What a gemv before reads and writes comes before this one's writes.
  context.WaitForRows();
  float* q = context.shared->scratch;
  if (fused) {
    auto* now = reinterpret_cast<uint2*>(context.shared->scratch + kNowBegin);
    const uint32_t slot = place.slot * kDim;
    NormRopeAppend128(
        context, heads, append, early,
        [&](uint32_t head, uint32_t i, const float4& value) {
          *reinterpret_cast<float4*>(q + QBegin(head) + i) =
              make_float4(isa::RoundToF24(value.x), isa::RoundToF24(value.y),
                          isa::RoundToF24(value.z), isa::RoundToF24(value.w));
        },
        [&](uint32_t i, uint2 bits) {
          *reinterpret_cast<uint2*>(k_cache + slot + i) = bits;
          now[i / 4] = bits;
        },
        [&](uint32_t i, uint2 bits) {
          *reinterpret_cast<uint2*>(v_cache + slot + i) = bits;
          now[kDim / 4 + i / 4] = bits;
        });
  } else {
    const uint32_t* q_words = static_cast<const uint32_t*>(at.q) +
                              uint64_t{op.kv_head} * op.group * kDim;
    for (uint32_t i = context.thread(); i < op.group * kDim;
         i += kComputeThreads) {
      q[QBegin(i / kDim) + i % kDim] = isa::FloatOfF24Bits(context.LoadWord(
          q_words + i, context.IsPolled(AttentionIndex::q), op.q));
    }
  }
  // q and this position's k and v are in scratch before any thread reads them.
  context.Barrier();
  constexpr float kScale = 0.08838834764831845f;  // 1 / sqrt(128)
  for (uint32_t head = 0; head < op.group; head += kHeads) {
    if (head != 0) {
#pragma unroll
      for (uint32_t t = 0; t < kTurnsAhead; ++t) {
        tiles[t] = {};
        if (t * kTurn < rows.stored) {
          LoadTile(rows, t * kTurn, context, tiles[t]);
        }
      }
      // The states of the heads before are read.
      context.Barrier();
    }
    float query[kHeads][8];
#pragma unroll
    for (uint32_t h = 0; h < kHeads; ++h) {
      // An odd group's last head is computed twice.
      const uint32_t row = min(head + h, op.group - 1);
      const auto* from = reinterpret_cast<const float4*>(
          q + QBegin(row) + context.lane() % 16 * 8);
      const float4 a = from[0], b = from[1];
      const float eight[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) query[h][i] = eight[i] * kScale;
    }
    State state[kHeads];
#pragma unroll 1
    for (uint32_t first = 0; first < rows.positions;
         first += kTurnsAhead * kTurn) {
#pragma unroll
      for (uint32_t t = 0; t < kTurnsAhead; ++t) {
        const uint32_t begin = first + t * kTurn;
        if (begin < rows.positions) {
          AddNow(rows, begin, context, tiles[t]);
          Attend<2>(rows, begin, tiles[t], query, state, context);
          if (begin + kTurnsAhead * kTurn < rows.stored) {
            LoadTile(rows, begin + kTurnsAhead * kTurn, context, tiles[t]);
          }
        }
      }
    }
    MergeHalves(state);
    PutStates(state, context);
    // The warps' states are written before any thread merges them.
    context.Barrier();
    const uint32_t h = context.thread() / kDim;
    if (head + h < op.group) {
      const bool whole = place.alone != 0;
      const uint32_t row = (whole ? op.kv_head : split_row) * op.group + head;
      const uint32_t stride = whole ? kDim : kDim + 4;
      Publish(rows, {whole ? at.y : at.part, uint64_t{row + h} * stride, whole},
              h, context.thread() % kDim, context);
    }
  }
}
static_assert(kComputeThreads == kHeads * kDim);

}  // namespace head128
}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_HEAD128_CUH_
