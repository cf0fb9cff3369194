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

__device__ inline void DeviceAttentionMerge(
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

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ATTENTION_MERGE_CUH_
