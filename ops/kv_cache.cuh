// Where positions live in a split KV cache, and the normalised, rotated heads
// that go there. Shared by qk_norm_rope_append and attention's prologue, which
// is why the fused form equals the unfused one bit for bit.
#ifndef MKVM_OPS_KV_CACHE_CUH_
#define MKVM_OPS_KV_CACHE_CUH_

#include "ops/device_context.cuh"
#include "ops/ptx/math.cuh"
#include "ops/reduce.cuh"

namespace mkvm::ops {

inline constexpr uint32_t kMaxHeadDim = 256;

struct SplitPlace {
  uint32_t split;
  uint32_t slot;
};

// Positions fit 32 bits: CheckRoom has compared them with the cache.
__device__ inline SplitPlace PlaceOf(uint32_t position, uint32_t block,
                                     uint32_t splits) {
  const uint32_t b = position / block;
  return {b % splits, b / splits * block + position % block};
}

// How many of the positions [0, position] split `split` holds.
__device__ inline uint32_t PositionsIn(uint32_t position, uint32_t split,
                                       uint32_t block, uint32_t splits) {
  const uint32_t last = position / block;
  const uint32_t full = (last + splits - 1 - split) / splits * block;
  return full + (last % splits == split ? position % block + 1 : 0);
}

// Whether the cache and the rope table have room for the position; see below.
__device__ inline bool HasRoom(uint64_t position, uint32_t capacity,
                               uint32_t splits, uint32_t rope_rows) {
  uint64_t room = uint64_t{capacity} * splits;
  if (rope_rows != 0) room = min(room, uint64_t{rope_rows});
  return position < room;
}

// False, with the fault raised, when the cache (of `capacity` positions per
// split) or the rope table (of `rope_rows`, 0: none) has no room for the
// position.
__device__ inline bool CheckRoom(DeviceContext& context, uint32_t cache,
                                 uint32_t capacity, uint32_t splits,
                                 uint32_t rope_rows) {
  if (HasRoom(static_cast<uint64_t>(context.position()), capacity, splits,
              rope_rows)) {
    return true;
  }
  if (context.thread() == 0) {
    uint64_t room = uint64_t{capacity} * splits;
    if (rope_rows != 0) room = min(room, uint64_t{rope_rows});
    context.Raise(FaultKind::kPastCache, cache, context.position(), room);
  }
  return false;
}

// One head, by one warp: rms_norm(v) * norm, rotated by the half-split form of
// RoPE (Su et al. 2021; the pairing of element i with i + head_dim/2 is
// HuggingFace's rotate_half). Calls put(i, value) for each element. REQUIRES:
// head_dim <= kMaxDim.
template <uint32_t kMaxDim, typename Put>
__device__ inline void NormRopeHead(DeviceContext& context, const uint32_t* v,
                                    bool polled, uint32_t operand,
                                    const uint16_t* norm, const float* rope_row,
                                    uint32_t head_dim, float eps, Put&& put) {
  constexpr uint32_t kPairs = kMaxDim / 2 / 32;
  const uint32_t half = head_dim / 2;
  struct Constants {
    float g_low, g_high, c, sn;
  };
  const auto constants = [&](uint32_t i) -> Constants {
    if (i >= half) return {};
    return {isa::FloatOfBf16Bits(norm[i]), isa::FloatOfBf16Bits(norm[i + half]),
            rope_row[i], rope_row[i + half]};
  };
  // What depends on nothing is on its way while the words are waited for, if
  // there are registers for it.
  constexpr bool kEarly = kPairs <= 2;
  Constants early[kEarly ? kPairs : 1];
  if constexpr (kEarly) {
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      early[j] = constants(context.lane() + 32 * j);
    }
  }
  uint32_t words[2 * kPairs];
  context.LoadTogether(words, polled, operand, [&](uint32_t(&to)[2 * kPairs]) {
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      const uint32_t i = context.lane() + 32 * j;
      to[2 * j] =
          i < half ? ptx::LoadRelaxedGpu(v + ActivationWord(i)) : context.tag;
      to[2 * j + 1] = i < half
                          ? ptx::LoadRelaxedGpu(v + ActivationWord(i + half))
                          : context.tag;
    }
  });
  float squares = 0;
#pragma unroll
  for (uint32_t j = 0; j < 2 * kPairs; ++j) {
    const float x = isa::FloatOfF24Bits(words[j]);
    squares += x * x;
  }
  const float scale = 1.0f / sqrtf(WarpSum(squares) / head_dim + eps);
