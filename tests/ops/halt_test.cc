#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

struct Halt {
  OpProgram program;
  isa::HaltOperands op;
};

Halt MakeHalt(int32_t stop) {
  Halt halt;
  halt.op.stop = halt.program.State("stop", isa::DType::kI32, {1});
  halt.program.SetInts(halt.op.stop, {stop});
  halt.program.Append(halt.op);
  return halt;
}

TEST(HaltTest, Encodes) {
  ExpectEncodes(isa::HaltOperands{.stop = 7}, 0x01, "halt", {7});
  ExpectEncodes(isa::HaltOperands{}, 0x01, "halt", {isa::kNoBuffer});
}

TEST(HaltTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeHalt(0).program);
  OpProgram without_stop;
  without_stop.Append(isa::HaltOperands{});
  ExpectValidAndRoundTrips(without_stop);
}

TEST(HaltTest, RejectsBadOperands) {
  const Halt halt = MakeHalt(0);
  Rejections(halt.program, halt.op).ExpectComplete();
}

TEST(HaltTest, LeavesItsBufferAlone) {
  Halt halt = MakeHalt(1);
  ASSERT_TRUE(halt.program.RunReference().ok());
  EXPECT_EQ(halt.program.Ints(halt.op.stop), (std::vector<int32_t>{1}));
}

TEST(HaltTest, GpuStopsWhenToldTo) {
  MKVM_SKIP_WITHOUT_GPU();
  Halt halt = MakeHalt(1);
  const absl::Status status = halt.program.RunGpu(0, 5);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(halt.program.gpu_passes(), 1);
}

TEST(HaltTest, GpuGoesOnToThePassLimit) {
  MKVM_SKIP_WITHOUT_GPU();
  Halt halt = MakeHalt(0);
  const absl::Status status = halt.program.RunGpu(0, 5);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(halt.program.gpu_passes(), 5);
}

}  // namespace
}  // namespace mkvm::ops
