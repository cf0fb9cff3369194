#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;

struct Add {
  OpProgram program;
  isa::AddOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

Add MakeAdd(uint32_t n, uint32_t begin, uint32_t count) {
  Add add;
  OpProgram& p = add.program;
  add.op.a = p.Input("a", isa::DType::kF24, {n});
  add.op.b = p.Input("b", isa::DType::kF24, {n});
  add.op.y = p.Output("y", isa::DType::kF24, {n});
  add.op.begin = begin;
  add.op.count = count;
  p.SetRandom(add.op.a, n, 2.0f);
  p.SetRandom(add.op.b, n + 1, 100.0f);
  p.Append(add.op);
  return add;
}

TEST(AddTest, Encodes) {
  ExpectEncodes(
      isa::AddOperands{.a = 1, .b = 2, .y = 3, .begin = 4, .count = 5}, 0x12,
      "add", {1, 2, 3, 4, 5});
}

TEST(AddTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeAdd(33, 8, 25).program);
}

TEST(AddTest, RejectsBadOperands) {
  const Add add = MakeAdd(33, 8, 25);
  Rejections reject(add.program, add.op);
  reject.Expect("count is 0", [](isa::AddOperands& op) { op.count = 0; });
  reject.ExpectComplete();
}

TEST(AddTest, MatchesAHandComputedSum) {
  Add add = MakeAdd(4, 1, 3);
  add.program.Set(add.op.a, {9.0f, 1.5f, -2.0f, 65536.0f});
  add.program.Set(add.op.b, {9.0f, 0.25f, 2.0f, 1.0f});
  ASSERT_TRUE(add.program.RunReference().ok());
  // 65537 has 17 significant bits: a tie, which goes to the even neighbour.
  EXPECT_THAT(add.y(),
              ElementsAre(OpProgram::kUnwritten, 1.75f, 0.0f, 65536.0f));
}

TEST(AddTest, RoundsOnceToF24) {
  for (const uint32_t n : {1u, 7u, 33u, 1025u}) {
    Add add = MakeAdd(n, n / 2, n - n / 2);
    ASSERT_TRUE(add.program.RunReference().ok());
    const std::vector<double> a = add.program.Doubles(add.op.a);
    const std::vector<double> b = add.program.Doubles(add.op.b);
    std::vector<double> want(n, OpProgram::kUnwritten), tolerance(n, 0.0);
    for (uint32_t i = n / 2; i < n; ++i) {
      want[i] = a[i] + b[i];
      tolerance[i] = kF24Epsilon * std::abs(want[i]);
    }
    ExpectNear(add.y(), want, tolerance);
  }
}

TEST(AddTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const uint32_t n : {1u, 7u, 33u, 1025u}) {
    SCOPED_TRACE(n);
    Add reference = MakeAdd(n, 0, n);
    Add gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(gpu.y(), reference.y());  // one exact rounding on both
  }
}

}  // namespace
}  // namespace mkvm::ops
