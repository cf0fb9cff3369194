// Programs cut into levels: every instruction once, in order, as early as its
// waits allow and no earlier.
#include "vm/levels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model/config.h"
#include "scheduler/compile.h"
#include "scheduler/target.h"
#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Levels, AWaitBeginsALevelAndWhatWaitsForNothingDoesNot) {
  ProgramBuilder builder(2);
  const uint32_t a = builder.Counter("a");
  const uint32_t b = builder.Counter("b");
  const isa::NopOperands nop;
  builder.Add(0, "a0", nop, {}, a);
  builder.Add(0, "free", nop);
  builder.Add(0, "after_b", nop, {{b}});
  builder.Add(0, "halt", isa::HaltOperands{});
  builder.Add(1, "before_a", nop);
  builder.Add(1, "b0", nop, {{a}}, b);
  builder.Add(1, "halt", isa::HaltOperands{});
  const absl::StatusOr<Levels> levels = CutIntoLevels(builder.Build());
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(ElementsAre(2, 1), ElementsAre(2, 3),
                                   ElementsAre(4, 3)));
}

TEST(Levels, AWaitForTheOwnWorkerBeginsALevelToo) {
  ProgramBuilder builder(1);
  const uint32_t a = builder.Counter("a");
  builder.Add(0, "a0", isa::NopOperands{}, {}, a);
  builder.Add(0, "a1", isa::NopOperands{}, {{a}});
  builder.Add(0, "halt", isa::HaltOperands{});
  const absl::StatusOr<Levels> levels = CutIntoLevels(builder.Build());
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(ElementsAre(1), ElementsAre(3)));
}

TEST(Levels, AWaitForThePassBeforeIsMet) {
  const isa::Program program = AccumulatingProgram();
  const absl::StatusOr<Levels> levels = CutIntoLevels(program);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_LE(levels->size(), 2u);
}

TEST(Levels, AWaitThatNothingMeetsIsNamed) {
  ProgramBuilder builder(1);
  const uint32_t a = builder.Counter("a");
  builder.Add(0, "first", isa::NopOperands{}, {{a}});
  builder.Add(0, "second", isa::NopOperands{}, {}, a);
  builder.Add(0, "halt", isa::HaltOperands{});
  const absl::Status status = CutIntoLevels(builder.Build()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("worker 0, pc 0 (first, nop) waits for counter a"),
            HasSubstr("0 signals can come before it, 1 are wanted")));
}

// The level of worker w's instruction `pc`.
size_t LevelOf(const Levels& levels, uint32_t w, uint32_t pc) {
  size_t level = 0;
  while (levels[level][w] <= pc) ++level;
  return level;
}

TEST(Levels, OfAModelHoldWhatTheyMust) {
  const model::Config config = *model::FindConfig("qwen3-tiny");
  for (const bool fuse : {true, false}) {
    for (const uint32_t workers : {1u, 7u, 128u}) {
      SCOPED_TRACE(testing::Message() << fuse << " " << workers);
      scheduler::Target target = *scheduler::FindTarget("h200");
      target.workers = workers;
      const isa::Program program = *scheduler::Compile(
          config, target, {.max_context = 64, .fuse = fuse});
      const absl::StatusOr<Levels> levels = CutIntoLevels(program);
      ASSERT_TRUE(levels.ok()) << levels.status();
      // Where the last signal of each counter comes from.
      std::vector<size_t> made(program.counters.size(), 0);
      for (uint32_t w = 0; w < workers; ++w) {
        ASSERT_EQ(levels->back()[w], program.queues[w].size());
        for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
          const uint32_t signal = program.queues[w][pc].signal;
          if (signal == isa::kNoCounter) continue;
          made[signal] = std::max(made[signal], LevelOf(*levels, w, pc));
        }
      }
      for (uint32_t w = 0; w < workers; ++w) {
        size_t before = 0;
        for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
          const isa::Instruction& instruction = program.queues[w][pc];
          size_t earliest = before;
          for (int i = 0; i < instruction.num_waits; ++i) {
            if (instruction.WaitIsLagged(i)) continue;
            earliest =
                std::max(earliest, made[instruction.waits[i].counter] + 1);
          }
          before = LevelOf(*levels, w, pc);
          ASSERT_EQ(before, earliest) << "worker " << w << " pc " << pc;
        }
      }
    }
  }
}

// The ops of a layer follow one another, each in a level of its own: tiles of
// one op that share no wait would show as more.
TEST(Levels, ALayerAddsTheSameNumber) {
  scheduler::Target target = *scheduler::FindTarget("h200");
  model::Config config = *model::FindConfig("qwen3-tiny");
  const auto levels_of = [&](uint32_t layers) {
    config.num_layers = layers;
    return CutIntoLevels(
               *scheduler::Compile(config, target, {.max_context = 64}))
        ->size();
  };
  const size_t one = levels_of(1);
  const size_t step = levels_of(2) - one;
  EXPECT_GT(step, 0u);
  EXPECT_LE(step, 8u);
  EXPECT_EQ(levels_of(5), one + 4 * step);
}

}  // namespace
}  // namespace mkvm::vm
