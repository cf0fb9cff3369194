#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/dot.h"
#include "tests/ops/attention_oracle.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using attention_testing::AppendMerges;
using attention_testing::Attention;
using attention_testing::ExpectMatchesOracle;
using attention_testing::ForEachPosition;
using attention_testing::Geometry;
using attention_testing::kGeometries;
using attention_testing::MakeAloneAttention;
using attention_testing::MakeAttention;
using attention_testing::Oracle;
using attention_testing::Softmax;
using isa::AttentionPrologue;
using isa::DType;
using ::testing::HasSubstr;

TEST(AttentionTest, Encodes) {
  ExpectEncodes(
      isa::AttentionOperands{.q = 1,
                             .k = 2,
                             .v = 3,
                             .q_norm = 4,
                             .k_norm = 5,
                             .rope = 6,
                             .k_cache = 7,
                             .v_cache = 8,
                             .part = 9,
                             .y = 10,
                             .kv_head = 11,
                             .group = 12,
                             .head_dim = 13,
                             .split = 14,
                             .splits = 15,
                             .block = 16,
                             .eps = 0.5f,
                             .prologue = AttentionPrologue::kQkNormRope,
                             .alone = 17},
      0x21, "attention",
      {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x3f000000u, 1,
       17});
}

TEST(AttentionTest, IsValidAndRoundTrips) {
  for (const Geometry& g : kGeometries) {
    ExpectValidAndRoundTrips(MakeAttention(g, 0, g.splits - 1, 0).program);
    ExpectValidAndRoundTrips(
        MakeAttention(g, g.kv_heads - 1, 0, 0, AttentionPrologue::kQkNormRope)
            .program);
    for (const uint32_t split : {0u, g.splits - 1}) {
      ExpectValidAndRoundTrips(
          MakeAloneAttention(g, g.kv_heads - 1, split, 0, g.block).program);
    }
  }
}

TEST(AttentionTest, RejectsBadOperands) {
  using Op = isa::AttentionOperands;
  const Attention attention = MakeAloneAttention(
      {2, 2, 64, 3, 4, 12}, 1, 0, 0, 4, AttentionPrologue::kQkNormRope);
  const Op& good = attention.op;
  Rejections reject(attention.program, attention.op);
  for (const uint32_t group : {0u, 17u}) {
    reject.Expect("group is not in [1, 16]", [=](Op& op) { op.group = group; });
  }
  for (const uint32_t head_dim : {0u, 4u, 65u, 264u}) {
    reject.Expect("head_dim is not a multiple of 8 in [8, 256]",
                  [=](Op& op) { op.head_dim = head_dim; });
  }
  reject.Expect("split is not below splits", [](Op& op) { op.split = 3; });
  reject.Expect("split is not below splits",
                [](Op& op) { op.split = op.splits = 0; });
  reject.Expect("block is 0", [](Op& op) { op.block = op.alone = 0; });
  reject.Expect(
      "alone is above block, so that split 0 does not hold all positions below "
      "it",
      [](Op& op) { op.alone = 5; });
  reject.Expect(
      "alone is above split * block, so that the split holds positions below "
      "it",
      [](Op& op) {
        op.split = 2;
        op.y = isa::kNoBuffer;
        op.alone = 9;
      });
  for (const auto& spoil : std::vector<std::function<void(Op&)>>{
           [](Op& op) { op.y = isa::kNoBuffer; }, [](Op& op) { op.alone = 0; },
           [](Op& op) { op.split = 1; }}) {
    reject.Expect("y is given exactly when split is 0 and alone is above 0",
                  spoil);
  }
  for (const uint32_t cache : {good.k_cache, good.v_cache}) {
    reject.Expect("a cache does not have head_dim columns",
                  [=](OpProgram& p, Op&) { p.buffer(cache).shape[2] = 72; });
    reject.Expect("the caches differ in capacity",
                  [=](OpProgram& p, Op&) { p.buffer(cache).shape[1] = 16; });
  }
  reject.Expect("the cache's capacity is not whole blocks",
                [](Op& op) { op.block = 5; });
  reject.Expect("part does not have one row per split",
                [&](OpProgram& p, Op&) { p.buffer(good.part).shape[1] = 4; });
  reject.Expect("part does not have one row per head of the group",
                [&](OpProgram& p, Op&) { p.buffer(good.part).shape[2] = 3; });
  reject.Expect("part does not have head_dim + 4 columns",
                [&](OpProgram& p, Op&) { p.buffer(good.part).shape[3] = 64; });
  for (uint32_t Op::*field :
       {&Op::k, &Op::v, &Op::q_norm, &Op::k_norm, &Op::rope}) {
    reject.Expect(
        "k, v, q_norm, k_norm and rope are given exactly when prologue is "
        "qk_norm_rope",
        [=](Op& op) { op.*field = isa::kNoBuffer; });
    reject.Expect("k, v, q_norm, k_norm and rope are not used by prologue none",
                  [=](Op& op) {
                    const uint32_t kept = op.*field;
                    op.k = op.v = op.q_norm = op.k_norm = op.rope =
                        isa::kNoBuffer;
                    op.*field = kept;
                    op.prologue = AttentionPrologue::kNone;
                  });
  }
  reject.Expect("rope does not have head_dim columns",
                [&](OpProgram& p, Op&) { p.buffer(good.rope).shape[1] = 72; });
  reject.Expect("rope has more positions than the cache",
                [&](OpProgram& p, Op&) { p.buffer(good.rope).shape[0] = 37; });
  for (const float eps : {-1.0f, 1.0f, std::nanf("")}) {
    reject.Expect("eps is not in [0, 1)", [=](Op& op) { op.eps = eps; });
  }
  reject.ExpectComplete();
}

