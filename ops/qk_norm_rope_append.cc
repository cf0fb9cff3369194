#include "ops/op_context.h"
#include "ops/qk_norm_rope.h"

namespace mkvm::ops {

absl::Status RunQkNormRopeAppend(const isa::QkNormRopeAppendOperands& op,
                                 OpContext& context) {
  if (absl::Status status =
          CheckPosition(context, op.k_cache, op.rope, op.splits);
      !status.ok()) {
    return status;
  }
  const auto position = static_cast<uint64_t>(context.position);
  const uint64_t q_offset = uint64_t{op.kv_head} * op.group * op.head_dim;
  const uint64_t kv_offset = uint64_t{op.kv_head} * op.head_dim;
  const QkNormRopeInput in = {
      .q = context.f32(op.q) + q_offset,
      .k = context.f32(op.k) + kv_offset,
      .v = context.f32(op.v) + kv_offset,
      .q_norm = context.bf16(op.q_norm),
      .k_norm = context.bf16(op.k_norm),
      .rope_row = context.f32(op.rope) + position * op.head_dim,
      .group = op.group,
      .head_dim = op.head_dim,
      .eps = op.eps,
  };
  NormAndRotateQ(in, context.f32(op.q_out) + q_offset);

  const CachePlace place = PlaceOfPosition(position, op.block, op.splits);
  const uint64_t capacity = context.buffer(op.k_cache).shape[1];
  const uint64_t row = uint64_t{op.kv_head} * op.splits + place.split;
  const uint64_t offset = (row * capacity + place.slot) * op.head_dim;
  AppendKv(in, context.bf16(op.k_cache) + offset,
           context.bf16(op.v_cache) + offset);
  return absl::OkStatus();
}

}  // namespace mkvm::ops
