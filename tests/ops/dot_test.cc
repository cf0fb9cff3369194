#include "ops/dot.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "isa/f24.h"

namespace mkvm::ops {
namespace {

struct Vectors {
  std::vector<uint16_t> w;
  std::vector<float> x;
};

Vectors MakeVectors(size_t k) {
  std::mt19937 generator(static_cast<uint32_t>(k));
  Vectors v;
  for (size_t i = 0; i < k; ++i) {
    v.w.push_back(
        isa::Bf16BitsOfFloat(static_cast<float>(generator() / 0x1p31 - 1.0)));
    v.x.push_back(static_cast<float>(generator() / 0x1p31 - 1.0));
  }
  return v;
}

constexpr size_t kLengths[] = {
    1,  2,  7,   8,   9,   15,  16,  17,  31,   32,   33,   47,   63,   64,
    65, 96, 127, 128, 129, 255, 256, 300, 1000, 1023, 1024, 1025, 3072, 4099};

// Every kernel of this processor on every length, unaligned as well.
template <typename Fn>
void ForEachCase(Fn fn) {
  DotKernel kernels[3];
  const size_t n = SupportedDotKernels(kernels);
  ASSERT_GE(n, 1u);
  for (size_t i = 0; i < n; ++i) {
    for (const size_t k : kLengths) {
      for (const size_t offset : {0, 1, 3}) {
        if (offset >= k) continue;
        SCOPED_TRACE(testing::Message()
                     << kernels[i].name << " " << k << " " << offset);
        fn(kernels[i], k, offset);
      }
    }
  }
}

TEST(DotTest, EveryKernelMatchesDoublePrecision) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors v = MakeVectors(k);
    double sum = 0, magnitude = 0;
    for (size_t i = offset; i < k; ++i) {
      const double product =
          static_cast<double>(isa::FloatOfBf16Bits(v.w[i])) * v.x[i];
      sum += product;
      magnitude += std::abs(product);
    }
    const float got =
        kernel.dot_bf16(v.w.data() + offset, v.x.data() + offset, k - offset);
    EXPECT_NEAR(got, sum, magnitude * 0x1p-20);
  });
}

TEST(DotTest, EveryKernelAddsScaledVectors) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors v = MakeVectors(k);
    std::vector<float> y = v.x;
    kernel.add_scaled_bf16(v.w.data() + offset, 0.75f, k - offset, y.data());
    for (size_t i = 0; i < k; ++i) {
      const double added =
          i + offset < k ? 0.75 * isa::FloatOfBf16Bits(v.w[i + offset]) : 0.0;
      EXPECT_NEAR(y[i], v.x[i] + added, 0x1p-22);
    }
  });
}

TEST(DotTest, SumsTheSameWayEveryTime) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors v = MakeVectors(k);
    const Vectors copy = v;
    EXPECT_EQ(
        kernel.dot_bf16(v.w.data() + offset, v.x.data() + offset, k - offset),
        kernel.dot_bf16(copy.w.data() + offset, copy.x.data() + offset,
                        k - offset));
  });
}

TEST(DotTest, UsesTheBestKernel) {
  DotKernel kernels[3];
  SupportedDotKernels(kernels);
  EXPECT_EQ(std::string(DotKernelName()), kernels[0].name);
  const Vectors v = MakeVectors(1025);
  EXPECT_EQ(DotBf16(v.w.data(), v.x.data(), 1025),
            kernels[0].dot_bf16(v.w.data(), v.x.data(), 1025));
}

TEST(DotTest, InverseRmsMatchesDoublePrecision) {
  for (const size_t k : kLengths) {
    const Vectors v = MakeVectors(k);
    double squares = 0;
    for (const double x : v.x) squares += x * x;
    const double want = 1.0 / std::sqrt(squares / k + 1e-3);
    EXPECT_NEAR(InverseRms(v.x.data(), k, 1e-3f), want, want * 1e-6) << k;
  }
}

}  // namespace
}  // namespace mkvm::ops
