// attention with `alone`: split 0 works alone below that position.
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/attention_oracle.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using attention_testing::AppendMerges;
using attention_testing::Attention;
using attention_testing::ExpectMatchesOracle;
using attention_testing::ForEachAlonePosition;
using attention_testing::Geometry;
using attention_testing::kGeometries;
using attention_testing::MakeAloneAttention;
using attention_testing::MakeAttention;
using isa::AttentionPrologue;

// Split 0 writes what the merge of its part would give, within so many
// roundings, and nothing else.
template <typename Run>
void ExpectSplit0WritesTheMergeAlone(Run run, int roundings) {
  ForEachAlonePosition([&](const Geometry& g, int64_t position,
                           AttentionPrologue prologue) {
    Attention alone =
        MakeAloneAttention(g, g.kv_heads - 1, 0, position, g.block, prologue);
    Attention parts = alone;
    parts.program.ClearInstructions();
    for (parts.op.split = 0; parts.op.split < g.splits; ++parts.op.split) {
      isa::AttentionOperands op = parts.op;
      op.y = isa::kNoBuffer;
      op.alone = 0;
      parts.program.Append(op);
    }
    AppendMerges(parts, parts.op.y);
    run(alone.program, position);
    run(parts.program, position);
    const std::vector<float> y = alone.program.Floats(alone.op.y);
    const std::vector<float> want = parts.program.Floats(parts.op.y);
    ASSERT_EQ(y.size(), want.size());
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], want[i], roundings * kF24Epsilon * std::abs(want[i]))
          << i;
    }
    EXPECT_THAT(alone.program.Floats(alone.op.part),
                testing::Each(OpProgram::kUnwritten));
    for (const uint32_t cache : {alone.op.k_cache, alone.op.v_cache}) {
      EXPECT_EQ(alone.program.bytes(cache), parts.program.bytes(cache));
    }
  });
}

TEST(AttentionAloneTest, AloneSplit0WritesWhatTheMergeWould) {
  const auto run = [](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  };
  ExpectSplit0WritesTheMergeAlone(run, /*roundings=*/0);
}

template <typename Run>
void ExpectOtherSplitsIdle(Run run) {
  ForEachAlonePosition(
      [&](const Geometry& g, int64_t position, AttentionPrologue prologue) {
        for (uint32_t split = 1; split < g.splits; ++split) {
          Attention idle = MakeAloneAttention(g, g.kv_heads - 1, split,
                                              position, g.block, prologue);
          const Attention before = idle;
          run(idle.program, position);
          for (uint32_t id = 0; id < idle.program.num_buffers(); ++id) {
            EXPECT_EQ(idle.program.bytes(id), before.program.bytes(id)) << id;
          }
        }
      });
}

TEST(AttentionAloneTest, AloneOtherSplitsTouchNothing) {
  ExpectOtherSplitsIdle([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

// The first pass that is not below `alone`, and later ones.
template <typename Run>
void ExpectPartsFromAloneOn(Run run) {
  for (const Geometry& g : kGeometries) {
    for (const uint32_t alone : {1u, g.block}) {
      for (const int64_t position : {int64_t{alone}, int64_t{alone} + 1}) {
        if (position >= static_cast<int64_t>(g.splits * g.capacity)) continue;
        for (uint32_t split = 0; split < g.splits; ++split) {
          SCOPED_TRACE(testing::Message()
                       << "head_dim " << g.head_dim << ", splits " << g.splits
                       << ", split " << split << ", alone " << alone
                       << ", position " << position);
          Attention with =
              MakeAloneAttention(g, g.kv_heads - 1, split, position, alone);
          Attention without = MakeAttention(g, g.kv_heads - 1, split, position);
          run(with.program, position);
          run(without.program, position);
          EXPECT_EQ(with.program.bytes(with.op.part),
                    without.program.bytes(without.op.part));
          ExpectMatchesOracle(with);
          if (split > 0) continue;
          EXPECT_THAT(with.program.Floats(with.op.y),
                      testing::Each(OpProgram::kUnwritten));
        }
      }
    }
  }
}

TEST(AttentionAloneTest, FromAloneOnEverySplitWritesItsPart) {
  ExpectPartsFromAloneOn([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

// Each split but the first until its first position: nothing; then what it
// would do without.
template <typename Run>
void ExpectIdleUntilItsFirstBlock(Run run) {
  for (const Geometry& g : kGeometries) {
    for (uint32_t split = 1; split < g.splits; ++split) {
      const uint32_t begin = split * g.block;
      for (const int64_t position :
           {int64_t{begin} - 1, int64_t{begin}, int64_t{begin} + 1}) {
        if (position >= static_cast<int64_t>(g.splits * g.capacity)) continue;
        SCOPED_TRACE(testing::Message()
                     << "head_dim " << g.head_dim << ", splits " << g.splits
                     << ", split " << split << ", position " << position);
        Attention with =
            MakeAloneAttention(g, g.kv_heads - 1, split, position, begin);
        Attention without = MakeAttention(g, g.kv_heads - 1, split, position);
        run(with.program, position);
        if (position < begin) {
          EXPECT_THAT(with.program.Floats(with.op.part),
                      testing::Each(OpProgram::kUnwritten));
          continue;
        }
        run(without.program, position);
        EXPECT_EQ(with.program.bytes(with.op.part),
                  without.program.bytes(without.op.part));
        ExpectMatchesOracle(with);
      }
    }
  }
}

TEST(AttentionAloneTest, ASplitIsIdleUntilItsFirstBlock) {
  ExpectIdleUntilItsFirstBlock([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

// ---- on the device

void RunOnGpu(OpProgram& p, int64_t position) {
  const absl::Status status = p.RunGpu(position);
  ASSERT_TRUE(status.ok()) << status;
}

TEST(AttentionAloneTest, GpuAloneSplit0WritesWhatTheMergeWould) {
  MKVM_SKIP_WITHOUT_GPU();
  // The merge's acc, l and y; the whole result is rounded once.
  ExpectSplit0WritesTheMergeAlone(RunOnGpu, /*roundings=*/4);
}

TEST(AttentionAloneTest, GpuASplitIsIdleUntilItsFirstBlock) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectIdleUntilItsFirstBlock(RunOnGpu);
}

TEST(AttentionAloneTest, GpuAloneOtherSplitsTouchNothing) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectOtherSplitsIdle(RunOnGpu);
}

TEST(AttentionAloneTest, GpuFromAloneOnEverySplitWritesItsPart) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectPartsFromAloneOn(RunOnGpu);
}

}  // namespace
}  // namespace mkvm::ops
