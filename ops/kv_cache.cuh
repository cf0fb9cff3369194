// Where positions live in a split KV cache, and the normalised, rotated heads
// that go there. Shared by qk_norm_rope_append and attention's prologue, which
// is why the fused form equals the unfused one bit for bit.
#ifndef MKVM_OPS_KV_CACHE_CUH_
#define MKVM_OPS_KV_CACHE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"

namespace mkvm::ops {

inline constexpr uint32_t kMaxHeadDim = 256;

struct SplitPlace {
  uint32_t split;
  uint64_t slot;
};

__device__ inline SplitPlace PlaceOf(uint64_t position, uint32_t block,
                                     uint32_t splits) {
  const uint64_t b = position / block;
  return {static_cast<uint32_t>(b % splits),
          b / splits * block + position % block};
}

// How many of the positions [0, position] split `split` holds.
__device__ inline uint64_t PositionsIn(uint64_t position, uint32_t split,
                                       uint32_t block, uint32_t splits) {
  const uint64_t last = position / block;
  const uint64_t full = (last + splits - 1 - split) / splits * block;
  return full + (last % splits == split ? position % block + 1 : 0);
}

// False, with the fault raised, when the cache has no room for the position.
__device__ inline bool CheckRoom(DeviceContext& context, uint32_t cache,
                                 uint32_t rope, uint32_t splits) {
  uint64_t room = context.buffers[cache].shape[1] * splits;
  if (rope != isa::kNoBuffer) {
    room = min(room, context.buffers[rope].shape[0]);
  }
  if (static_cast<uint64_t>(context.position) < room) return true;
  if (context.thread() == 0) {
    context.Raise(FaultKind::kPastCache, cache, context.position, room);
  }
  return false;
}

// One head, by one warp: rms_norm(v) * norm, rotated by the half-split form of
// RoPE (Su et al. 2021; the pairing of element i with i + head_dim/2 is
// HuggingFace's rotate_half). Calls put(i, value) for each element.
template <typename Put>
__device__ inline void NormRopeHead(const DeviceContext& context,
                                    const uint32_t* v, bool polled,
                                    uint32_t operand, const uint16_t* norm,
                                    const float* rope_row, uint32_t head_dim,
                                    float eps, Put&& put) {
  constexpr uint32_t kPairs = kMaxHeadDim / 2 / 32;
  const uint32_t half = head_dim / 2;
  float low[kPairs], high[kPairs];
  float squares = 0;
#pragma unroll
  for (uint32_t j = 0; j < kPairs; ++j) {
    const uint32_t i = context.lane() + 32 * j;
    low[j] = high[j] = 0;
    if (i < half) {
      low[j] = isa::FloatOfF24Bits(context.LoadWord(v + i, polled, operand));
      high[j] =
          isa::FloatOfF24Bits(context.LoadWord(v + i + half, polled, operand));
    }
    squares += low[j] * low[j] + high[j] * high[j];
  }
  const float scale = 1.0f / sqrtf(WarpSum(squares) / head_dim + eps);
#pragma unroll
  for (uint32_t j = 0; j < kPairs; ++j) {
    const uint32_t i = context.lane() + 32 * j;
    if (i < half) {
      const float a = low[j] * scale * isa::FloatOfBf16Bits(norm[i]);
      const float b = high[j] * scale * isa::FloatOfBf16Bits(norm[i + half]);
      const float c = rope_row[i];
      const float s = rope_row[i + half];
      put(i, a * c - b * s);
      put(i + half, b * c + a * s);
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

// The heads go round the compute warps: the group's q heads to put_q(head, i,
// value), and with `append` k and v as bf16 to their slots.
template <typename PutQ>
__device__ inline void NormRopeAppend(const DeviceContext& context,
                                      const QkvHeads& in, bool append,
                                      uint16_t* k_slot, uint16_t* v_slot,
                                      PutQ&& put_q) {
  const uint32_t heads = in.group + (append ? 2 : 0);
  for (uint32_t h = context.warp(); h < heads; h += kComputeWarps) {
    if (h < in.group) {
      NormRopeHead(context, in.q + uint64_t{h} * in.head_dim, in.poll_q,
                   in.q_buffer, in.q_norm, in.rope_row, in.head_dim, in.eps,
                   [&](uint32_t i, float value) { put_q(h, i, value); });
    } else if (h == in.group) {
      NormRopeHead(context, in.k, in.poll_k, in.k_buffer, in.k_norm,
                   in.rope_row, in.head_dim, in.eps,
                   [&](uint32_t i, float value) {
                     k_slot[i] = isa::Bf16BitsOfFloat(value);
                   });
    } else {
      for (uint32_t i = context.lane(); i < in.head_dim; i += 32) {
        v_slot[i] = isa::Bf16BitsOfFloat(isa::FloatOfF24Bits(
            context.LoadWord(in.v + i, in.poll_v, in.v_buffer)));
      }
    }
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_KV_CACHE_CUH_
