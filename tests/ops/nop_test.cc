#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

TEST(NopTest, Encodes) { ExpectEncodes(isa::NopOperands{}, 0x00, "nop", {}); }

TEST(NopTest, IsValidAndRoundTrips) {
  OpProgram program;
  program.Append(isa::NopOperands{});
  ExpectValidAndRoundTrips(program);
}

TEST(NopTest, RejectsBadOperands) {
  Rejections(OpProgram(), isa::NopOperands{}).ExpectComplete();
}

TEST(NopTest, ChangesNothing) {
  OpProgram program;
  const uint32_t x = program.State("x", isa::DType::kF24, {5});
  program.SetRandom(x, 1);
  program.Append(isa::NopOperands{});
  const OpProgram before = program;
  ASSERT_TRUE(program.RunReference().ok());
  EXPECT_EQ(program.bytes(x), before.bytes(x));
  EXPECT_TRUE(program.tokens().empty());
}

TEST(NopTest, GpuChangesNothing) {
  MKVM_SKIP_WITHOUT_GPU();
  OpProgram program;
  const uint32_t x = program.State("x", isa::DType::kF24, {5});
  program.SetRandom(x, 1);
  program.Append(isa::NopOperands{});
  const OpProgram before = program;
  const absl::Status status = program.RunGpu(0, 3);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(program.gpu_passes(), 3);
  EXPECT_EQ(program.bytes(x), before.bytes(x));
}

}  // namespace
}  // namespace mkvm::ops
