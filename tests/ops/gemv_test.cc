#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/dot.h"
#include "tests/ops/gemv_oracle.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using gemv_testing::Expected;
using gemv_testing::ExpectFusedEqualsUnfused;
using gemv_testing::ForEachShapeAndForm;
using gemv_testing::Gemv;
using gemv_testing::MakeGemv;
using gemv_testing::Oracle;
using gemv_testing::Shape;
using isa::DType;
using isa::Epilogue;
using isa::Prologue;
using ::testing::ElementsAre;
using ::testing::Pair;

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

// How much fits the ring decides which sums are made side by side, not how they
// are rounded.
TEST(GemvTest, GpuStagesDoNotChangeBits) {
  MKVM_SKIP_WITHOUT_GPU();
  ForEachShapeAndForm(
      [](const Shape& shape, Prologue prologue, Epilogue epilogue) {
        const Gemv gemv = MakeGemv(shape, prologue, epilogue);
        std::vector<std::string> results;
        for (const uint32_t stages : {2, 4, 6, 13}) {
          Gemv run = gemv;
          run.program.SetStages(stages);
          const absl::Status status = run.program.RunGpu();
          ASSERT_TRUE(status.ok()) << status;
          results.push_back(run.program.bytes(run.op.y));
          if (epilogue == Epilogue::kArgmax) {
            results.back() += run.program.bytes(run.op.best);
          }
        }
        EXPECT_THAT(results, testing::Each(results[0]));
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
