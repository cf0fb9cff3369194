#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

struct Advance {
  OpProgram program;
  isa::AdvanceOperands op;

  std::vector<int32_t> tokens() const { return program.Ints(op.tokens); }
  int32_t stop() const { return program.Ints(op.stop)[0]; }
};

using Candidates = std::vector<std::pair<float, uint32_t>>;

// A text of up to 6 tokens: 3 of the prompt (10, 11, 12), the end at
// `end_position`, with candidates for what follows.
Advance MakeAdvance(const Candidates& candidates, int32_t end_position = 5,
                    const std::vector<int32_t>& eos = {77, -1, 78}) {
  Advance advance;
  OpProgram& p = advance.program;
  advance.op.best = p.Input("best", isa::DType::kRanked, {candidates.size()});
  advance.op.run = p.Input("run", isa::DType::kI32, {2});
  advance.op.eos = p.Input("eos", isa::DType::kI32, {eos.size()});
  advance.op.tokens = p.State("tokens", isa::DType::kI32, {6});
  advance.op.stop = p.Activation("stop", isa::DType::kI32, {1});
  p.SetRanked(advance.op.best, candidates);
  p.SetInts(advance.op.run, {3, end_position});
  p.SetInts(advance.op.eos, eos);
  p.SetInts(advance.op.tokens, {10, 11, 12, 0, 0, 0});
  p.SetInts(advance.op.stop, {-5});
  p.Append(advance.op);
  p.Append(isa::HaltOperands{.stop = advance.op.stop});
  return advance;
}

// The logits chose token `best` with `score`.
Advance MakeAdvance(uint32_t best, int32_t end_position = 5,
                    float score = 1.5f) {
  return MakeAdvance(Candidates{{score, best}}, end_position);
}

// `n` candidates, all of which lose against the one of rank `place`.
Candidates Losing(size_t n, size_t place, std::pair<float, uint32_t> winner) {
  Candidates candidates;
  for (uint32_t i = 0; i < n; ++i) {
    candidates.push_back({static_cast<float>(i % 7) - 9.0f, 100 + i});
  }
  candidates[place] = winner;
  return candidates;
}

TEST(AdvanceTest, Encodes) {
  ExpectEncodes(
      isa::AdvanceOperands{
          .best = 1, .run = 2, .eos = 3, .tokens = 4, .stop = 5},
      0x02, "advance", {1, 2, 3, 4, 5});
}

TEST(AdvanceTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeAdvance(5).program);
}

TEST(AdvanceTest, RejectsBadOperands) {
  const Advance advance = MakeAdvance(5);
  Rejections(advance.program, advance.op).ExpectComplete();
}

TEST(AdvanceTest, AppendsTheBestToken) {
  Advance advance = MakeAdvance(40);
  ASSERT_TRUE(advance.program.RunReference(2).ok());
  EXPECT_THAT(advance.tokens(), ElementsAre(10, 11, 12, 40, 0, 0));
  EXPECT_THAT(advance.program.tokens(), ElementsAre(Pair(3, 40)));
  EXPECT_EQ(advance.stop(), 0);
}

TEST(AdvanceTest, TakesTheFirstOfManyInTheOrderOfArgmax) {
  for (const size_t n : {2, 31, 32, 33, 128, 132, 300}) {
    for (const size_t place : {size_t{0}, n / 2, n - 1}) {
      Advance advance = MakeAdvance(Losing(n, place, {-1.0f, 40}));
      ASSERT_TRUE(advance.program.RunReference(2).ok());
      EXPECT_EQ(advance.tokens()[3], 40) << n << " " << place;
    }
  }
  // Of two that score the same, the lower index.
  Advance tie = MakeAdvance(Candidates{{1.0f, 50}, {1.0f, 40}, {0.5f, 3}});
  ASSERT_TRUE(tie.program.RunReference(2).ok());
  EXPECT_EQ(tie.tokens()[3], 40);
}

TEST(AdvanceTest, KeepsThePromptAndGeneratesNothing) {
  // 77 ends the text, but only where it was generated.
  Advance advance = MakeAdvance(77);
  ASSERT_TRUE(advance.program.RunReference(1).ok());
  EXPECT_THAT(advance.tokens(), ElementsAre(10, 11, 12, 0, 0, 0));
  EXPECT_THAT(advance.program.tokens(), IsEmpty());
  EXPECT_EQ(advance.stop(), 0);
}

