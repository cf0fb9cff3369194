#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Argmax {
  OpProgram program;
  isa::ArgmaxOperands op;

  std::pair<float, uint32_t> y() const { return program.Ranked(op.y)[0]; }
};

Argmax MakeArgmax(const std::vector<std::pair<float, uint32_t>>& candidates) {
  Argmax argmax;
  OpProgram& p = argmax.program;
  argmax.op.x = p.Input("x", isa::DType::kRanked, {candidates.size()});
  argmax.op.y = p.Activation("y", isa::DType::kRanked, {1});
  argmax.op.n = static_cast<uint32_t>(candidates.size());
  p.SetRanked(argmax.op.x, candidates);
  p.Append(argmax.op);
  return argmax;
}

// `n` candidates whose best, {50, 9}, is at `where`.
std::vector<std::pair<float, uint32_t>> Candidates(size_t n, size_t where) {
  std::mt19937 generator(static_cast<uint32_t>(n));
  std::vector<std::pair<float, uint32_t>> candidates;
  for (size_t i = 0; i < n; ++i) {
    candidates.emplace_back(static_cast<float>(generator() % 1000) - 960.0f,
                            1000 + 7 * static_cast<uint32_t>(i));
  }
  candidates[where] = {50.0f, 9};
  return candidates;
}

TEST(ArgmaxTest, Encodes) {
  ExpectEncodes(isa::ArgmaxOperands{.x = 1, .y = 2, .n = 3}, 0x30, "argmax",
                {1, 2, 3});
}

TEST(ArgmaxTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeArgmax(Candidates(5, 2)).program);
}

TEST(ArgmaxTest, RejectsBadOperands) {
  const Argmax argmax = MakeArgmax(Candidates(5, 2));
  Rejections reject(argmax.program, argmax.op);
  reject.Expect("n is 0", [](isa::ArgmaxOperands& op) { op.n = 0; });
  reject.ExpectComplete();
}

TEST(ArgmaxTest, FindsTheBestWhereverItIs) {
  for (const size_t n : {1, 2, 3, 7, 33, 132, 1025}) {
    for (const size_t where : {size_t{0}, n / 3, n / 2, n - 1}) {
      Argmax argmax = MakeArgmax(Candidates(n, where));
      ASSERT_TRUE(argmax.program.RunReference().ok());
      EXPECT_THAT(argmax.y(), Pair(50.0f, 9u)) << n << " " << where;
    }
  }
}

struct Ranking {
  std::vector<std::pair<float, uint32_t>> candidates;
  uint32_t best;
};

std::vector<Ranking> Rankings() {
  const float nan = std::nanf("");
  return {
      {{{1.0f, 30}, {1.0f, 10}, {1.0f, 20}}, 10},  // ties: the lower index
      {{{-kInfinity, 7}, {-kInfinity, 5}}, 5},
      {{{-0.0f, 4}, {0.0f, 8}}, 4},                // zeros are equal
      {{{kInfinity, 1}, {nan, 6}, {2.0f, 0}}, 6},  // a NaN is never hidden
      {{{nan, 6}, {kInfinity, 1}, {nan, 3}}, 3},
      {{{-3.0f, 0}, {-2.0f, isa::kMaxRankedIndex}}, isa::kMaxRankedIndex},
  };
}

TEST(ArgmaxTest, RanksNanThenScoreThenIndex) {
  for (const Ranking& ranking : Rankings()) {
    Argmax argmax = MakeArgmax(ranking.candidates);
    ASSERT_TRUE(argmax.program.RunReference().ok());
    EXPECT_EQ(argmax.y().second, ranking.best);
  }
}

TEST(ArgmaxTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  std::vector<Argmax> cases;
  for (const size_t n : {1, 2, 3, 7, 33, 132, 1025}) {
    cases.push_back(MakeArgmax(Candidates(n, n / 3)));
    cases.push_back(MakeArgmax(Candidates(n, n - 1)));
  }
  for (const Ranking& ranking : Rankings()) {
    cases.push_back(MakeArgmax(ranking.candidates));
  }
  for (Argmax& reference : cases) {
    SCOPED_TRACE(reference.op.n);
    Argmax gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(gpu.y().second, reference.y().second);
    if (!std::isnan(reference.y().first)) {
      EXPECT_EQ(gpu.y().first, reference.y().first);
    }
  }
}

}  // namespace
}  // namespace mkvm::ops
