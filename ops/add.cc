#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunAdd(const isa::AddOperands& op, OpContext& context) {
  const float* a = context.f32(op.a);
  const float* b = context.f32(op.b);
  float* y = context.f32(op.y);
  for (uint64_t i = op.begin; i < uint64_t{op.begin} + op.count; ++i) {
    y[i] = isa::RoundToF24(a[i] + b[i]);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