TEST(AttentionTest, WeighsTwoPositionsByHand) {
  Attention attention = MakeAttention({1, 1, 8, 1, 8, 8}, 0, 0, 1);
  OpProgram& p = attention.program;
  std::vector<float> q(8, 0.0f), k(64, 0.0f), v(64, 0.0f);
  q[0] = std::sqrt(8.0f);
  k[0] = 1.0f, k[8] = 3.0f;  // scores 1 and 3
  v[0] = 1.0f, v[8 + 1] = 2.0f;
  p.Set(attention.op.q, q);
  p.Set(attention.op.k_cache, k);
  p.Set(attention.op.v_cache, v);
  ASSERT_TRUE(p.RunReference(1).ok());
  const std::vector<float> triple = attention.Triple(0);
  const float small = std::exp(-2.0f);
  EXPECT_NEAR(triple[0], small, 1e-4);
  EXPECT_NEAR(triple[1], 2.0f, 1e-4);
  EXPECT_EQ(triple[2], 0.0f);
  EXPECT_NEAR(triple[8], 3.0f, 1e-4);
  EXPECT_NEAR(triple[9], 1.0f + small, 1e-4);
}

TEST(AttentionTest, EveryKernelGivesTheSameBits) {
  DotKernel kernels[3];
  const size_t n = SupportedDotKernels(kernels);
  ForEachPosition([&](const Geometry& g, int64_t position) {
    const Attention attention = MakeAttention(g, g.kv_heads - 1, 0, position);
    std::vector<std::string> parts;
    for (size_t i = 0; i < n; ++i) {
      ASSERT_TRUE(SelectDotKernel(kernels[i].name).ok());
      Attention run = attention;
      ASSERT_TRUE(run.program.RunReference(position).ok());
      parts.push_back(run.program.bytes(run.op.part));
    }
    EXPECT_THAT(parts, testing::Each(parts[0]));
  });
  ASSERT_TRUE(SelectDotKernel("").ok());
}

TEST(AttentionTest, MatchesTheOracleInEverySplit) {
  ForEachPosition([](const Geometry& g, int64_t position) {
    for (uint32_t split = 0; split < g.splits; ++split) {
      SCOPED_TRACE(testing::Message() << "split " << split);
      Attention attention = MakeAttention(g, g.kv_heads - 1, split, position);
      const Attention before = attention;
      const absl::Status status = attention.program.RunReference(position);
      ASSERT_TRUE(status.ok()) << status;
      ExpectMatchesOracle(attention);
      // Nothing else was written.
      const std::vector<float> part =
          attention.program.Floats(attention.op.part);
      const size_t begin = attention.part_begin();
      const size_t end = begin + g.group * (g.head_dim + 4);
      for (size_t i = 0; i < part.size(); ++i) {
        if (i < begin || i >= end) {
          ASSERT_EQ(part[i], OpProgram::kUnwritten);
        }
      }
      EXPECT_EQ(attention.program.bytes(attention.op.k_cache),
                before.program.bytes(attention.op.k_cache));
      EXPECT_EQ(attention.program.bytes(attention.op.v_cache),
                before.program.bytes(attention.op.v_cache));
    }
  });
}

