#include "ops/dot.h"
#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunRmsNorm(const isa::RmsNormOperands& op, OpContext& context) {
  const float* x = context.f32(op.x);
  const uint16_t* g = context.bf16(op.g);
  float* y = context.f32(op.y);
  const float scale = InverseRms(x, op.k, op.eps);
  for (uint32_t i = op.begin; i < op.begin + op.count; ++i) {
    y[i] = isa::RoundToF24(x[i] * isa::FloatOfBf16Bits(g[i]) * scale);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
