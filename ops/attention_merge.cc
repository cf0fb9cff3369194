#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunAttentionMerge(const isa::AttentionMergeOperands& op,
                               OpContext& context) {
  if (context.position < int64_t{op.alone}) return absl::OkStatus();
  const uint32_t parts = isa::PartsAt(static_cast<uint64_t>(context.position),
                                      op.block, op.splits);
  const uint64_t row = uint64_t{op.head_dim} + 4;
  const uint64_t split_stride = op.group * row;
  const float* part = context.f32(op.part) +
                      uint64_t{op.kv_head} * op.splits * split_stride +
                      op.member * row;

  float max = -std::numeric_limits<float>::infinity();
  for (uint32_t s = 0; s < parts; ++s) {
    max = std::max(max, part[s * split_stride + op.head_dim]);
  }

  std::array<float, 256> acc = {};  // head_dim is at most 256
  float sum = 0.0f;
  for (uint32_t s = 0; s < parts; ++s) {
    const float* triple = part + s * split_stride;
    const float l = triple[op.head_dim + 1];
    if (l == 0.0f) continue;  // empty: its m is -inf
    const float weight = std::exp(triple[op.head_dim] - max);
    sum += weight * l;
    for (uint32_t i = 0; i < op.count; ++i) {
      acc[i] += weight * triple[op.begin + i];
    }
  }
  float* y = context.f32(op.y) +
             (uint64_t{op.kv_head} * op.group + op.member) * op.head_dim +
             op.begin;
  for (uint32_t i = 0; i < op.count; ++i) {
    y[i] = isa::RoundToF24(acc[i] / sum);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
