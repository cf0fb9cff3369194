// Programs of one gemv, what it is to give, in double, and the same in single
// steps.
#ifndef MKVM_TESTS_OPS_GEMV_ORACLE_H_
#define MKVM_TESTS_OPS_GEMV_ORACLE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops::gemv_testing {

using isa::DType;
using isa::Epilogue;
using isa::Prologue;

struct Shape {
  uint32_t w_rows, k, row_begin, rows;
};

// Tails in both directions, several panels, slabs of the weight stream, chunks
// of slabs (of three, and three and one) and groups of panels.
inline constexpr Shape kShapes[] = {
    {5, 1, 0, 5},        {13, 7, 8, 5},     {24, 33, 8, 8},
    {9, 1025, 8, 1},     {40, 128, 16, 16}, {64, 1024, 0, 64},
    {300, 2100, 0, 300}, {1, 40, 0, 1},     {17, 31, 0, 17},
    {40, 3072, 0, 40},   {32, 4096, 8, 24}, {24, 4100, 0, 24},
};

struct Gemv {
  OpProgram program;
  isa::GemvOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

inline Gemv MakeGemv(const Shape& shape, Prologue prologue, Epilogue epilogue,
                     DType y_dtype = DType::kF24) {
  Gemv gemv;
  OpProgram& p = gemv.program;
  isa::GemvOperands& op = gemv.op;
  op.x = p.Input("x", DType::kF24, {shape.k});
  op.w = p.Matrix("w", shape.w_rows, shape.k);
  p.SetRandom(op.x, 1, 2.0f, 0.25f);
  p.SetRandom(op.w, 2);
  if (prologue == Prologue::kRmsNorm) {
    op.g = p.Weight("g", DType::kBf16, {shape.k});
    p.SetRandom(op.g, 3, 0.5f, 1.0f);
    op.eps = 1e-6f;
  }
  if (epilogue == Epilogue::kAdd) {
    op.r = p.Input("r", DType::kF24, {shape.w_rows});
    p.SetRandom(op.r, 4, 10.0f);
  }
  if (epilogue == Epilogue::kSiluMul) {
    op.w2 = p.Matrix("w2", shape.w_rows, shape.k);
    p.SetRandom(op.w2, 5);
  }
  if (epilogue == Epilogue::kArgmax) {
    op.best = p.Output("best", DType::kRanked, {3});
    op.slot = 1;
  }
  op.y = p.Output("y", y_dtype, {shape.w_rows});
  op.row_begin = shape.row_begin;
  op.rows = shape.rows;
  op.k = shape.k;
  op.tokens_per_pass = 1;
  op.prologue = prologue;
  op.epilogue = epilogue;
  p.Append(op);
  return gemv;
}

// y in double precision and how far from it a machine may be.
struct Expected {
  std::vector<double> y;
  std::vector<double> tolerance;
};

// A dot product with a prologue, and the error it may have: of binary32
// accumulation, relative to the sum of magnitudes; on the device also of the
// normalised vector, whose elements are cut to 16 significant bits (errors
// that are independent, hence the root of the squares).
struct Product {
  double value;
  double error;
};

inline Product Multiply(const std::vector<double>& w,
                        const std::vector<double>& x, size_t row, bool cut) {
  double sum = 0, magnitude = 0, squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double product = w[row * x.size() + i] * x[i];
    sum += product;
    magnitude += std::abs(product);
    squares += product * product;
  }
  return {sum, magnitude * 0x1p-20 + (cut ? std::sqrt(squares) * 0x1p-15 : 0)};
}

inline Expected Oracle(const Gemv& gemv, bool device = false) {
  const isa::GemvOperands& op = gemv.op;
  const OpProgram& p = gemv.program;
  std::vector<double> x = p.Doubles(op.x);
  if (op.prologue == Prologue::kRmsNorm) {
    const std::vector<double> g = p.Doubles(op.g);
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double rms = std::sqrt(squares / x.size() + op.eps);
    for (size_t i = 0; i < x.size(); ++i) x[i] *= g[i] / rms;
  }
  const bool cut = device && op.prologue == Prologue::kRmsNorm;
  const std::vector<double> w = p.Doubles(op.w);
  const size_t w_rows = w.size() / x.size();
  Expected expected = {std::vector<double>(w_rows, OpProgram::kUnwritten),
                       std::vector<double>(w_rows, 0.0)};
  for (size_t row = op.row_begin; row < op.row_begin + op.rows; ++row) {
    auto [y, error] = Multiply(w, x, row, cut);
    if (op.epilogue == Epilogue::kAdd) y += p.Doubles(op.r)[row];
    if (op.epilogue == Epilogue::kSiluMul) {
      const Product up = Multiply(p.Doubles(op.w2), x, row, cut);
      const double silu = y / (1.0 + std::exp(-y));
      // |silu'| <= 1.1
      error = 1.1 * error * std::abs(up.value) + std::abs(silu) * up.error +
              (device ? 1e-5 * std::abs(silu * up.value) : 0.0);
      y = silu * up.value;
    }
    const double rounding = kF24Epsilon * std::abs(y);
    expected.y[row] = y;
    // A comparison of two machines has two roundings.
    expected.tolerance[row] = error + rounding * (device ? 2 : 1) + 1e-12;
  }
  return expected;
}