#pragma unroll
  for (uint32_t j = 0; j < kPairs; ++j) {
    const uint32_t i = context.lane() + 32 * j;
    if (i < half) {
      const Constants by = kEarly ? early[kEarly ? j : 0] : constants(i);
      const float a = isa::FloatOfF24Bits(words[2 * j]) * scale * by.g_low;
      const float b = isa::FloatOfF24Bits(words[2 * j + 1]) * scale * by.g_high;
      put(i, a * by.c - b * by.sn);
      put(i + half, b * by.c + a * by.sn);
    }
  }
}

// The inputs of one kv head's group.
struct QkvHeads {
  const uint32_t* q;  // [group, head_dim] f24 words
  const uint32_t* k;  // [head_dim]
  const uint32_t* v;  // [head_dim]
  bool poll_q, poll_k, poll_v;
  uint32_t q_buffer, k_buffer, v_buffer;
  const uint16_t* q_norm;
  const uint16_t* k_norm;
  const float* rope_row;  // of this position
  uint32_t group;
  uint32_t head_dim;
  float eps;
};

// The inputs of qk_norm_rope_append, or of attention with that prologue: their
// operands have the same names.
template <typename Index, typename Operands, typename Addresses>
__device__ inline QkvHeads HeadsOf(const Operands& op, const Addresses& at,
                                   const DeviceContext& context) {
  const uint64_t kv_begin = uint64_t{op.kv_head} * op.head_dim;
  return {
      .q = static_cast<const uint32_t*>(at.q) +
           ActivationWord(kv_begin * op.group),
      .k = static_cast<const uint32_t*>(at.k) + ActivationWord(kv_begin),
      .v = static_cast<const uint32_t*>(at.v) + ActivationWord(kv_begin),
      .poll_q = context.IsPolled(Index::q),
      .poll_k = context.IsPolled(Index::k),
      .poll_v = context.IsPolled(Index::v),
      .q_buffer = op.q,
      .k_buffer = op.k,
      .v_buffer = op.v,
      .q_norm = static_cast<const uint16_t*>(at.q_norm),
      .k_norm = static_cast<const uint16_t*>(at.k_norm),
      .rope_row =
          static_cast<const float*>(at.rope) + context.position() * op.head_dim,
      .group = op.group,
      .head_dim = op.head_dim,
      .eps = op.eps,
  };
}

// The heads go round the compute warps: the group's q heads to put_q(head, i,
// value), and with `append` k and v as bf16 to put_k(i, bits), put_v(i, bits).
template <uint32_t kMaxDim, typename PutQ, typename PutK, typename PutV>
__device__ inline void NormRopeAppend(DeviceContext& context,
                                      const QkvHeads& in, bool append,
                                      PutQ&& put_q, PutK&& put_k,
                                      PutV&& put_v) {
  const uint32_t heads = in.group + (append ? 2 : 0);
  for (uint32_t h = context.warp(); h < heads; h += kComputeWarps) {
    if (h < in.group) {
      NormRopeHead<kMaxDim>(
          context, in.q + ActivationWord(uint64_t{h} * in.head_dim), in.poll_q,
          in.q_buffer, in.q_norm, in.rope_row, in.head_dim, in.eps,
          [&](uint32_t i, float value) { put_q(h, i, value); });
    } else if (h == in.group) {
      NormRopeHead<kMaxDim>(context, in.k, in.poll_k, in.k_buffer, in.k_norm,
                            in.rope_row, in.head_dim, in.eps,
                            [&](uint32_t i, float value) {
                              put_k(i, isa::Bf16BitsOfFloat(value));
                            });
    } else {
      for (uint32_t i = context.lane(); i < in.head_dim; i += 32) {
        put_v(i, isa::Bf16BitsOfFloat(isa::FloatOfF24Bits(context.LoadWord(
                     in.v + ActivationWord(i), in.poll_v, in.v_buffer))));
      }
    }
  }
}

// Four words, once they are there; `early` was read before, but perhaps too
// early. Whole warp.
__device__ __forceinline__ void LoadFour(DeviceContext& context,
                                         const uint32_t* from,
                                         const uint4& early, bool polled,
                                         uint32_t operand,
                                         uint32_t (&words)[4]) {
  bool first = true;
  context.LoadTogether(words, polled, operand, [&](uint32_t(&to)[4]) {
    const uint4 four = first ? early : ptx::LoadRelaxedGpu4(from);
    first = false;
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
  });
}

