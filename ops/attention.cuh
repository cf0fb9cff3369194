// attention: one split of the positions for the q heads of one kv head, with an
// online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) per half-warp.
//
// 16 half-warps take the split's positions in turn; in each, a lane owns 8
// elements of the head (16 lanes x 8 = 128; head_dim above that takes a second
// turn). Scores are summed over the 16 lanes by shuffles. At the end the two
// half-warps of a warp meet by shuffles and the 8 warps in scratch memory, in
// a fixed order.
//
// Cache rows of earlier passes are read before q is waited for, and each turn's
// during the turn before; the row that this pass appends comes from scratch, so
// that it does not make the way through memory and back.
#ifndef MKVM_OPS_ATTENTION_CUH_
#define MKVM_OPS_ATTENTION_CUH_

#include <algorithm>
#include <type_traits>

#include "ops/attention_head128.cuh"
#include "ops/attention_state.cuh"
#include "ops/device_context.cuh"
#include "ops/kv_cache.cuh"
#include "ops/kv_layout.h"
#include "ops/ptx/math.cuh"

namespace mkvm::ops {

// Scratch: q [group, head_dim], then the states of half the warps, of one chunk
// of heads.
inline constexpr uint32_t kMaxGroupElements = 2048;  // group * head_dim
inline constexpr uint32_t kMaxStates =
    kStateWarps * std::max(kMaxHeadDim + 2, 2u * (128 + 2));

// This pass's k and v, bf16, after all that.
inline constexpr uint32_t kNowBegin =
    (kMaxGroupElements + kMaxStates + 3) / 4 * 4;
static_assert(kNowBegin + kMaxHeadDim <= kScratchFloats);

__device__ inline void UnpackBf16(const uint4& packed, float (&out)[8]) {
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = isa::FloatOfBits(words[i] << 16);
    out[2 * i + 1] = isa::FloatOfBits(words[i] & 0xffff0000u);
  }
}

// The cache rows of one split.
struct SplitRows {
  const uint16_t* k;
  const uint16_t* v;
  uint32_t positions;
  // Those that were in the cache before this instruction; the one more that
  // there may be, this pass's, is in shared memory too.
  uint32_t stored;
  const uint16_t* k_now;
  const uint16_t* v_now;
};

// Positions that a half-warp takes at once; a lane holds as much of them
// whether heads take one turn or two.
template <int kTurns>
inline constexpr int kPositions = 2 / kTurns;
inline constexpr uint32_t kHalfWarps = 2 * kComputeWarps;
template <int kTurns>
struct KvTile {
  uint4 k[kPositions<kTurns>][kTurns], v[kPositions<kTurns>][kTurns];
};

// Reads this half-warp's positions of the turn whose first (of the warp) is
// `first`, as far as they are stored; 0 for others.
template <int kTurns>
__device__ inline void LoadTile(const SplitRows& rows, uint32_t head_dim,
                                uint32_t first, DeviceContext& context,
                                KvTile<kTurns>& tile) {
  constexpr int kUnroll = kPositions<kTurns>;
  const uint32_t half_lane = context.lane() % 16;
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const uint32_t p = first + context.lane() / 16 + u * kHalfWarps;
#pragma unroll
    for (int t = 0; t < kTurns; ++t) {
      const uint32_t chunk = half_lane + 16 * t;
      const uint64_t offset =
          uint64_t{p} * head_dim + CacheElement(head_dim, p, chunk * 8);
      tile.k[u][t] = tile.v[u][t] = make_uint4(0, 0, 0, 0);
      if (p < rows.stored && chunk < head_dim / 8) {
        tile.k[u][t] = *reinterpret_cast<const uint4*>(rows.k + offset);
        tile.v[u][t] = *reinterpret_cast<const uint4*>(rows.v + offset);
      }
    }
  }
}

// Adds this pass's position, if it is one of the tile's.
template <int kTurns>
__device__ inline void AddNow(const SplitRows& rows, uint32_t head_dim,
                              uint32_t first, DeviceContext& context,
                              KvTile<kTurns>& tile) {
  constexpr int kUnroll = kPositions<kTurns>;
  if (rows.stored == rows.positions) return;
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (first + context.lane() / 16 + u * kHalfWarps != rows.stored) continue;
#pragma unroll
    for (int t = 0; t < kTurns; ++t) {
      const uint32_t chunk = context.lane() % 16 + 16 * t;
      if (chunk >= head_dim / 8) continue;
      tile.k[u][t] = *reinterpret_cast<const uint4*>(rows.k_now + chunk * 8);
      tile.v[u][t] = *reinterpret_cast<const uint4*>(rows.v_now + chunk * 8);
    }
  }
}