template <typename Fn>
void ForEachForm(Fn fn) {
  for (const Prologue prologue : {Prologue::kNone, Prologue::kRmsNorm}) {
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd,
                                    Epilogue::kSiluMul, Epilogue::kArgmax}) {
      SCOPED_TRACE(testing::Message()
                   << "prologue " << static_cast<int>(prologue) << ", epilogue "
                   << static_cast<int>(epilogue));
      fn(prologue, epilogue);
    }
  }
}

template <typename Fn>
void ForEachShapeAndForm(Fn fn) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message()
                 << "rows [" << shape.row_begin << ", +" << shape.rows
                 << ") of [" << shape.w_rows << ", " << shape.k << "]");
    ForEachForm([&](Prologue prologue, Epilogue epilogue) {
      fn(shape, prologue, epilogue);
    });
  }
}

// ---- fused forms equal their unfused forms

// The same computation as `fused`, one instruction per step. Returns the
// buffer of the result.
inline uint32_t Unfuse(const Gemv& fused, OpProgram& p) {
  isa::GemvOperands op = fused.op;
  const uint32_t rows = op.row_begin + op.rows;
  p = fused.program;
  p.ClearInstructions();
  if (op.prologue == Prologue::kRmsNorm) {
    const uint32_t normed = p.Activation("normed", DType::kF24, {op.k});
    p.Append(isa::RmsNormOperands{.x = op.x,
                                  .g = op.g,
                                  .y = normed,
                                  .k = op.k,
                                  .begin = 0,
                                  .count = op.k,
                                  .eps = op.eps});
    op.x = normed;
    op.g = isa::kNoBuffer;
    op.prologue = Prologue::kNone;
  }
  isa::GemvOperands store = op;
  store.epilogue = Epilogue::kStore;
  store.r = store.w2 = isa::kNoBuffer;
  store.y = p.Activation("t", DType::kF24, {rows});
  p.Append(store);
  if (op.epilogue == Epilogue::kStore) return store.y;
  const uint32_t result = p.Activation("result", DType::kF24, {rows});
  if (op.epilogue == Epilogue::kAdd) {
    p.Append(isa::AddOperands{.a = store.y,
                              .b = op.r,
                              .y = result,
                              .begin = op.row_begin,
                              .count = op.rows});
  } else {
    isa::GemvOperands up = store;
    up.w = op.w2;
    up.y = p.Activation("u", DType::kF24, {rows});
    p.Append(up);
    p.Append(isa::SiluMulOperands{.gate = store.y,
                                  .up = up.y,
                                  .y = result,
                                  .begin = op.row_begin,
                                  .count = op.rows});
  }
  return result;
}

// The unfused form rounds to f24 between the steps: the oracle's tolerance,
// with the roundings of the steps on top.
inline std::vector<double> UnfusedTolerance(const Gemv& gemv) {
  Gemv plain = gemv;  // its terms t and u alone
  plain.op.epilogue = Epilogue::kStore;
  const Expected t = Oracle(plain, /*device=*/true);
  Expected want = Oracle(gemv, /*device=*/true);
  std::vector<double> u(t.y.size(), 1.0);
  if (gemv.op.epilogue == Epilogue::kSiluMul) {
    plain.op.w = gemv.op.w2;
    u = Oracle(plain, /*device=*/true).y;
  }
  for (size_t i = 0; i < want.y.size(); ++i) {
    want.tolerance[i] += 4 * kF24Epsilon * std::abs(t.y[i] * u[i]);
  }
  return want.tolerance;
}

template <typename Run>
void ExpectFusedEqualsUnfused(Run run) {
  for (const Shape& shape :
       {Shape{13, 7, 0, 13}, Shape{40, 128, 0, 40}, Shape{17, 1025, 0, 17}}) {
    ForEachForm([&](Prologue prologue, Epilogue epilogue) {
      if (epilogue == Epilogue::kArgmax) return;  // gemv, then argmax: below
      Gemv fused = MakeGemv(shape, prologue, epilogue);
      OpProgram unfused;
      const uint32_t result = Unfuse(fused, unfused);
      ExpectValidAndRoundTrips(unfused);
      const std::vector<double> tolerance = UnfusedTolerance(fused);
      run(fused.program);
      run(unfused);
      const std::vector<float> y = fused.y();
      ExpectNear(unfused.Floats(result),
                 std::vector<double>(y.begin(), y.end()), tolerance);
    });
  }
}

}  // namespace mkvm::ops::gemv_testing

#endif  // MKVM_TESTS_OPS_GEMV_ORACLE_H_
