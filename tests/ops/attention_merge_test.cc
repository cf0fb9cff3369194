#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using isa::DType;
using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Geometry {
  uint32_t kv_heads, group, head_dim, splits;
};

constexpr Geometry kGeometries[] = {
    {1, 1, 8, 1},   {2, 2, 64, 3},  {2, 8, 128, 16},
    {1, 3, 24, 33}, {1, 1, 256, 5},
};

struct Merge {
  OpProgram program;
  isa::AttentionMergeOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

// Random parts; every third split but the first is empty.
Merge MakeMerge(const Geometry& g, uint32_t kv_head, uint32_t member,
                uint32_t begin, uint32_t count) {
  Merge merge;
  OpProgram& p = merge.program;
  isa::AttentionMergeOperands& op = merge.op;
  op.part = p.Input("part", DType::kF24,
                    {g.kv_heads, g.splits, g.group, g.head_dim + 4});
  op.y =
      p.Output("y", DType::kF24, {uint64_t{g.kv_heads} * g.group * g.head_dim});
  op.kv_head = kv_head;
  op.group = g.group;
  op.member = member;
  op.head_dim = g.head_dim;
  op.splits = g.splits;
  op.begin = begin;
  op.count = count;
  p.SetRandom(op.part, 1, 4.0f);
  std::vector<float> part = p.Floats(op.part);
  std::mt19937 generator(2);
  const size_t row = g.head_dim + 4;
  for (size_t r = 0; r < part.size() / row; ++r) {
    float* triple = part.data() + r * row;
    const bool empty = r / g.group % g.splits % 3 == 2;
    if (empty) std::fill_n(triple, row, 0.0f);
    triple[g.head_dim] =
        empty ? -kInfinity : static_cast<float>(generator() % 4000) / 100 - 30;
    triple[g.head_dim + 1] =
        empty ? 0.0f : 1.0f + static_cast<float>(generator() % 100) / 10;
    triple[g.head_dim + 2] = triple[g.head_dim + 3] = 0.0f;
  }
  p.Set(op.part, part);
  p.Append(op);
  return merge;
}

struct Expected {
  std::vector<double> y, tolerance;
};

// Of the first `parts` splits.
Expected Oracle(const Merge& merge, int roundings, size_t parts) {
  const isa::AttentionMergeOperands& op = merge.op;
  const std::vector<double> part = merge.program.Doubles(op.part);
  const size_t row = op.head_dim + 4;
  Expected want;
  want.y.assign(merge.y().size(), OpProgram::kUnwritten);
  want.tolerance.assign(want.y.size(), 0.0);
  for (size_t i = op.begin; i < op.begin + op.count; ++i) {
    double sum = 0, acc = 0, magnitude = 0;
    for (size_t s = 0; s < parts; ++s) {
      const size_t triple =
          ((op.kv_head * op.splits + s) * op.group + op.member) * row;
      // Relative to 0: the scores of the test are small enough for doubles.
      const double weight = std::exp(part[triple + op.head_dim]);
      sum += weight * part[triple + op.head_dim + 1];
      acc += weight * part[triple + i];
      magnitude += weight * std::abs(part[triple + i]);
    }
    const size_t at =
        (op.kv_head * op.group + op.member) * size_t{op.head_dim} + i;
    want.y[at] = acc / sum;
    want.tolerance[at] = roundings * (kF24Epsilon * std::abs(acc / sum) +
                                      1e-5 * magnitude / sum);
  }
  return want;
}

Expected Oracle(const Merge& merge, int roundings) {
  return Oracle(merge, roundings, merge.op.splits);
}

template <typename Fn>
void ForEachCase(Fn fn) {
  for (const Geometry& g : kGeometries) {
    for (const uint32_t member : {0u, g.group - 1}) {
      for (const auto& [begin, count] :
           std::vector<std::pair<uint32_t, uint32_t>>{
               {0, g.head_dim}, {0, 1}, {3, 5}, {g.head_dim - 1, 1}}) {
        SCOPED_TRACE(testing::Message()
                     << "splits " << g.splits << ", head_dim " << g.head_dim
                     << ", member " << member << ", [" << begin << ", +"
                     << count << ")");
        fn(MakeMerge(g, g.kv_heads - 1, member, begin, count));
      }
    }
  }
}

TEST(AttentionMergeTest, Encodes) {
  ExpectEncodes(isa::AttentionMergeOperands{.part = 1,
                                            .y = 2,
                                            .kv_head = 3,
                                            .group = 4,
                                            .member = 5,
                                            .head_dim = 6,
                                            .splits = 7,
                                            .begin = 8,
                                            .count = 9,
                                            .alone = 10,
                                            .block = 11},
                0x22, "attention_merge", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
}

TEST(AttentionMergeTest, IsValidAndRoundTrips) {
  ForEachCase(
      [](const Merge& merge) { ExpectValidAndRoundTrips(merge.program); });
}

TEST(AttentionMergeTest, RejectsBadOperands) {
  using Op = isa::AttentionMergeOperands;
  const Merge merge = MakeMerge({2, 2, 64, 3}, 1, 1, 8, 56);
  const uint32_t part = merge.op.part;
  Rejections reject(merge.program, merge.op);
  reject.Expect("count is 0", [](Op& op) { op.count = 0; });
  reject.Expect("splits is 0", [](Op& op) { op.splits = 0; });
  reject.Expect("member is not below group", [](Op& op) { op.member = 2; });
  for (const uint32_t head_dim : {0u, 4u, 65u, 264u}) {
    reject.Expect("head_dim is not a multiple of 8 in [8, 256]",
                  [=](Op& op) { op.head_dim = head_dim; });
  }
  reject.Expect("begin + count goes past the head",
                [](Op& op) { op.begin = 9; });
  reject.Expect("begin + count goes past the head",
                [](Op& op) { op.begin = 0xfffffff0u; });
  reject.Expect("part does not have one row per split",
                [=](OpProgram& p, Op&) { p.buffer(part).shape[1] = 4; });
  reject.Expect("part does not have one row per head of the group",
                [=](OpProgram& p, Op&) { p.buffer(part).shape[2] = 3; });
  reject.Expect("part does not have head_dim + 4 columns",
                [=](OpProgram& p, Op&) { p.buffer(part).shape[3] = 64; });
  reject.Expect(
      "splits is above 256, too many parts for block to leave some out",
      [=](OpProgram& p, Op& op) {
        op.splits = 257;
        op.block = 1;
        p.buffer(part).shape[1] = 257;
      });
  reject.ExpectComplete();
}

TEST(AttentionMergeTest, MergesTwoSplitsByHand) {
  Merge merge = MakeMerge({1, 1, 8, 2}, 0, 0, 0, 2);
  // Weights 1/4 and 1 after taking out the larger maximum; an m a little
  // below ln(1/4) would show as a wrong ratio.
  const float quarter = -1.3862944f;
  merge.program.Set(merge.op.part,
                    {4, 8, 0, 0, 0, 0, 0, 0, quarter, 4, 0, 0,  //
                     2, 0, 0, 0, 0, 0, 0, 0, 0,       2, 0, 0});
  ASSERT_TRUE(merge.program.RunReference().ok());
  const std::vector<float> y = merge.y();
  EXPECT_NEAR(y[0], 1.0f, 1e-4);         // (4/4 + 2) / (4/4 + 2)
  EXPECT_NEAR(y[1], 2.0f / 3.0f, 1e-4);  // (8/4) / 3
  EXPECT_EQ(y[2], OpProgram::kUnwritten);
}

TEST(AttentionMergeTest, SkipsEmptySplits) {
  Merge merge = MakeMerge({1, 1, 8, 3}, 0, 0, 0, 8);
  std::vector<float> part(3 * 12, 0.0f);
  part[8] = part[24 + 8] = -kInfinity;
  for (size_t i = 0; i < 8; ++i) part[12 + i] = static_cast<float>(i);
  part[12 + 8] = -200.0f;  // e^-200 is 0 in binary32: only ratios count
  part[12 + 9] = 2.0f;
  merge.program.Set(merge.op.part, part);
  ASSERT_TRUE(merge.program.RunReference().ok());
  EXPECT_THAT(merge.y(),
              ElementsAre(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 2.5f, 3.0f, 3.5f));
}

TEST(AttentionMergeTest, MatchesTheOracle) {
  ForEachCase([](Merge merge) {
    const Expected want = Oracle(merge, 1);
    ASSERT_TRUE(merge.program.RunReference().ok());
    ExpectNear(merge.y(), want.y, want.tolerance);
  });
}

template <typename Run>
void ExpectIdleBelowAlone(Run run) {
  ForEachCase([&](Merge merge) {
    merge.op.alone = 5;
    merge.program.ClearInstructions();
    merge.program.Append(merge.op);
    ExpectValidAndRoundTrips(merge.program);
    for (const int64_t position : {0, 4}) {
      Merge idle = merge;
      run(idle.program, position);
      EXPECT_THAT(idle.y(), testing::Each(OpProgram::kUnwritten));
    }
    const Expected want = Oracle(merge, 2);
    for (const int64_t position : {5, 6}) {
      Merge busy = merge;
      run(busy.program, position);
      ExpectNear(busy.y(), want.y, want.tolerance);
    }
  });
}

TEST(AttentionMergeTest, IsIdleBelowAlone) {
  ExpectIdleBelowAlone([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

TEST(AttentionMergeTest, GpuIsIdleBelowAlone) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectIdleBelowAlone([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunGpu(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

// Parts of splits that have no positions yet are not looked at: here they are
// not numbers.
template <typename Run>
void ExpectTakesThePartsThereAre(Run run) {
  constexpr uint32_t kBlock = 3;
  ForEachCase([&](Merge merge) {
    merge.op.block = kBlock;
    merge.program.ClearInstructions();
    merge.program.Append(merge.op);
    ExpectValidAndRoundTrips(merge.program);
    const size_t split_words = merge.op.group * (merge.op.head_dim + 4);
    const size_t first = merge.op.kv_head * merge.op.splits * split_words;
    const uint32_t splits = merge.op.splits;
    for (const uint32_t parts :
         std::set<uint32_t>{1, (splits + 1) / 2, splits - 1, splits}) {
      if (parts == 0) continue;
      Merge some = merge;
      std::vector<float> words = some.program.Floats(some.op.part);
      std::fill(words.begin() + first + parts * split_words,
                words.begin() + first + some.op.splits * split_words,
                std::numeric_limits<float>::quiet_NaN());
      some.program.Set(some.op.part, words);
      const Expected want = Oracle(merge, 2, parts);
      for (const uint32_t position :
           {(parts - 1) * kBlock, parts * kBlock - 1}) {
        Merge ran = some;
        run(ran.program, position);
        ExpectNear(ran.y(), want.y, want.tolerance);
      }
    }
    // Later all have some.
    Merge late = merge;
    run(late.program, merge.op.splits * kBlock * 7);
    const Expected want = Oracle(merge, 2);
    ExpectNear(late.y(), want.y, want.tolerance);
  });
}

TEST(AttentionMergeTest, TakesThePartsThereAre) {
  ExpectTakesThePartsThereAre([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

TEST(AttentionMergeTest, GpuTakesThePartsThereAre) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectTakesThePartsThereAre([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunGpu(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

TEST(AttentionMergeTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  ForEachCase([](Merge reference) {
    const Expected want = Oracle(reference, 2);
    Merge gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<double> y = reference.program.Doubles(reference.op.y);
    ExpectNear(gpu.y(), y, want.tolerance);
  });
}

}  // namespace
}  // namespace mkvm::ops
