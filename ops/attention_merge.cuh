// attention_merge: the splits of one q head, for some of its elements.
//
// The words needed (count + 2 per split) are read by all threads at once, as
// many splits at a time as scratch holds, then merged in the order of splits.
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
      if (j < count) context.shared->scratch[j] = isa::FloatOfF24Bits(words[u]);
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
  float* scratch = context.shared->scratch;
  // count <= head_dim <= 256: one element per thread.
  const uint32_t i = context.thread();
  float m = -INFINITY, l = 0, acc = 0;
  for (uint32_t s0 = 0; s0 < op.splits; s0 += splits_at_once) {
    const uint32_t splits = min(splits_at_once, op.splits - s0);
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
    context.Store(at.y, head * op.head_dim + op.begin + i, acc / l);
  }
}

// Up to 16 splits: elements [first, first + 2 * kElements) of the
// instruction's, kElements for each of the 2 lanes of a split, by one warp, in
// registers.
template <uint32_t kElements>
__device__ __forceinline__ void MergeInWarp(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    uint32_t first, DeviceContext& context) {
  static_assert(kElements % 4 == 0);
  const uint32_t split = context.lane() / 2, half = context.lane() % 2;
  const uint32_t row = (op.kv_head * op.splits + split) * op.group + op.member;
  const uint32_t* part =
      static_cast<const uint32_t*>(at.part) + uint64_t{row} * (op.head_dim + 4);
  const uint32_t begin = op.begin + first + half * kElements;
  const bool there = split < op.splits;
  uint32_t words[kElements + 2];
  context.LoadTogether(words, context.IsPolled(AttentionMergeIndex::part),
                       op.part, [&](uint32_t(&to)[kElements + 2]) {
                         const uint32_t tag = context.tag;
#pragma unroll
                         for (uint32_t e = 0; e < kElements; e += 4) {
                           uint4 v = make_uint4(tag, tag, tag, tag);
                           if (there)
                             v = ptx::LoadRelaxedGpu4(part + begin + e);
                           to[e] = v.x;
                           to[e + 1] = v.y;
                           to[e + 2] = v.z;
                           to[e + 3] = v.w;
                         }
                         uint2 v = make_uint2(tag, tag);
                         if (there)
                           v = ptx::LoadRelaxedGpu2(part + op.head_dim);
                         to[kElements] = v.x;
                         to[kElements + 1] = v.y;
                       });
  const float m =
      there ? fmaxf(isa::FloatOfF24Bits(words[kElements]), head128::kNone)
            : head128::kNone;
  float most = m;
#pragma unroll
  for (int offset = 2; offset < 32; offset *= 2) {
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
  }
  const float weight = head128::Weight(m, most);
  float value[kElements + 1];
#pragma unroll
  for (uint32_t e = 0; e < kElements; ++e) {
    value[e] = isa::FloatOfF24Bits(words[e]) * weight;
  }
  value[kElements] = isa::FloatOfF24Bits(words[kElements + 1]) * weight;
#pragma unroll
  for (int offset = 2; offset < 32; offset *= 2) {
#pragma unroll
    for (uint32_t e = 0; e <= kElements; ++e) {
      value[e] += __shfl_xor_sync(0xffffffffu, value[e], offset);
    }
  }
  if (split == 0) {
    const float scale = __fdividef(1.0f, value[kElements]);
    const uint64_t to =
        (uint64_t{op.kv_head} * op.group + op.member) * op.head_dim + begin;
#pragma unroll
    for (uint32_t e = 0; e < kElements; e += 4) {
      context.Store4(at.y, to + e, value[e] * scale, value[e + 1] * scale,
                     value[e + 2] * scale, value[e + 3] * scale);
    }
  }
}

// 16 elements per warp; DeviceAnyAttentionMerge does what doesn't fit that.
__device__ __forceinline__ void DeviceAttentionMerge(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    DeviceContext& context) {
  for (uint32_t first = 16 * context.warp(); first < op.count;
       first += 16 * kComputeWarps) {
    if (first + 16 <= op.count) {
      MergeInWarp<8>(op, at, first, context);
    } else {
      MergeInWarp<4>(op, at, first, context);
    }
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_MERGE_CUH_
