#include <cmath>

#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunSiluMul(const isa::SiluMulOperands& op, OpContext& context) {
  const float* gate = context.f32(op.gate);
  const float* up = context.f32(op.up);
  float* y = context.f32(op.y);
  for (uint64_t i = op.begin; i < uint64_t{op.begin} + op.count; ++i) {
    y[i] = isa::RoundToF24(gate[i] / (1.0f + std::exp(-gate[i])) * up[i]);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
