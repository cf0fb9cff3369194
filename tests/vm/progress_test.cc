#include "vm/progress.h"

#include <gtest/gtest.h>

#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

TEST(WaitTarget, FollowsTheRuleOfTheInstruction) {
  isa::Program program;
  program.counters = {{"a", 3}};
  isa::Instruction instruction;
  isa::AddWait(instruction, 0, 3);
  isa::AddWait(instruction, 0, 3, /*lag=*/true);
  EXPECT_EQ(WaitTarget(program, instruction, 0, 0), 3u);
  EXPECT_EQ(WaitTarget(program, instruction, 0, 5), 18u);
  EXPECT_EQ(WaitTarget(program, instruction, 1, 0), 0u);
  EXPECT_EQ(WaitTarget(program, instruction, 1, 1), 3u);
  EXPECT_EQ(WaitTarget(program, instruction, 1, 5), 15u);
}

TEST(WaitTarget, DoesNotWrapAfterManyPasses) {
  isa::Program program;
  program.counters = {{"a", 100000}};
  isa::Instruction instruction;
  isa::AddWait(instruction, 0, 100000);
  EXPECT_EQ(WaitTarget(program, instruction, 0, 2000000000u),
            2000000001u * uint64_t{100000});
}

TEST(MovePast, HaltEndsThePassAndLeavesAtTheLimitOrTheFlag) {
  int32_t flag = 0;
  const ops::HostBuffer stop = {&flag, isa::DType::kI32, {}};
  isa::HaltOperands op;
  const isa::Instruction without = isa::Encode(op);
  op.stop = 0;
  const isa::Instruction with = isa::Encode(op);
  WorkerPlace place = {.pass = 0, .pc = 0};
  MovePast(isa::Encode(isa::NopOperands()), {}, 3, place);
  EXPECT_EQ(place.pc, 1u);
  MovePast(without, {}, 3, place);
  EXPECT_EQ(place.pc, 0u);
  EXPECT_EQ(place.pass, 1u);
  EXPECT_FALSE(place.left);
  MovePast(with, absl::MakeConstSpan(&stop, 1), 3, place);
  EXPECT_FALSE(place.left);
  WorkerPlace limited = place;
  MovePast(with, absl::MakeConstSpan(&stop, 1), 3, limited);
  EXPECT_TRUE(limited.left);
  EXPECT_FALSE(limited.stopped);
  EXPECT_EQ(limited.pass, 3u);
  flag = 1;
  MovePast(with, absl::MakeConstSpan(&stop, 1), 30, place);
  EXPECT_TRUE(place.left);
  EXPECT_TRUE(place.stopped);
}

// Worker 0 waits for b, which worker 1 would signal if it did not wait for a,
// which nobody signals.
TEST(StuckWorkers, PutsTheCauseBeforeItsVictims) {
  ProgramBuilder b(2);
  const uint32_t a_counter = b.Counter("a");
  const uint32_t b_counter = b.Counter("b");
  b.Add(0, "victim", isa::NopOperands(), {{b_counter}});
  b.Add(0, "halt0", isa::HaltOperands());
  b.Add(1, "cause", isa::NopOperands(), {{a_counter}}, b_counter);
  b.Add(1, "halt1", isa::HaltOperands());
  isa::Program program = b.Build();
  program.counters[a_counter].producers = 1;
  program.queues[1][0].waits[0].threshold = 1;
  const std::vector<WorkerPlace> places(2);
  const std::vector<uint64_t> counts = {0, 0};
  const std::vector<Fault> stuck = StuckWorkers(program, places, counts);
  ASSERT_EQ(stuck.size(), 2u);
  EXPECT_EQ(stuck[0].worker, 1u);
  EXPECT_EQ(stuck[0].what, a_counter);
  EXPECT_EQ(stuck[0].seen, 0u);
  EXPECT_EQ(stuck[0].wanted, 1u);
  EXPECT_EQ(stuck[1].worker, 0u);
  EXPECT_EQ(stuck[1].what, b_counter);
}

TEST(StuckWorkers, IgnoresWorkersThatLeftOrCanGoOn) {
  ProgramBuilder b(2);
  const uint32_t a = b.Counter("a");
  b.Add(0, "gives", isa::NopOperands(), {}, a);
  b.Add(0, "halt0", isa::HaltOperands());
  b.Add(1, "takes", isa::NopOperands(), {{a}});
  b.Add(1, "halt1", isa::HaltOperands());
  const isa::Program program = b.Build();
  std::vector<WorkerPlace> places(2);
  const std::vector<uint64_t> none = {0};
  EXPECT_EQ(StuckWorkers(program, places, none).size(), 1u);
  const std::vector<uint64_t> one = {1};
  EXPECT_TRUE(StuckWorkers(program, places, one).empty());
  places[1].left = true;
  EXPECT_TRUE(StuckWorkers(program, places, none).empty());
}

TEST(AtPlace, KeepsTheCodeAndAddsThePlace) {
  ProgramBuilder b(1);
  b.Add(0, "L00.x", isa::NopOperands());
  b.Add(0, "", isa::HaltOperands());
  const isa::Program program = b.Build();
  EXPECT_EQ(
      AtPlace(program, 0, {.pass = 4, .pc = 0},
              absl::OutOfRangeError("too far")),
      absl::OutOfRangeError("worker 0, pass 4, pc 0 (L00.x, nop): too far"));
  EXPECT_EQ(
      AtPlace(program, 0, {.pass = 4, .pc = 1}, absl::InternalError("odd")),
      absl::InternalError("worker 0, pass 4, pc 1 (halt): odd"));
}

}  // namespace
}  // namespace mkvm::vm