TEST(AttentionTest, KeepsLargeScoresFinite) {
  Attention attention = MakeAttention({1, 1, 8, 1, 8, 8}, 0, 0, 7);
  std::vector<float> q(8, 3000.0f);
  attention.program.Set(attention.op.q, q);
  ASSERT_TRUE(attention.program.RunReference(7).ok());
  for (const float value : attention.Triple(0)) {
    EXPECT_TRUE(std::isfinite(value)) << value;
  }
  EXPECT_GT(attention.Triple(0)[9], 0.9f);
}

TEST(AttentionTest, ReportsAPositionPastTheCache) {
  for (const AttentionPrologue prologue :
       {AttentionPrologue::kNone, AttentionPrologue::kQkNormRope}) {
    Attention attention =
        MakeAttention({2, 2, 64, 3, 4, 12}, 1, 0, 35, prologue);
    EXPECT_TRUE(attention.program.RunReference(35).ok());
    const absl::Status status = attention.program.RunReference(36);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()), HasSubstr("position 36"));
  }
}

// ---- fused and merged

// All splits of all kv heads, with the prologue inside of attention or before.
OpProgram WholeAttention(const Geometry& g, int64_t position, bool fused) {
  Attention attention =
      MakeAttention(g, 0, 0, position, AttentionPrologue::kQkNormRope);
  OpProgram& p = attention.program;
  const isa::AttentionOperands& raw = attention.op;
  const uint64_t q_elements = uint64_t{g.kv_heads} * g.group * g.head_dim;
  const uint32_t roped =
      fused ? isa::kNoBuffer : p.Activation("roped", DType::kF24, {q_elements});
  p.buffer(raw.part).kind = isa::BufferKind::kActivation;  // all is written
  p.ClearInstructions();
  for (uint32_t head = 0; head < g.kv_heads && !fused; ++head) {
    p.Append(isa::QkNormRopeAppendOperands{.q = raw.q,
                                           .k = raw.k,
                                           .v = raw.v,
                                           .q_norm = raw.q_norm,
                                           .k_norm = raw.k_norm,
                                           .rope = raw.rope,
                                           .k_cache = raw.k_cache,
                                           .v_cache = raw.v_cache,
                                           .q_out = roped,
                                           .kv_head = head,
                                           .group = g.group,
                                           .head_dim = g.head_dim,
                                           .splits = g.splits,
                                           .block = g.block,
                                           .eps = raw.eps});
  }
  for (uint32_t head = 0; head < g.kv_heads; ++head) {
    for (uint32_t split = 0; split < g.splits; ++split) {
      isa::AttentionOperands op = raw;
      op.kv_head = head;
      op.split = split;
      if (!fused) {
        op.prologue = AttentionPrologue::kNone;
        op.q = roped;
        op.k = op.v = op.q_norm = op.k_norm = op.rope = isa::kNoBuffer;
      }
      p.Append(op);
    }
  }
  return p;
}

template <typename Run>
void ExpectFusedEqualsUnfused(Run run) {
  ForEachPosition([&](const Geometry& g, int64_t position) {
    OpProgram fused = WholeAttention(g, position, true);
    OpProgram unfused = WholeAttention(g, position, false);
    ExpectValidAndRoundTrips(fused);
    ExpectValidAndRoundTrips(unfused);
    run(fused, position);
    run(unfused, position);
    const isa::Program program = fused.Build();
    for (const char* name : {"part", "k_cache", "v_cache"}) {
      const uint32_t id = isa::FindBuffer(program, name);
      EXPECT_EQ(fused.bytes(id), unfused.bytes(id)) << name;
    }
    // Every position up to this one is there now.
    for (const float value : fused.Floats(isa::FindBuffer(program, "part"))) {
      ASSERT_FALSE(std::isnan(value));
    }
  });
}

TEST(AttentionTest, FusedPrologueGivesTheBitsOfTheUnfusedForm) {
  ExpectFusedEqualsUnfused([](OpProgram& p, int64_t position) {
    const absl::Status status = p.RunReference(position);
    ASSERT_TRUE(status.ok()) << status;
  });
}

