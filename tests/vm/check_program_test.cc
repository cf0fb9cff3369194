#include "isa/check_program.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

// The message for a counting program of two workers after `spoil`.
std::string Spoilt(const std::function<void(isa::Program&)>& spoil) {
  isa::Program program = CountingProgram(2);
  EXPECT_TRUE(isa::CheckRunnable(program).ok()) << isa::CheckRunnable(program);
  spoil(program);
  const absl::Status status = isa::CheckRunnable(program);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCpuMachine(program).status(), status);
  return std::string(status.message());
}

TEST(CheckRunnable, RejectsAProgramWithoutWorkers) {
  EXPECT_EQ(Spoilt([](isa::Program& p) { p.queues.clear(); }),
            "the program has no workers");
}

TEST(CheckRunnable, RejectsAQueueWithoutHalt) {
  EXPECT_EQ(Spoilt([](isa::Program& p) { p.queues[1].pop_back(); }),
            "the queue of worker 1 doesn't end with halt");
  EXPECT_EQ(Spoilt([](isa::Program& p) { p.queues[0].clear(); }),
            "the queue of worker 0 doesn't end with halt");
}

TEST(CheckRunnable, RejectsUnknownOpcodes) {
  EXPECT_EQ(Spoilt([](isa::Program& p) { p.queues[1][0].opcode = 0x77; }),
            "worker 1, pc 0 (mix[1], opcode 0x77): unknown opcode");
}

TEST(CheckRunnable, RejectsUnknownCounters) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              Labelled(p, "mix[1]").waits[0].counter = 5;
            }),
            "worker 1, pc 0 (mix[1], gemv): waits for counter #5, which "
            "doesn't exist");
  EXPECT_EQ(Spoilt([](isa::Program& p) { Labelled(p, "mix[1]").signal = 5; }),
            "worker 1, pc 0 (mix[1], gemv): signals counter #5, which doesn't "
            "exist");
  EXPECT_EQ(
      Spoilt([](isa::Program& p) { Labelled(p, "mix[1]").num_waits = 5; }),
      "worker 1, pc 0 (mix[1], gemv): has 5 waits, at most 4 fit");
}

TEST(CheckRunnable, RejectsUnknownBuffers) {
  EXPECT_EQ(
      Spoilt([](isa::Program& p) { Labelled(p, "embed").operands[0] = 99; }),
      "worker 0, pc 0 (embed, embed): operand tokens is buffer #99, "
      "which doesn't exist");
}

TEST(CheckRunnable, RejectsAMissingBufferThatIsNotOptional) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              Labelled(p, "embed").operands[2] = isa::kNoBuffer;
            }),
            "worker 0, pc 0 (embed, embed): operand y is buffer #4294967295, "
            "which doesn't exist");
}

TEST(CheckRunnable, RejectsAnotherDtype) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              Labelled(p, "embed").operands[0] = isa::FindBuffer(p, "x");
            }),
            "worker 0, pc 0 (embed, embed): operand tokens can't be x, which "
            "is f24");
}

TEST(CheckRunnable, RejectsWritesToWeightsAndInputs) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              p.buffers[isa::FindBuffer(p, "x")].kind = isa::BufferKind::kInput;
            }),
            "worker 0, pc 0 (embed, embed): operand y writes input x");
}

TEST(CheckRunnable, RejectsBrokenRequirements) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              p.buffers[isa::FindBuffer(p, "mix")].shape = {64, 32};
            }),
            "worker 0, pc 1 (mix[0], gemv): k is not the number of columns of "
            "w");
}

TEST(CheckRunnable, RejectsAccessesOutsideTheirBuffer) {
  EXPECT_EQ(Spoilt([](isa::Program& p) {
              p.buffers[isa::FindBuffer(p, "x")].shape = {63};
            }),
            "worker 0, pc 0 (embed, embed): 64 elements of x from 0 on go past "
            "its 63");
}

}  // namespace
}  // namespace mkvm::vm
