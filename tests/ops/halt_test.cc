#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

struct Halt {
  OpProgram program;  // an advance that decides, and the halt
  isa::HaltOperands op;
};

// A loop that starts at position 0 and stops when it has reached `end`.
Halt MakeHalt(int32_t end) {
  Halt halt;
  OpProgram& p = halt.program;
  isa::AdvanceOperands advance;
  advance.best = p.Input("best", isa::DType::kRanked, {1});
  advance.run = p.Input("run", isa::DType::kI32, {2});
  advance.eos = p.Input("eos", isa::DType::kI32, {1});
  advance.tokens = p.State("tokens", isa::DType::kI32, {20});
  advance.stop = p.Activation("stop", isa::DType::kI32, {1});
  halt.op.stop = advance.stop;
  p.SetRanked(advance.best, {{1.0f, 9}});
  p.SetInts(advance.run, {1, end});
  p.SetInts(advance.eos, {-1});
  p.Append(advance);
  p.Append(halt.op);
  return halt;
}

TEST(HaltTest, Encodes) {
  ExpectEncodes(isa::HaltOperands{.stop = 7}, 0x01, "halt", {7});
  ExpectEncodes(isa::HaltOperands{}, 0x01, "halt", {isa::kNoBuffer});
}

TEST(HaltTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeHalt(3).program);
  OpProgram without_stop;
  without_stop.Append(isa::HaltOperands{});
  ExpectValidAndRoundTrips(without_stop);
}

TEST(HaltTest, RejectsBadOperands) {
  const Halt halt = MakeHalt(3);
  Rejections(halt.program, halt.op).ExpectComplete();
}

TEST(HaltTest, ChangesNothing) {
  Halt halt = MakeHalt(3);
  halt.program.SetInts(halt.op.stop, {1});
  halt.program.ClearInstructions();
  halt.program.Append(halt.op);
  ASSERT_TRUE(halt.program.RunReference().ok());
  EXPECT_EQ(halt.program.Ints(halt.op.stop), (std::vector<int32_t>{1}));
}

TEST(HaltTest, GpuStopsWhenToldTo) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const int32_t end : {1, 3}) {
    Halt halt = MakeHalt(end);
    const absl::Status status = halt.program.RunGpu(0, 10);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(halt.program.gpu_passes(), end);
    EXPECT_EQ(halt.program.tokens().size(), static_cast<size_t>(end));
  }
}

TEST(HaltTest, GpuGoesOnToThePassLimit) {
  MKVM_SKIP_WITHOUT_GPU();
  Halt halt = MakeHalt(15);
  const absl::Status status = halt.program.RunGpu(0, 10);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(halt.program.gpu_passes(), 10);
}

}  // namespace
}  // namespace mkvm::ops