// Gathers heads [head, head + kHeads) of the group (those below `group`) over
// this half-warp's positions; `next` holds the stored ones of the first turn.
template <int kHeads, int kTurns>
__device__ inline void GatherHeads(const isa::AttentionOperands& op,
                                   const SplitRows& rows, const float* q,
                                   uint32_t head, DeviceContext& context,
                                   KvTile<kTurns>& next,
                                   HeadState<kTurns> (&state)[kHeads]) {
  constexpr int kUnroll = kPositions<kTurns>;
  const uint32_t half_lane = context.lane() % 16;
  const uint32_t half_warp = context.thread() / 16;
  const float scale = 1.0f / sqrtf(static_cast<float>(op.head_dim));
  float query[kHeads][8 * kTurns];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int i = 0; i < 8 * kTurns; ++i) {
      const uint32_t element = (half_lane + 16 * (i / 8)) * 8 + i % 8;
      query[h][i] = head + h < op.group && element < op.head_dim
                        ? q[(head + h) * op.head_dim + element] * scale
                        : 0.0f;
    }
  }
  // Both halves of a warp go round equally often: the shuffles want all lanes.
  for (uint32_t first = context.warp() * 2; first < rows.positions;
       first += kUnroll * kHalfWarps) {
    KvTile<kTurns> tile = next;
    AddNow(rows, op.head_dim, first, context, tile);
    const uint32_t after = first + kUnroll * kHalfWarps;
    if (after < rows.positions) {
      LoadTile(rows, op.head_dim, after, context, next);
    }
    const auto& k = tile.k;
    const auto& v = tile.v;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float score[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        float dot = 0;
#pragma unroll
        for (int t = 0; t < kTurns; ++t) {
          float element[8];
          UnpackBf16(k[u][t], element);
#pragma unroll
          for (int i = 0; i < 8; ++i) dot += element[i] * query[h][t * 8 + i];
        }
#pragma unroll
        for (int offset = 8; offset > 0; offset /= 2) {
          dot += __shfl_xor_sync(0xffffffffu, dot, offset);
        }
        const uint32_t p = first + half_warp % 2 + u * kHalfWarps;
        score[u] = p < rows.positions ? dot : -INFINITY;
      }
      HeadState<kTurns>& s = state[h];
      float m = s.m;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) m = fmaxf(m, score[u]);
      const float keep = ExpDifference(s.m, m);
      s.m = m;
      s.l *= keep;
#pragma unroll
      for (int i = 0; i < 8 * kTurns; ++i) s.acc[i] *= keep;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const float weight = ExpDifference(score[u], m);
        s.l += weight;
#pragma unroll
        for (int t = 0; t < kTurns; ++t) {
          float element[8];
          UnpackBf16(v[u][t], element);
#pragma unroll
          for (int i = 0; i < 8; ++i) s.acc[t * 8 + i] += weight * element[i];
        }
      }
    }
  }
}

// All heads of the group, kHeads at a time: gather, merge, publish.
template <int kHeads, int kTurns>
__device__ inline void AttendGroup(const isa::AttentionOperands& op,
                                   const SplitRows& rows, const float* q,
                                   float* states, const AttentionAddresses& at,
                                   uint64_t part_begin, KvTile<kTurns>& tile,
                                   DeviceContext& context) {
  const uint32_t row = op.head_dim + 2;  // of a warp's state: acc, m, l
  for (uint32_t head = 0; head < op.group; head += kHeads) {
    HeadState<kTurns> state[kHeads];
    if (head != 0) {
      LoadTile(rows, op.head_dim, context.warp() * 2, context, tile);
    }
    GatherHeads<kHeads, kTurns>(op, rows, q, head, context, tile, state);
    MergeWarps<kHeads, kTurns>(op.head_dim, states, state, context);
    const uint32_t published = op.head_dim + 4;
    const uint32_t heads = min(static_cast<uint32_t>(kHeads), op.group - head);
    for (uint32_t j = context.thread(); j < heads * op.head_dim;
         j += kComputeThreads) {
      const uint32_t h = j / op.head_dim;
      const uint32_t element = j % op.head_dim;
      const float* own = states + h * row;
      float m = -INFINITY;
#pragma unroll
      for (uint32_t w = 0; w < kStateWarps; ++w) {
        m = fmaxf(m, own[w * kHeads * row + op.head_dim]);
      }
      // Everything is relative to the m that is stored.
      m = isa::RoundToF24(m);
      float value = 0, l = 0;
#pragma unroll
      for (uint32_t w = 0; w < kStateWarps; ++w) {
        const float* s = own + w * kHeads * row;
        const float weight = ExpDifference(s[op.head_dim], m);
        value += s[element] * weight;
        l += s[op.head_dim + 1] * weight;
      }
      if (context.slot()->attention.alone != 0) {
        // As attention_merge would have it of the one part.
        const uint64_t row = uint64_t{op.kv_head} * op.group + head + h;
        context.Store(at.y, row * op.head_dim + element,
                      __fdividef(isa::RoundToF24(value), isa::RoundToF24(l)));
        continue;
      }
      const uint64_t begin = part_begin + uint64_t{head + h} * published;
      context.StoreWord(at.part, begin + element, value);
      // The first threads of a head also have m, l and the padding.
      if (element < 4) {
        context.StoreWord(at.part, begin + op.head_dim + element,
                          element == 0   ? m
                          : element == 1 ? l
                                         : 0.0f);
      }
    }
    // The states are read before the next heads overwrite them.
    context.Barrier();
  }
}