TEST(AdvanceTest, StopsAtTheEndPosition) {
  Advance advance = MakeAdvance(40, /*end_position=*/4);
  ASSERT_TRUE(advance.program.RunReference(2).ok());
  EXPECT_EQ(advance.stop(), 0);
  ASSERT_TRUE(advance.program.RunReference(3).ok());
  EXPECT_EQ(advance.stop(), 1);
  EXPECT_THAT(advance.tokens(), ElementsAre(10, 11, 12, 40, 40, 0));
}

TEST(AdvanceTest, StopsInsideThePromptAtTheEndPosition) {
  Advance advance = MakeAdvance(40, /*end_position=*/2);
  ASSERT_TRUE(advance.program.RunReference(1).ok());
  EXPECT_EQ(advance.stop(), 1);
  EXPECT_THAT(advance.program.tokens(), IsEmpty());
}

TEST(AdvanceTest, StopsAfterAnEndOfTextToken) {
  for (const uint32_t token : {77u, 78u}) {
    Advance advance = MakeAdvance(token);
    ASSERT_TRUE(advance.program.RunReference(2).ok());
    EXPECT_EQ(advance.stop(), 1) << token;
    EXPECT_THAT(advance.program.tokens(),
                ElementsAre(Pair(3, static_cast<int32_t>(token))));
  }
}

TEST(AdvanceTest, ReportsNanByPosition) {
  Advance advance = MakeAdvance(40, 5, std::nanf(""));
  const absl::Status status = advance.program.RunReference(2);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("NaN in the logits at position 2"));
  EXPECT_THAT(advance.program.tokens(), IsEmpty());
}

TEST(AdvanceTest, ReportsTheEndOfTokens) {
  Advance advance = MakeAdvance(40, /*end_position=*/100);
  EXPECT_TRUE(advance.program.RunReference(4).ok());
  const absl::Status status = advance.program.RunReference(5);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("position 6"));
}

TEST(AdvanceTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const int32_t end_position : {2, 3, 4, 5}) {
    for (const int64_t position : {0, 1, 2, 3, 4}) {
      for (const uint32_t token : {40u, 77u}) {
        SCOPED_TRACE(testing::Message()
                     << end_position << " " << position << " " << token);
        Advance reference = MakeAdvance(token, end_position);
        Advance gpu = reference;
        ASSERT_TRUE(reference.program.RunReference(position).ok());
        const absl::Status status = gpu.program.RunGpu(position);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(gpu.tokens(), reference.tokens());
        EXPECT_EQ(gpu.stop(), reference.stop());
        EXPECT_EQ(gpu.program.tokens(), reference.program.tokens());
      }
    }
  }
}

TEST(AdvanceTest, GpuTakesTheFirstOfMany) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const size_t n : {2, 31, 32, 33, 128, 132, 300}) {
    for (const size_t place : {size_t{0}, n / 2, n - 1}) {
      Advance gpu = MakeAdvance(Losing(n, place, {-1.0f, 40}));
      const absl::Status status = gpu.program.RunGpu(2);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(gpu.tokens()[3], 40) << n << " " << place;
    }
  }
  Advance nan = MakeAdvance(Losing(128, 100, {std::nanf(""), 40}));
  EXPECT_THAT(std::string(nan.program.RunGpu(2).message()),
              HasSubstr("the best score at position 2 is NaN"));
}

TEST(AdvanceTest, GpuFindsTheTokenAmongManyThatEndTheText) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const size_t n : {1, 31, 32, 33, 64, 100}) {
    for (const size_t place : {size_t{0}, n / 2, n - 1}) {
      std::vector<int32_t> eos(n, -1);
      eos[place] = 77;
      for (const uint32_t token : {77u, 78u}) {
        Advance gpu = MakeAdvance(Candidates{{1.5f, token}}, 5, eos);
        const absl::Status status = gpu.program.RunGpu(2);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(gpu.stop(), token == 77 ? 1 : 0) << n << " " << place;
      }
    }
  }
}

TEST(AdvanceTest, GpuReportsNan) {
  MKVM_SKIP_WITHOUT_GPU();
  Advance advance = MakeAdvance(40, 5, std::nanf(""));
  const absl::Status status = advance.program.RunGpu(2);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("NaN"));
}

TEST(AdvanceTest, GpuReportsTheEndOfTokens) {
  MKVM_SKIP_WITHOUT_GPU();
  Advance advance = MakeAdvance(40, /*end_position=*/100);
  EXPECT_FALSE(advance.program.RunGpu(5).ok());
}

}  // namespace
}  // namespace mkvm::ops
