// attention_merge: the splits of one q head, for some of its elements.
//
// The words needed (count + 2 per split that has positions) are read by all
// threads at once, as many splits at a time as scratch holds, then merged in
// the order of splits.
#ifndef MKVM_OPS_ATTENTION_MERGE_CUH_
#define MKVM_OPS_ATTENTION_MERGE_CUH_

#include "ops/attention.cuh"
#include "ops/device_context.cuh"

namespace mkvm::ops {

// scratch[0, count): for each split from `part` on, op.count elements, m, l.
__device__ inline void GatherSplits(const isa::AttentionMergeOperands& op,
                                    const uint32_t* part, uint32_t stride,
                                    uint32_t count, bool polled,
                                    DeviceContext& context) {
  constexpr uint32_t kAtOnce = 4;
  const uint32_t row = op.count + 2;
  for (uint32_t first = 0; first < count; first += kAtOnce * kComputeThreads) {
    uint32_t words[kAtOnce];
    context.LoadTogether(words, polled, op.part, [&](uint32_t(&to)[kAtOnce]) {
#pragma unroll
      for (uint32_t u = 0; u < kAtOnce; ++u) {
        const uint32_t j = first + u * kComputeThreads + context.thread();
        const uint32_t column = j % row < op.count
                                    ? op.begin + j % row
                                    : op.head_dim + (j % row - op.count);
        to[u] = j < count ? ptx::LoadRelaxedGpu(
                                part + uint64_t{j / row} * stride + column)
                          : context.tag;
      }
    });
#pragma unroll
    for (uint32_t u = 0; u < kAtOnce; ++u) {
      const uint32_t j = first + u * kComputeThreads + context.thread();
      if (j < count)
        context.shared->scratch.floats[j] = isa::FloatOfF24Bits(words[u]);
    }
  }
}

__device__ inline void DeviceAnyAttentionMerge(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    DeviceContext& context) {
  const bool polled = context.IsPolled(AttentionMergeIndex::part);
  const uint32_t published = op.head_dim + 4;
  const uint64_t begin =
      (uint64_t{op.kv_head} * op.splits * op.group + op.member) * published;
  const uint32_t stride = op.group * published;  // from split to split
  const uint32_t row = op.count + 2;             // in scratch: acc, m, l
  const uint32_t splits_at_once = kScratchFloats / row;
  const uint32_t parts = context.slot()->merge.parts;
  float* scratch = context.shared->scratch.floats;
  // count <= head_dim <= 256: one element per thread.
  const uint32_t i = context.thread();
  float m = -INFINITY, l = 0, acc = 0;
  for (uint32_t s0 = 0; s0 < parts; s0 += splits_at_once) {
    const uint32_t splits = min(splits_at_once, parts - s0);
    GatherSplits(op,
                 static_cast<const uint32_t*>(at.part) + begin + s0 * stride,
                 stride, splits * row, polled, context);
    // The words are in scratch before they are merged.
    context.Barrier();
    if (i < op.count) {
      for (uint32_t s = 0; s < splits; ++s) {
        const float* words = scratch + s * row;
        const float merged = fmaxf(m, words[op.count]);
        const float keep = ExpDifference(m, merged);
        const float add = ExpDifference(words[op.count], merged);
        l = l * keep + words[op.count + 1] * add;
        acc = acc * keep + words[i] * add;
        m = merged;
      }
    }
    // They are merged before scratch is filled again.
    context.Barrier();
  }
  if (i < op.count) {
    const uint64_t head = uint64_t{op.kv_head} * op.group + op.member;
    // Divided as the other bodies do, so that all give the same bits.
    context.Store(at.y, head * op.head_dim + op.begin + i, __fdividef(acc, l));
  }
}

// Up to 16 splits: elements [first, first + 16) of the instruction's, by one
// warp, in registers. Lane 16h + e has element e of eight splits: 8h to 8h + 7.
__device__ __forceinline__ void MergeInWarp(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    uint32_t first, DeviceContext& context) {
  constexpr uint32_t kSplits = 16;
  const uint32_t element = context.lane() % 16;
  const uint32_t half = context.lane() / 16;
  const uint32_t stride = op.group * (op.head_dim + 4);  // from split to split
  const uint32_t* part =
      static_cast<const uint32_t*>(at.part) +
      uint64_t{op.kv_head * op.splits * op.group + op.member} *
          (op.head_dim + 4);
  const uint32_t* mine =
      part + half * (kSplits / 2) * stride + op.begin + first + element;
  // And the lane's split's m and l.
  const uint32_t* state = part + element * stride + op.head_dim;
  const uint32_t parts = context.slot()->merge.parts;
  const uint32_t left = parts - min(parts, half * (kSplits / 2));
  // What a gemv before reads and writes comes before this one's writes.
  context.WaitForRows();
  uint32_t words[kSplits / 2 + 2];
  context.LoadTogether(words, context.IsPolled(AttentionMergeIndex::part),
                       op.part, [&](uint32_t(&to)[kSplits / 2 + 2]) {
#pragma unroll
                         for (uint32_t s = 0; s < kSplits / 2; ++s) {
                           to[s] = context.tag;
                           if (s < left)
                             to[s] = ptx::LoadRelaxedGpu(mine + s * stride);
                         }
                         uint2 v = make_uint2(context.tag, context.tag);
                         if (element < parts) v = ptx::LoadRelaxedGpu2(state);
                         to[kSplits / 2] = v.x;
                         to[kSplits / 2 + 1] = v.y;
                       });
  float most = element < parts ? fmaxf(isa::FloatOfF24Bits(words[kSplits / 2]),
                                       head128::kNone)
                               : head128::kNone;
  const float m = most;
#pragma unroll
  for (int offset = 1; offset < 16; offset *= 2) {
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
  }
  const float weight = ptx::Exp2Approximate((m - most) * kLog2e);
  float sum = isa::FloatOfF24Bits(words[kSplits / 2 + 1]) * weight;
  float value = 0;
  // The sum's shuffles, each of which waits for the one before, between those
  // of the weights, which don't.
#pragma unroll
  for (uint32_t s = 0; s < kSplits / 2; ++s) {
    if (s % 2 == 0) sum += __shfl_xor_sync(0xffffffffu, sum, 1 << s / 2);
    value += isa::FloatOfF24Bits(words[s]) *
             __shfl_sync(0xffffffffu, weight, half * 8 + s);
  }
  static_assert(1 << kSplits / 4 == kSplits);
  value += __shfl_xor_sync(0xffffffffu, value, 16);
  value = __fdividef(value, sum);
  if (half == 0) {
    const uint64_t head = uint64_t{op.kv_head} * op.group + op.member;
    const uint64_t index = head * op.head_dim + op.begin + first + element;
    ptx::StoreRelaxedGpu(static_cast<uint32_t*>(at.y) + ActivationWord(index),
                         context.WordOf(value));
  }
}

// 16 elements per warp; DeviceAnyAttentionMerge does what doesn't fit that.
__device__ __forceinline__ void DeviceAttentionMerge(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    DeviceContext& context) {
#pragma unroll 1
  for (uint32_t first = kMergeWarpElements * context.warp(); first < op.count;
       first += kMergeWarpElements * kComputeWarps) {
    MergeInWarp(op, at, first, context);
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_MERGE_CUH_
