#include "scheduler/activity.h"

#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

// By label: of the first instruction whose label begins so.
isa::Instruction First(const isa::Program& program, const std::string& label) {
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (program.labels[w][pc].rfind(label, 0) == 0) {
        return program.queues[w][pc];
      }
    }
  }
  ADD_FAILURE() << "no instruction's label begins with " << label;
  return {};
}

TEST(ActivityTest, SplitsBeginWithTheirPositionsAndMergesWithTwo) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(6));
  int other_splits = 0;
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    const Positions active = ActivePositions(program, i);
    uint64_t first = 0;
    if (Is(i, isa::Opcode::kAttentionMerge)) first = 64;
    if (Is(i, isa::Opcode::kAttention)) {
      const auto op = isa::DecodeOperands<isa::AttentionOperands>(i);
      first = 64 * op.split;
      if (op.split > 1) ++other_splits;
    }
    EXPECT_EQ(active.first, first);
    EXPECT_EQ(active.end, isa::Access::kNoEnd);
  });
  EXPECT_GT(other_splits, 0);
}

TEST(ActivityTest, AttentionStandsInForTheMergesThatTheProjectionWaitsFor) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(6));
  const Writers writers(program);
  const isa::Instruction o = First(program, "L00.o");
  const uint32_t merged = First(program, "L00.merge").signal;
  const std::vector<Writers::StandIn> stand_ins = writers.StandInsOf(o, merged);
  // One per kv head.
  ASSERT_EQ(stand_ins.size(), 2u);
  for (const Writers::StandIn& other : stand_ins) {
    EXPECT_TRUE(other.positions.Contains(63));
    EXPECT_FALSE(other.positions.Contains(64));
    EXPECT_NE(other.counter, merged);
  }
  // Another layer's, which it doesn't read.
  EXPECT_TRUE(
      writers.StandInsOf(o, First(program, "L01.merge").signal).empty());
  // What always has a writer needs none.
  EXPECT_TRUE(writers.StandInsOf(o, First(program, "L00.qkv").signal).empty());
}

TEST(ActivityTest, WithoutWorkingAloneAllAreAlwaysActive) {
  const isa::Program program =
      MustCompile(OddConfig(), TestTarget(6), {.attend_alone = false});
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    EXPECT_EQ(ActivePositions(program, i).first, 0u);
  });
}

}  // namespace
}  // namespace mkvm::scheduler