// One head of 128 elements, by one warp; else as NormRopeHead. Lane l has
// elements 4l .. 4l+3, its partner in the rotation is lane l ^ 16.
__device__ __forceinline__ float4 NormRopeHead128(
    DeviceContext& context, const uint32_t* v, const uint4& early, bool polled,
    uint32_t operand, const uint16_t* norm, const float* rope_row, float eps) {
  const uint32_t i = 4 * context.lane();
  const uint2 gains =
      ptx::LoadConstant2(reinterpret_cast<const uint32_t*>(norm + i));
  const float4 cosines = ptx::LoadConstant4(rope_row + i % 64);
  const float4 sines = ptx::LoadConstant4(rope_row + 64 + i % 64);
  uint32_t words[4];
  LoadFour(context, v + ActivationWord(i), early, polled, operand, words);
  float x[4];
#pragma unroll
  for (uint32_t e = 0; e < 4; ++e) x[e] = isa::FloatOfF24Bits(words[e]);
  const float g[4] = {
      isa::FloatOfBits(gains.x << 16), isa::FloatOfBits(gains.x & 0xffff0000u),
      isa::FloatOfBits(gains.y << 16), isa::FloatOfBits(gains.y & 0xffff0000u)};
  const float c[4] = {cosines.x, cosines.y, cosines.z, cosines.w};
  const float s[4] = {sines.x, sines.y, sines.z, sines.w};
  const bool upper = context.lane() >= 16;
  // Rotated while the squares are still being added up, scaled after that.
  float y[4];
#pragma unroll
  for (uint32_t e = 0; e < 4; ++e) {
    const float own = x[e] * g[e];
    const float partner = __shfl_xor_sync(0xffffffffu, own, 16);
    y[e] = own * c[e] + (upper ? partner : -partner) * s[e];
  }
  const float squares =
      WarpSum((x[0] * x[0] + x[1] * x[1]) + (x[2] * x[2] + x[3] * x[3]));
  const float scale =
      ptx::ReciprocalSqrtApproximate(squares * (1.0f / 128) + eps);
#pragma unroll
  for (uint32_t e = 0; e < 4; ++e) y[e] *= scale;
  return make_float4(y[0], y[1], y[2], y[3]);
}

// NormRopeAppend for heads of 128 elements: put_q(head, i, four values),
// put_k(i, four bf16) and put_v(i, four bf16). The words of a warp's first head
// are asked for by AskHead128 before.
__device__ __forceinline__ const uint32_t* HeadWords(const QkvHeads& in,
                                                     uint32_t head) {
  return head < in.group    ? in.q + ActivationWord(head * 128)
         : head == in.group ? in.k
                            : in.v;
}
__device__ __forceinline__ uint4 AskHead128(const QkvHeads& in, bool append,
                                            DeviceContext& context) {
  const uint32_t heads = in.group + (append ? 2 : 0);
  if (context.warp() >= heads) return make_uint4(0, 0, 0, 0);
  return ptx::LoadRelaxedGpu4(HeadWords(in, context.warp()) +
                              ActivationWord(4 * context.lane()));
}
template <typename PutQ, typename PutK, typename PutV>
__device__ __forceinline__ void NormRopeAppend128(DeviceContext& context,
                                                  const QkvHeads& in,
                                                  bool append, uint4 early,
                                                  PutQ&& put_q, PutK&& put_k,
                                                  PutV&& put_v) {
  const auto pack = [](const float4& y) {
    return make_uint2(ptx::PackBf16(y.x, y.y), ptx::PackBf16(y.z, y.w));
  };
  const uint32_t i = 4 * context.lane();
  const uint32_t heads = in.group + (append ? 2 : 0);
  for (uint32_t h = context.warp(); h < heads; h += kComputeWarps) {
    const uint32_t* words_of_head = HeadWords(in, h);
    if (h != context.warp()) {
      early = ptx::LoadRelaxedGpu4(words_of_head + ActivationWord(i));
    }
    if (h <= in.group) {
      const bool is_q = h < in.group;
      const float4 y = NormRopeHead128(
          context, words_of_head, early, is_q ? in.poll_q : in.poll_k,
          is_q ? in.q_buffer : in.k_buffer, is_q ? in.q_norm : in.k_norm,
          in.rope_row, in.eps);
      if (is_q) {
        put_q(h, i, y);
      } else {
        put_k(i, pack(y));
      }
    } else {
      uint32_t words[4];
      LoadFour(context, words_of_head + ActivationWord(i), early, in.poll_v,
               in.v_buffer, words);
      put_v(i,
            pack(make_float4(
                isa::FloatOfF24Bits(words[0]), isa::FloatOfF24Bits(words[1]),
                isa::FloatOfF24Bits(words[2]), isa::FloatOfF24Bits(words[3]))));
    }
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_KV_CACHE_CUH_