// Heads of any size; groups of up to eight heads of 128 elements are in
// ops/attention_head128.cuh.
__device__ inline void DeviceAnyAttention(const isa::AttentionOperands& op,
                                          const AttentionAddresses& at,
                                          DeviceContext& context) {
  const uint32_t capacity = context.slot()->dims[AttentionIndex::k_cache].y;
  const uint32_t rope_rows = context.slot()->dims[AttentionIndex::rope].x;
  if (!CheckRoom(context, op.k_cache, capacity, op.splits, rope_rows)) return;
  const uint64_t kv_begin = uint64_t{op.kv_head} * op.head_dim;
  const uint64_t q_begin = kv_begin * op.group;
  const uint64_t split_row = uint64_t{op.kv_head} * op.splits + op.split;
  const uint64_t cache_begin = split_row * capacity * op.head_dim;
  uint16_t* k_cache = static_cast<uint16_t*>(at.k_cache) + cache_begin;
  uint16_t* v_cache = static_cast<uint16_t*>(at.v_cache) + cache_begin;
  const uint32_t* q_words =
      static_cast<const uint32_t*>(at.q) + ActivationWord(q_begin);
  float* q = context.shared->scratch.floats;
  float* states = q + kMaxGroupElements;
  auto* k_now =
      reinterpret_cast<uint16_t*>(context.shared->scratch.floats + kNowBegin);
  uint16_t* v_now = k_now + kMaxHeadDim;
  const bool fused = op.prologue == isa::AttentionPrologue::kQkNormRope;
  const SplitPlace place = PlaceOf(context.position(), op.block, op.splits);
  const bool append = fused && place.split == op.split;
  SplitRows rows = {
      k_cache,
      v_cache,
      PositionsIn(context.position(), op.split, op.block, op.splits),
      0,
      k_now,
      v_now};
  rows.stored = rows.positions - (append ? 1 : 0);
  const uint64_t part_begin = split_row * op.group * (op.head_dim + 4);
  const auto attend = [&](auto heads, auto turns) {
    KvTile<turns> tile;
    const auto load = [&] {
      LoadTile(rows, op.head_dim, context.warp() * 2, context, tile);
    };
    // On its way while q is waited for; large heads leave no registers for it.
    if constexpr (turns == 1) load();
    if (fused) {
      const QkvHeads heads = HeadsOf<AttentionIndex>(op, at, context);
      const uint64_t slot = uint64_t{place.slot} * op.head_dim;
      const auto in_cache = [&](uint32_t i) {
        return slot + CacheElement(op.head_dim, place.slot, i);
      };
      if (op.head_dim == kPermutedHeadDim) {
        // The same bits as qk_norm_rope_append.
        const auto put = [](uint16_t* to, uint2 bits) {
          *reinterpret_cast<uint2*>(to) = bits;
        };
        NormRopeAppend128(
            context, heads, append, AskHead128(heads, append, context),
            [&](uint32_t head, uint32_t i, const float4& value) {
              float* to = q + head * kPermutedHeadDim + i;
              to[0] = isa::RoundToF24(value.x);
              to[1] = isa::RoundToF24(value.y);
              to[2] = isa::RoundToF24(value.z);
              to[3] = isa::RoundToF24(value.w);
            },
            [&](uint32_t i, uint2 bits) {
              put(k_cache + in_cache(i), bits);
              put(k_now + i, bits);
            },
            [&](uint32_t i, uint2 bits) {
              put(v_cache + in_cache(i), bits);
              put(v_now + i, bits);
            });
      } else {
        NormRopeAppend<128 * turns>(
            context, heads, append,
            [&](uint32_t head, uint32_t i, float value) {
              q[head * op.head_dim + i] = isa::RoundToF24(value);
            },
            [&](uint32_t i, uint16_t bits) {
              k_cache[in_cache(i)] = k_now[i] = bits;
            },
            [&](uint32_t i, uint16_t bits) {
              v_cache[in_cache(i)] = v_now[i] = bits;
            });
      }
    } else {
      for (uint32_t i = context.thread(); i < op.group * op.head_dim;
           i += kComputeThreads) {
        q[i] = isa::FloatOfF24Bits(
            context.LoadWord(q_words + ActivationWord(i),
                             context.IsPolled(AttentionIndex::q), op.q));
      }
    }
    // q and this position's k and v are in scratch before any thread reads
    // them.
    context.Barrier();
    if constexpr (turns != 1) load();
    AttendGroup<heads, turns>(op, rows, q, states, at, part_begin, tile,
                              context);
  };
  if (op.head_dim <= 128) {
    attend(std::integral_constant<int, 2>(), std::integral_constant<int, 1>());
  } else {
    attend(std::integral_constant<int, 1>(), std::integral_constant<int, 2>());
  }
}

__device__ __forceinline__ void DeviceAttention(
    const isa::AttentionOperands& op, const AttentionAddresses& at,
    DeviceContext& context) {
  head128::DeviceAttention(op, at, context);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_CUH_
