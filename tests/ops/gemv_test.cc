#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/dot.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using isa::DType;
using isa::Epilogue;
using isa::Prologue;
using ::testing::ElementsAre;
using ::testing::Pair;

struct Shape {
  uint32_t w_rows, k, row_begin, rows;
};

// Tails in both directions, several panels, slabs of the weight stream and
// groups of panels.
constexpr Shape kShapes[] = {
    {5, 1, 0, 5},        {13, 7, 8, 5},     {24, 33, 8, 8},
    {9, 1025, 8, 1},     {40, 128, 16, 16}, {64, 1024, 0, 64},
    {300, 2100, 0, 300}, {1, 40, 0, 1},     {17, 31, 0, 17},
};

struct Gemv {
  OpProgram program;
  isa::GemvOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

Gemv MakeGemv(const Shape& shape, Prologue prologue, Epilogue epilogue,
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

Product Multiply(const std::vector<double>& w, const std::vector<double>& x,
                 size_t row, bool cut) {
  double sum = 0, magnitude = 0, squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double product = w[row * x.size() + i] * x[i];
    sum += product;
    magnitude += std::abs(product);
    squares += product * product;
  }
  return {sum, magnitude * 0x1p-20 + (cut ? std::sqrt(squares) * 0x1p-15 : 0)};
}

Expected Oracle(const Gemv& gemv, bool device = false) {
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

TEST(GemvTest, Encodes) {
  ExpectEncodes(isa::GemvOperands{.x = 1,
                                  .r = 2,
                                  .w = 3,
                                  .w2 = 4,
                                  .g = 5,
                                  .y = 6,
                                  .best = 7,
                                  .row_begin = 8,
                                  .rows = 9,
                                  .k = 10,
                                  .slot = 11,
                                  .tokens_per_pass = 1,
                                  .eps = 0.5f,
                                  .prologue = Prologue::kRmsNorm,
                                  .epilogue = Epilogue::kArgmax},
                0x18, "gemv",
                {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 0x3f000000u, 1, 3});
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

TEST(GemvTest, IsValidAndRoundTrips) {
  ForEachShapeAndForm(
      [](const Shape& shape, Prologue prologue, Epilogue epilogue) {
        // A valid argmax takes every row into account: see also
        // PartialArgmaxesMeetInArgmax.
        if (epilogue == Epilogue::kArgmax && shape.rows < shape.w_rows) return;
        ExpectValidAndRoundTrips(MakeGemv(shape, prologue, epilogue).program);
      });
}

TEST(GemvTest, ArgmaxWithoutLogitsIsValidAndRoundTrips) {
  Gemv gemv = MakeGemv({40, 33, 0, 40}, Prologue::kNone, Epilogue::kArgmax);
  gemv.op.y = isa::kNoBuffer;
  gemv.program.ClearInstructions();
  gemv.program.Append(gemv.op);
  ExpectValidAndRoundTrips(gemv.program);
}

TEST(GemvTest, RejectsBadOperands) {
  using Op = isa::GemvOperands;
  const Gemv gemv =
      MakeGemv({28, 33, 8, 16}, Prologue::kRmsNorm, Epilogue::kSiluMul);
  Rejections reject(gemv.program, gemv.op);
  const uint32_t w = gemv.op.w, w2 = gemv.op.w2;
  reject.Expect("rows is 0", [](Op& op) { op.rows = 0; });
  reject.Expect("k is 0", [](Op& op) { op.k = 0; });
  reject.Expect("k is not the number of columns of w",
                [](Op& op) { op.k = 32; });
  reject.Expect("k is not the number of columns of w2", [=](OpProgram& p, Op&) {
    p.buffer(w2).shape = {28, 34};
  });
  reject.Expect("row_begin + rows goes past the rows of w",
                [](Op& op) { op.rows = 24; });
  reject.Expect("row_begin + rows goes past the rows of w",
                [](Op& op) { op.row_begin = 0xfffffff8u; });
  reject.Expect("row_begin is not a multiple of 8, the rows of a panel",
                [](Op& op) { op.row_begin = 4; });
  reject.Expect("rows is not a multiple of 8 and does not end the matrix",
                [](Op& op) { op.rows = 12; });
  for (const uint32_t tokens : {0u, 2u}) {
    reject.Expect("tokens_per_pass is not 1",
                  [=](Op& op) { op.tokens_per_pass = tokens; });
  }
  reject.Expect("g is given exactly when prologue is rms_norm",
                [](Op& op) { op.g = isa::kNoBuffer; });
  reject.Expect("g is given exactly when prologue is rms_norm",
                [](Op& op) { op.prologue = Prologue::kNone; });
  for (const float eps : {-1.0f, 1.0f, std::nanf("")}) {
    reject.Expect("eps is not in [0, 1)", [=](Op& op) { op.eps = eps; });
  }
  reject.Expect("r is given exactly when epilogue is add",
                [](Op& op) { op.epilogue = Epilogue::kAdd; });
  reject.Expect("w2 is given exactly when epilogue is silu_mul",
                [](Op& op) { op.w2 = isa::kNoBuffer; });
  reject.Expect("w and w2 have different layouts", [=](OpProgram& p, Op&) {
    p.buffer(w).layout = isa::Layout::kRows;
  });
  reject.Expect("best is given exactly when epilogue is argmax",
                [](Op& op) { op.epilogue = Epilogue::kArgmax; });
  reject.Expect("y is missing", [](Op& op) { op.y = isa::kNoBuffer; });
  reject.Expect("argmax rows go past 2^24", [=](OpProgram& p, Op& op) {
    p.buffer(w).shape[0] = (1u << 24) + 8;
    op.epilogue = Epilogue::kArgmax;
    op.row_begin = 1u << 24;
    op.rows = 8;
  });
  reject.ExpectComplete();
}

TEST(GemvTest, ChecksTheOperandsOfTheOtherEpiloguesByName) {
  const Gemv add = MakeGemv({24, 33, 8, 16}, Prologue::kNone, Epilogue::kAdd);
  OpProgram add_buffers = add.program;
  add_buffers.ClearInstructions();
  ExpectOperandsCheckedByName(add_buffers, isa::Encode(add.op));

  const Gemv argmax =
      MakeGemv({24, 33, 8, 16}, Prologue::kNone, Epilogue::kArgmax);
  OpProgram argmax_buffers = argmax.program;
  argmax_buffers.ClearInstructions();
  ExpectOperandsCheckedByName(argmax_buffers, isa::Encode(argmax.op));
}

TEST(GemvTest, MatchesHandComputedProducts) {
  Gemv gemv = MakeGemv({2, 3, 0, 2}, Prologue::kNone, Epilogue::kAdd);
  gemv.program.Set(gemv.op.x, {1.0f, 2.0f, -3.0f});
  gemv.program.Set(gemv.op.w, {4.0f, 5.0f, 6.0f, 0.5f, -1.0f, 0.25f});
  gemv.program.Set(gemv.op.r, {100.0f, 0.25f});
  ASSERT_TRUE(gemv.program.RunReference().ok());
  EXPECT_THAT(gemv.y(), ElementsAre(96.0f, -2.0f));
}

TEST(GemvTest, NormalisesByHand) {
  Gemv gemv = MakeGemv({1, 4, 0, 1}, Prologue::kRmsNorm, Epilogue::kStore);
  gemv.op.eps = 0.0f;
  gemv.program.ClearInstructions();
  gemv.program.Append(gemv.op);
  gemv.program.Set(gemv.op.x, {1.0f, -1.0f, 7.0f, 7.0f});  // rms 5
  gemv.program.Set(gemv.op.g, {1.0f, 2.0f, 0.0f, 5.0f});
  gemv.program.Set(gemv.op.w, {5.0f, 5.0f, 5.0f, 1.0f});
  ASSERT_TRUE(gemv.program.RunReference().ok());
  EXPECT_THAT(gemv.y(), ElementsAre(testing::FloatEq(6.0f)));  // 1 - 2 + 7
}

TEST(GemvTest, MatchesTheOracle) {
  ForEachShapeAndForm(
      [](const Shape& shape, Prologue prologue, Epilogue epilogue) {
        Gemv gemv = MakeGemv(shape, prologue, epilogue);
        const Expected want = Oracle(gemv);
        ASSERT_TRUE(gemv.program.RunReference().ok());
        ExpectNear(gemv.y(), want.y, want.tolerance);
      });
}

TEST(GemvTest, StartsAtAnyRowOfARowMajorMatrix) {
  Gemv gemv = MakeGemv({11, 33, 3, 2}, Prologue::kNone, Epilogue::kStore);
  gemv.program.buffer(gemv.op.w).layout = isa::Layout::kRows;
  ExpectValidAndRoundTrips(gemv.program);
  const Expected want = Oracle(gemv);
  ASSERT_TRUE(gemv.program.RunReference().ok());
  ExpectNear(gemv.y(), want.y, want.tolerance);
}

TEST(GemvTest, StoresUnroundedLogitsInF32) {
  Gemv f32 = MakeGemv({40, 33, 0, 40}, Prologue::kRmsNorm, Epilogue::kArgmax,
                      DType::kF32);
  Gemv f24 = MakeGemv({40, 33, 0, 40}, Prologue::kRmsNorm, Epilogue::kArgmax);
  ASSERT_TRUE(f32.program.RunReference().ok());
  ASSERT_TRUE(f24.program.RunReference().ok());
  const std::vector<float> exact = f32.y();
  int unrounded = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(isa::RoundToF24(exact[i]), f24.y()[i]);
    unrounded += exact[i] != f24.y()[i];
  }
  EXPECT_GT(unrounded, 30);
}

TEST(GemvTest, ArgmaxNamesTheBestRow) {
  for (const bool with_logits : {true, false}) {
    Gemv gemv = MakeGemv({40, 33, 8, 24}, Prologue::kNone, Epilogue::kArgmax,
                         DType::kF32);
    const uint32_t logits = gemv.op.y;
    if (!with_logits) gemv.op.y = isa::kNoBuffer;
    gemv.program.ClearInstructions();
    gemv.program.Append(gemv.op);
    gemv.program.SetRanked(gemv.op.best, {{7, 7}, {8, 8}, {9, 9}});
    ASSERT_TRUE(gemv.program.RunReference().ok());

    Gemv stored = MakeGemv({40, 33, 8, 24}, Prologue::kNone, Epilogue::kStore,
                           DType::kF32);
    ASSERT_TRUE(stored.program.RunReference().ok());
    const std::vector<float> y = stored.y();
    const auto best = std::max_element(y.begin() + 8, y.begin() + 32);
    EXPECT_THAT(
        gemv.program.Ranked(gemv.op.best),
        ElementsAre(Pair(7.0f, 7u),
                    Pair(*best, static_cast<uint32_t>(best - y.begin())),
                    Pair(9.0f, 9u)));
    if (with_logits) {
      EXPECT_EQ(gemv.program.Floats(logits), y);
    } else {
      EXPECT_THAT(gemv.program.Floats(logits),
                  testing::Each(OpProgram::kUnwritten));
    }
  }
}

// 16 equal rows, but for a higher one at `best` unless it is 16.
Gemv MakeRankedGemv(uint32_t best, float score) {
  Gemv gemv = MakeGemv({16, 8, 0, 16}, Prologue::kNone, Epilogue::kArgmax);
  std::vector<float> w(16 * 8, -0.5f);
  if (best < 16) w[best * 8 + 5] = score;
  gemv.program.Set(gemv.op.w, w);
  gemv.program.Set(gemv.op.x, std::vector<float>(8, 1.0f));
  return gemv;
}

TEST(GemvTest, ArgmaxPrefersTheLowerRowAndShowsNan) {
  Gemv tie = MakeRankedGemv(16, 0.0f);
  ASSERT_TRUE(tie.program.RunReference().ok());
  EXPECT_THAT(tie.program.Ranked(tie.op.best)[1], Pair(-4.0f, 0u));

  tie.op.row_begin = 8;
  tie.op.rows = 8;
  tie.program.ClearInstructions();
  tie.program.Append(tie.op);
  ASSERT_TRUE(tie.program.RunReference().ok());
  EXPECT_THAT(tie.program.Ranked(tie.op.best)[1], Pair(-4.0f, 8u));

  Gemv nan = MakeRankedGemv(11, std::nanf(""));
  ASSERT_TRUE(nan.program.RunReference().ok());
  EXPECT_EQ(nan.program.Ranked(nan.op.best)[1].second, 11u);
  EXPECT_TRUE(std::isnan(nan.program.Ranked(nan.op.best)[1].first));
}

// A row's result depends on the row alone, so tiles may be cut anywhere.
TEST(GemvTest, TilesDoNotChangeBits) {
  Gemv whole =
      MakeGemv({40, 1025, 0, 40}, Prologue::kRmsNorm, Epilogue::kSiluMul);
  Gemv tiled = whole;
  tiled.program.ClearInstructions();
  for (const auto& [begin, rows] :
       std::vector<std::pair<uint32_t, uint32_t>>{{0, 8}, {8, 24}, {32, 8}}) {
    isa::GemvOperands op = tiled.op;
    op.row_begin = begin;
    op.rows = rows;
    tiled.program.Append(op);
  }
  ASSERT_TRUE(whole.program.RunReference().ok());
  ASSERT_TRUE(tiled.program.RunReference().ok());
  EXPECT_EQ(tiled.y(), whole.y());
}

// Rows go through the kernels in fours, from four places; 5, 17 and 300 rows
// leave some over.
TEST(GemvTest, EveryKernelGivesTheSameBits) {
  DotKernel kernels[3];
  const size_t n = SupportedDotKernels(kernels);
  ForEachShapeAndForm(
      [&](const Shape& shape, Prologue prologue, Epilogue epilogue) {
        const Gemv gemv = MakeGemv(shape, prologue, epilogue, DType::kF32);
        std::vector<std::string> results;
        for (size_t i = 0; i < n; ++i) {
          ASSERT_TRUE(SelectDotKernel(kernels[i].name).ok());
          Gemv run = gemv;
          ASSERT_TRUE(run.program.RunReference().ok());
          results.push_back(run.program.bytes(run.op.y));
          if (epilogue == Epilogue::kArgmax) {
            results.back() += run.program.bytes(run.op.best);
          }
        }
        EXPECT_THAT(results, testing::Each(results[0]));
      });
  ASSERT_TRUE(SelectDotKernel("").ok());
}

// ---- fused forms equal their unfused forms

// The same computation as `fused`, one instruction per step. Returns the
// buffer of the result.
uint32_t Unfuse(const Gemv& fused, OpProgram& p) {
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
std::vector<double> UnfusedTolerance(const Gemv& gemv) {
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

TEST(GemvTest, FusedFormsEqualUnfusedForms) {
  ExpectFusedEqualsUnfused(
      [](OpProgram& p) { ASSERT_TRUE(p.RunReference().ok()); });
}

TEST(GemvTest, PartialArgmaxesMeetInArgmax) {
  Gemv whole = MakeGemv({40, 33, 0, 40}, Prologue::kNone, Epilogue::kArgmax);
  Gemv split = whole;
  OpProgram& p = split.program;
  p.ClearInstructions();
  for (uint32_t slot = 0; slot < 3; ++slot) {
    isa::GemvOperands op = split.op;
    op.row_begin = slot * 16;
    op.rows = slot == 2 ? 8 : 16;
    op.slot = slot;
    p.Append(op);
  }
  const uint32_t y = p.Activation("token", DType::kRanked, {1});
  p.Append(isa::ArgmaxOperands{.x = split.op.best, .y = y, .n = 3});
  ExpectValidAndRoundTrips(p);
  ASSERT_TRUE(whole.program.RunReference().ok());
  ASSERT_TRUE(p.RunReference().ok());
  EXPECT_EQ(p.Ranked(y)[0], whole.program.Ranked(whole.op.best)[1]);
}

// ---- on the device

TEST(GemvTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  ForEachShapeAndForm([](const Shape& shape, Prologue prologue,
                         Epilogue epilogue) {
    Gemv reference = MakeGemv(shape, prologue, epilogue);
    const Expected want = Oracle(reference, /*device=*/true);
    Gemv gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<float> got = gpu.y();
    ExpectNear(got, reference.program.Doubles(reference.op.y), want.tolerance);
    if (epilogue == Epilogue::kArgmax) {
      // The row found must be as good as the best, up to the tolerance.
      const auto [score, row] = gpu.program.Ranked(gpu.op.best)[1];
      const auto [best, best_row] = reference.program.Ranked(gpu.op.best)[1];
      ASSERT_GE(row, shape.row_begin);
      ASSERT_LT(row, shape.row_begin + shape.rows);
      EXPECT_NEAR(score, best, want.tolerance[best_row]);
      EXPECT_NEAR(score, got[row], want.tolerance[row]);
    }
  });
}

TEST(GemvTest, GpuArgmaxPrefersTheLowerRowAndShowsNan) {
  MKVM_SKIP_WITHOUT_GPU();
  Gemv tie = MakeRankedGemv(16, 0.0f);
  ASSERT_TRUE(tie.program.RunGpu().ok());
  EXPECT_THAT(tie.program.Ranked(tie.op.best)[1], Pair(-4.0f, 0u));
  Gemv high = MakeRankedGemv(13, 3.0f);
  ASSERT_TRUE(high.program.RunGpu().ok());
  EXPECT_THAT(high.program.Ranked(high.op.best)[1], Pair(-0.5f, 13u));
  Gemv nan = MakeRankedGemv(11, std::nanf(""));
  ASSERT_TRUE(nan.program.RunGpu().ok());
  EXPECT_EQ(nan.program.Ranked(nan.op.best)[1].second, 11u);
}

TEST(GemvTest, GpuStoresLogitsInF32) {
  MKVM_SKIP_WITHOUT_GPU();
  Gemv reference = MakeGemv({40, 1025, 0, 40}, Prologue::kNone,
                            Epilogue::kArgmax, DType::kF32);
  Gemv gpu = reference;
  ASSERT_TRUE(reference.program.RunReference().ok());
  ASSERT_TRUE(gpu.program.RunGpu().ok());
  // Without f24's rounding the machines agree far better than 2^-16.
  std::vector<double> tolerance = Oracle(reference).tolerance;
  const std::vector<double> want = reference.program.Doubles(reference.op.y);
  for (size_t i = 0; i < want.size(); ++i) {
    tolerance[i] += kF24Epsilon * (0.1 - 1.0) * std::abs(want[i]);
  }
  ExpectNear(gpu.y(), want, tolerance);
}

TEST(GemvTest, GpuFusedFormsEqualUnfusedForms) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectFusedEqualsUnfused([](OpProgram& p) {
    const absl::Status status = p.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
  });
}

}  // namespace
}  // namespace mkvm::ops
