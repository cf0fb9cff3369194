// attention_merge: the splits of one q head, for some of its elements.
//
// The words needed (count + 2 per split) are read by all threads at once, as
// many splits at a time as scratch holds, then merged in the order of splits.
#ifndef MKVM_OPS_ATTENTION_MERGE_CUH_
#define MKVM_OPS_ATTENTION_MERGE_CUH_

#include "ops/attention.cuh"
#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline void DeviceAttentionMerge(
    const isa::AttentionMergeOperands& op, const AttentionMergeAddresses& at,
    DeviceContext& context) {
  const bool polled = context.instruction->OperandIsPolled(0);
  const uint32_t published = op.head_dim + 4;
  const uint64_t begin =
      (uint64_t{op.kv_head} * op.splits * op.group + op.member) * published;
  const uint64_t split_stride = uint64_t{op.group} * published;
  const uint32_t row = op.count + 2;  // in scratch: acc, m, l
  const uint32_t splits_at_once = kScratchFloats / row;
  float* scratch = context.shared->scratch;
  // count <= head_dim <= 256: one element per thread.
  const uint32_t i = context.thread();
  float m = -INFINITY, l = 0, acc = 0;
  for (uint32_t s0 = 0; s0 < op.splits; s0 += splits_at_once) {
    const uint32_t splits = min(splits_at_once, op.splits - s0);
    for (uint32_t j = context.thread(); j < splits * row;
         j += kComputeThreads) {
      const uint32_t column = j % row < op.count
                                  ? op.begin + j % row
                                  : op.head_dim + (j % row - op.count);
      scratch[j] =
          context.Load(at.part, begin + (s0 + j / row) * split_stride + column,
                       polled, op.part);
    }
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
