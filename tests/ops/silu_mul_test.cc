#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;

struct SiluMul {
  OpProgram program;
  isa::SiluMulOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

SiluMul MakeSiluMul(uint32_t n, uint32_t begin, uint32_t count) {
  SiluMul silu_mul;
  OpProgram& p = silu_mul.program;
  silu_mul.op.gate = p.Input("gate", isa::DType::kF24, {n});
  silu_mul.op.up = p.Input("up", isa::DType::kF24, {n});
  silu_mul.op.y = p.Output("y", isa::DType::kF24, {n});
  silu_mul.op.begin = begin;
  silu_mul.op.count = count;
  p.SetRandom(silu_mul.op.gate, n, 8.0f);
  p.SetRandom(silu_mul.op.up, n + 1, 3.0f);
  p.Append(silu_mul.op);
  return silu_mul;
}

TEST(SiluMulTest, Encodes) {
  ExpectEncodes(
      isa::SiluMulOperands{.gate = 1, .up = 2, .y = 3, .begin = 4, .count = 5},
      0x13, "silu_mul", {1, 2, 3, 4, 5});
}

TEST(SiluMulTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeSiluMul(33, 8, 25).program);
}

TEST(SiluMulTest, RejectsBadOperands) {
  const SiluMul silu_mul = MakeSiluMul(33, 8, 25);
  Rejections reject(silu_mul.program, silu_mul.op);
  reject.Expect("count is 0", [](isa::SiluMulOperands& op) { op.count = 0; });
  reject.ExpectComplete();
}

TEST(SiluMulTest, MatchesHandComputedValues) {
  SiluMul silu_mul = MakeSiluMul(5, 0, 4);
  silu_mul.program.Set(silu_mul.op.gate, {0.0f, 1.0f, -200.0f, 200.0f, 1.0f});
  silu_mul.program.Set(silu_mul.op.up, {3.0f, 2.0f, 5.0f, 0.5f, 1.0f});
  ASSERT_TRUE(silu_mul.program.RunReference().ok());
  // silu(1) = 1 / (1 + 1/e) = 0.7310585786; large gates saturate, no NaN.
  EXPECT_THAT(silu_mul.y(),
              ElementsAre(0.0f, testing::FloatNear(1.4621172f, 2.5e-5f), -0.0f,
                          100.0f, OpProgram::kUnwritten));
}

TEST(SiluMulTest, MatchesTheOracle) {
  for (const uint32_t n : {1u, 7u, 33u, 1025u}) {
    SiluMul silu_mul = MakeSiluMul(n, n / 2, n - n / 2);
    ASSERT_TRUE(silu_mul.program.RunReference().ok());
    const std::vector<double> gate = silu_mul.program.Doubles(silu_mul.op.gate);
    const std::vector<double> up = silu_mul.program.Doubles(silu_mul.op.up);
    std::vector<double> want(n, OpProgram::kUnwritten), tolerance(n, 0.0);
    for (uint32_t i = n / 2; i < n; ++i) {
      // silu(t) = t * sigmoid(t), sigmoid by tanh.
      want[i] = gate[i] * 0.5 * (1.0 + std::tanh(0.5 * gate[i])) * up[i];
      tolerance[i] = 1.1 * kF24Epsilon * std::abs(want[i]) + 1e-12;
    }
    ExpectNear(silu_mul.y(), want, tolerance);
  }
}

TEST(SiluMulTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const uint32_t n : {1u, 7u, 33u, 1025u}) {
    SCOPED_TRACE(n);
    SiluMul reference = MakeSiluMul(n, 0, n);
    SiluMul gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<double> want = reference.program.Doubles(gpu.op.y);
    std::vector<double> tolerance;
    for (const double y : want) {
      tolerance.push_back(2.1 * kF24Epsilon * std::abs(y) + 1e-12);
    }
    ExpectNear(gpu.y(), want, tolerance);
  }
}

}  // namespace
}  // namespace mkvm::ops
