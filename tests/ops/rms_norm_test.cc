#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;

struct RmsNorm {
  OpProgram program;
  isa::RmsNormOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

RmsNorm MakeRmsNorm(uint32_t k, uint32_t begin, uint32_t count,
                    float eps = 1e-6f) {
  RmsNorm norm;
  OpProgram& p = norm.program;
  norm.op.x = p.Input("x", isa::DType::kF24, {k});
  norm.op.g = p.Weight("g", isa::DType::kBf16, {k});
  norm.op.y = p.Output("y", isa::DType::kF24, {k});
  norm.op.k = k;
  norm.op.begin = begin;
  norm.op.count = count;
  norm.op.eps = eps;
  p.SetRandom(norm.op.x, k, 3.0f);
  p.SetRandom(norm.op.g, k + 1, 0.5f, 1.0f);
  p.Append(norm.op);
  return norm;
}

// What y should be: the whole vector in double precision, kUnwritten outside
// of the range.
std::vector<double> Oracle(const RmsNorm& norm) {
  const std::vector<double> x = norm.program.Doubles(norm.op.x);
  const std::vector<double> g = norm.program.Doubles(norm.op.g);
  double squares = 0;
  for (const double v : x) squares += v * v;
  const double rms = std::sqrt(squares / x.size() + norm.op.eps);
  std::vector<double> y(x.size(), OpProgram::kUnwritten);
  for (size_t i = norm.op.begin; i < norm.op.begin + norm.op.count; ++i) {
    y[i] = x[i] / rms * g[i];
  }
  return y;
}

std::vector<double> Tolerance(const std::vector<double>& y, double relative) {
  std::vector<double> tolerance;
  for (const double v : y) tolerance.push_back(relative * std::abs(v));
  return tolerance;
}

TEST(RmsNormTest, Encodes) {
  ExpectEncodes(
      isa::RmsNormOperands{
          .x = 1, .g = 2, .y = 3, .k = 4, .begin = 5, .count = 6, .eps = 1.0f},
      0x11, "rms_norm", {1, 2, 3, 4, 5, 6, 0x3f800000u});
}

TEST(RmsNormTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeRmsNorm(33, 1, 32).program);
}

TEST(RmsNormTest, RejectsBadOperands) {
  using Op = isa::RmsNormOperands;
  const RmsNorm norm = MakeRmsNorm(33, 1, 32);
  Rejections reject(norm.program, norm.op);
  reject.Expect("k is 0", [](Op& op) { op.k = 0; });
  reject.Expect("count is 0", [](Op& op) { op.count = 0; });
  reject.Expect("begin + count goes past k", [](Op& op) { op.begin = 2; });
  reject.Expect("begin + count goes past k",
                [](Op& op) { op.begin = 0xfffffff0u; });
  for (const float eps : {-1e-6f, 1.0f, std::nanf("")}) {
    reject.Expect("eps is not in [0, 1)", [=](Op& op) { op.eps = eps; });
  }
  reject.ExpectComplete();
}

TEST(RmsNormTest, MatchesAHandComputedVector) {
  RmsNorm norm = MakeRmsNorm(4, 0, 4, /*eps=*/0.0f);
  norm.program.Set(norm.op.x, {1.0f, -1.0f, 7.0f, 7.0f});  // rms 5
  norm.program.Set(norm.op.g, {1.0f, 2.0f, 0.0f, 5.0f});
  ASSERT_TRUE(norm.program.RunReference().ok());
  EXPECT_THAT(norm.y(), ElementsAre(testing::FloatNear(0.2f, 0.2f * 0x1p-16f),
                                    testing::FloatNear(-0.4f, 0.4f * 0x1p-16f),
                                    0.0f, testing::FloatEq(7.0f)));
}

TEST(RmsNormTest, ZerosStayZero) {
  RmsNorm norm = MakeRmsNorm(3, 0, 3);
  norm.program.Set(norm.op.x, {0.0f, 0.0f, 0.0f});
  ASSERT_TRUE(norm.program.RunReference().ok());
  EXPECT_THAT(norm.y(), ElementsAre(0.0f, 0.0f, 0.0f));
}

TEST(RmsNormTest, MatchesTheOracle) {
  for (const uint32_t k : {1u, 7u, 33u, 128u, 1025u}) {
    for (const uint32_t begin : {0u, k / 3}) {
      for (const float eps : {0.0f, 1e-6f, 0.5f}) {
        SCOPED_TRACE(testing::Message() << k << " " << begin << " " << eps);
        RmsNorm norm = MakeRmsNorm(k, begin, (k - begin + 1) / 2, eps);
        ASSERT_TRUE(norm.program.RunReference().ok());
        const std::vector<double> want = Oracle(norm);
        ExpectNear(norm.y(), want, Tolerance(want, 1.1 * kF24Epsilon));
      }
    }
  }
}

TEST(RmsNormTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const uint32_t k : {1u, 7u, 33u, 128u, 1025u}) {
    SCOPED_TRACE(k);
    RmsNorm reference = MakeRmsNorm(k, 0, k);
    RmsNorm gpu = reference;
    ASSERT_TRUE(reference.program.RunReference().ok());
    const absl::Status status = gpu.program.RunGpu();
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<double> want = reference.program.Doubles(gpu.op.y);
    ExpectNear(gpu.y(), want, Tolerance(want, 2.1 * kF24Epsilon));
  }
}

}  // namespace
}  // namespace mkvm::ops
