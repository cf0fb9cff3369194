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
  // The epilogue of one row, from its products with w and w2, in any order of
  // rows: ranks are a total order.
  const auto finish = [&](uint32_t row, float dot, float dot2) {
    float t = dot * input.scale;
    switch (op.epilogue) {
      case isa::Epilogue::kStore:
        break;
      case isa::Epilogue::kAdd:
        t += r[row];
        break;
      case isa::Epilogue::kSiluMul:
        t = Silu(t) * (dot2 * input.scale);
        break;
      case isa::Epilogue::kArgmax:
        if (best_row == isa::kNoBuffer ||
            isa::RanksBefore(t, row, best_score, best_row)) {
          best_score = t;
          best_row = row;
        }
        break;
    }
    if (y != nullptr) y[row] = y_is_f24 ? isa::RoundToF24(t) : t;
  };

  // Rows a quarter of the range apart go together: kDotRows streams through
  // memory, each of which is contiguous. Neighbouring rows would be one stream.
  const uint32_t quarter = op.rows / kDotRows;
  const size_t stride = size_t{quarter} * op.k;
  const bool two = op.epilogue == isa::Epilogue::kSiluMul;
  for (uint32_t i = 0; i < quarter; ++i) {
    const uint32_t first = op.row_begin + i;
    const size_t offset = size_t{first} * op.k;
    float dots[kDotRows], dots2[kDotRows] = {};
    DotRowsBf16(w + offset, stride, input.values, op.k, dots);
    if (two) DotRowsBf16(w2 + offset, stride, input.values, op.k, dots2);
    for (uint32_t j = 0; j < kDotRows; ++j) {
      finish(first + j * quarter, dots[j], dots2[j]);
    }
  }
  for (uint32_t i = quarter * kDotRows; i < op.rows; ++i) {
    const uint32_t row = op.row_begin + i;
    const size_t offset = size_t{row} * op.k;
    finish(row, DotBf16(w + offset, input.values, op.k),
           two ? DotBf16(w2 + offset, input.values, op.k) : 0.0f);
  }
  if (op.epilogue == isa::Epilogue::kArgmax) {
    context.ranked(op.best)[op.slot] = isa::PackRanked(best_score, best_row, 0);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
