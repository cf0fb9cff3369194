// What warps gather of heads of any size (ops/attention.cuh), and how it is put
// together.
#ifndef MKVM_OPS_ATTENTION_STATE_CUH_
#define MKVM_OPS_ATTENTION_STATE_CUH_

#include <cstdint>

#include "ops/attention_head128.cuh"
#include "ops/device_context.cuh"
#include "ops/ptx/math.cuh"

namespace mkvm::ops {

// e^(a - b), 0 when a is -inf (an empty part), whatever b.
__device__ inline float ExpDifference(float a, float b) {
  return a == -INFINITY ? 0.0f : ptx::Exp2Approximate((a - b) * kLog2e);
}

// What a lane has gathered of one head: the running maximum and sum of its
// half-warp, and its own elements of the accumulator.
template <int kTurns>
struct HeadState {
  float m = -INFINITY;
  float l = 0;
  float acc[8 * kTurns] = {};

  // Merges another state, of which other(i) is acc[i].
  template <typename Other>
  __device__ void Merge(float other_m, float other_l, Other&& other) {
    const float merged = fmaxf(m, other_m);
    const float mine = ExpDifference(m, merged);
    const float theirs = ExpDifference(other_m, merged);
    l = l * mine + other_l * theirs;
#pragma unroll
    for (int i = 0; i < 8 * kTurns; ++i) {
      acc[i] = acc[i] * mine + other(i) * theirs;
    }
    m = merged;
  }

  // Merges the state of the lane `offset` away. (The two lanes round
  // differently; only the lower one's result is used.)
  __device__ void MergeAcross(int offset) {
    Merge(__shfl_xor_sync(0xffffffffu, m, offset),
          __shfl_xor_sync(0xffffffffu, l, offset),
          [&](int i) { return __shfl_xor_sync(0xffffffffu, acc[i], offset); });
  }
};

// Of so many warps the states are in scratch at a time.
inline constexpr uint32_t kStateWarps = kComputeWarps / 2;

// Merges the half-warps' states, and those of the upper warps into the lower
// ones', which are at `states` [warp][head] then, for all threads.
template <int kHeads, int kTurns>
__device__ inline void MergeWarps(uint32_t head_dim, float* states,
                                  HeadState<kTurns> (&state)[kHeads],
                                  DeviceContext& context) {
  const uint32_t row = head_dim + 2;
  const bool lower = context.warp() < kStateWarps;
  const auto element_of = [&](int i) {
    return (context.lane() + 16 * (i / 8)) * 8 + i % 8;
  };
  float* const out = states + context.warp() % kStateWarps * kHeads * row;
  const auto put = [&](int h) {
    if (context.lane() >= 16) return;
#pragma unroll
    for (int i = 0; i < 8 * kTurns; ++i) {
      const uint32_t element = element_of(i);
      if (element < head_dim) out[h * row + element] = state[h].acc[i];
    }
    if (context.lane() == 0) {
      out[h * row + head_dim] = state[h].m;
      out[h * row + head_dim + 1] = state[h].l;
    }
  };
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    state[h].MergeAcross(16);
    if (!lower) put(h);
  }
  // The upper warps' states are written before the lower ones read them.
  context.Barrier();
  if (lower) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float* other = out + h * row;
      state[h].Merge(other[head_dim], other[head_dim + 1], [&](int i) {
        const uint32_t element = element_of(i);
        return element < head_dim ? other[element] : 0.0f;
      });
      // All lanes have read them.
      __syncwarp();
      put(h);
    }
  }
  // The states are written before any thread merges them.
  context.Barrier();
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_STATE_CUH_
