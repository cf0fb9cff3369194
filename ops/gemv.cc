#include <cmath>
#include <vector>

#include "ops/dot.h"
#include "ops/op_context.h"

namespace mkvm::ops {
namespace {

// x after the prologue: the weights multiply `values`, and every product is
// then multiplied by `scale`. Keeping the scale out of the vector costs one
// multiplication per row and matches the order of the device, which learns
// the scale only after the products.
struct PreparedInput {
  const float* values;
  float scale;
};

PreparedInput PrepareInput(const isa::GemvOperands& op, OpContext& context) {
  const float* x = context.f32(op.x);
  if (op.prologue == isa::Prologue::kNone) return {x, 1.0f};
  thread_local std::vector<float> scaled;
  scaled.resize(op.k);
  const uint16_t* g = context.bf16(op.g);
  for (uint32_t i = 0; i < op.k; ++i) {
    scaled[i] = x[i] * isa::FloatOfBf16Bits(g[i]);
  }
  return {scaled.data(), InverseRms(x, op.k, op.eps)};
}

float Silu(float t) { return t / (1.0f + std::exp(-t)); }

}  // namespace

absl::Status RunGemv(const isa::GemvOperands& op, OpContext& context) {
  const PreparedInput input = PrepareInput(op, context);
  const uint16_t* w = context.bf16(op.w);
  const uint16_t* w2 = context.bf16(op.w2);
  const float* r = context.f32(op.r);
  float* y = context.f32(op.y);
  const bool y_is_f24 =
      y != nullptr && context.buffer(op.y).dtype == isa::DType::kF24;

  float best_score = 0.0f;
  uint32_t best_row = isa::kNoBuffer;
  for (uint32_t row = op.row_begin; row < op.row_begin + op.rows; ++row) {
    const uint64_t offset = uint64_t{row} * op.k;
    float t = DotBf16(w + offset, input.values, op.k) * input.scale;
    switch (op.epilogue) {
      case isa::Epilogue::kStore:
        break;
      case isa::Epilogue::kAdd:
        t += r[row];
        break;
      case isa::Epilogue::kSiluMul:
        t = Silu(t) * (DotBf16(w2 + offset, input.values, op.k) * input.scale);
        break;
      case isa::Epilogue::kArgmax:
        if (row == op.row_begin ||
            isa::RanksBefore(t, row, best_score, best_row)) {
          best_score = t;
          best_row = row;
        }
        break;
    }
    if (y != nullptr) y[row] = y_is_f24 ? isa::RoundToF24(t) : t;
  }
  if (op.epilogue == isa::Epilogue::kArgmax) {
    context.ranked(op.best)[op.slot] = isa::PackRanked(best_score, best_row, 0);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