// One kv head's splits and their merge into y. Returns y's id.
uint32_t AppendSplitsAndMerge(Attention& attention) {
  OpProgram& p = attention.program;
  isa::AttentionOperands op = attention.op;
  const Geometry& g = attention.geometry;
  const uint32_t y = p.Activation(
      "y", DType::kF24, {uint64_t{g.kv_heads} * g.group * g.head_dim});
  p.buffer(op.part).kind = isa::BufferKind::kActivation;  // all is written
  p.ClearInstructions();
  for (op.split = 0; op.split < g.splits; ++op.split) p.Append(op);
  AppendMerges(attention, y);
  return y;
}

template <typename Run>
void ExpectSplitsMergeToTheWhole(Run run) {
  ForEachPosition([&](Geometry g, int64_t position) {
    g.kv_heads = 1;  // a merge reads the parts of its kv head only
    Attention attention = MakeAttention(g, 0, 0, position);
    const uint32_t y = AppendSplitsAndMerge(attention);
    ExpectValidAndRoundTrips(attention.program);
    std::vector<double> want, tolerance;
    for (uint32_t member = 0; member < g.group; ++member) {
      const Softmax whole = Oracle(attention, member, /*all_splits=*/true);
      for (uint32_t i = 0; i < g.head_dim; ++i) {
        want.push_back(whole.acc[i] / whole.sum);
        // acc and l of each split, and y, are rounded.
        tolerance.push_back((3 * kF24Epsilon + 4 * whole.score_error + 1e-5) *
                            whole.magnitude[i] / whole.sum);
      }
    }
    run(attention.program, position);
    ExpectNear(attention.program.Floats(y), want, tolerance);
  });
}

TEST(AttentionTest, SplitsMergeToTheWhole) {
  ExpectSplitsMergeToTheWhole([](OpProgram& p, int64_t position) {
    ASSERT_TRUE(p.RunReference(position).ok());
  });
}

// ---- on the device

void RunOnGpu(OpProgram& p, int64_t position) {
  const absl::Status status = p.RunGpu(position);
  ASSERT_TRUE(status.ok()) << status;
}

TEST(AttentionTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  ForEachPosition([](const Geometry& g, int64_t position) {
    for (uint32_t split = 0; split < g.splits; ++split) {
      SCOPED_TRACE(testing::Message() << "split " << split);
      Attention gpu = MakeAttention(g, g.kv_heads - 1, split, position);
      Attention reference = gpu;
      RunOnGpu(gpu.program, position);
      ASSERT_TRUE(reference.program.RunReference(position).ok());
      ExpectMatchesOracle(gpu);
      EXPECT_EQ(gpu.program.bytes(gpu.op.k_cache),
                reference.program.bytes(gpu.op.k_cache));
      for (uint32_t member = 0; member < g.group; ++member) {
        const std::vector<float> a = gpu.Triple(member);
        const std::vector<float> b = reference.Triple(member);
        const uint32_t n = g.head_dim;
        if (b[n + 1] == 0.0f) {
          EXPECT_EQ(a, b);
          continue;
        }
        const double error =
            2 * Oracle(reference, member, false).score_error + 8e-6;
        EXPECT_NEAR(a[n], b[n], 3 * kF24Epsilon * std::abs(b[n]) + error);
        EXPECT_NEAR(a[n + 1] * std::exp(a[n] - b[n]), b[n + 1],
                    (2 * kF24Epsilon + 2 * error) * b[n + 1]);
      }
    }
  });
}

TEST(AttentionTest, GpuFusedPrologueGivesTheBitsOfTheUnfusedForm) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectFusedEqualsUnfused(RunOnGpu);
}

TEST(AttentionTest, GpuSplitsMergeToTheWhole) {
  MKVM_SKIP_WITHOUT_GPU();
  ExpectSplitsMergeToTheWhole(RunOnGpu);
}

TEST(AttentionTest, GpuReportsAPositionPastTheCache) {
  MKVM_SKIP_WITHOUT_GPU();
  Attention attention = MakeAttention({2, 2, 64, 3, 4, 12}, 1, 0, 35);
  const absl::Status status = attention.program.RunGpu(36);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("36"));
}

}  // namespace
}  // namespace mkvm::ops
