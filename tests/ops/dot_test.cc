#include "ops/dot.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/f24.h"

namespace mkvm::ops {
namespace {

uint32_t BitsOf(float value) { return std::bit_cast<uint32_t>(value); }
std::vector<uint32_t> BitsOf(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

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
        kernel.dot(v.w.data() + offset, v.x.data() + offset, k - offset);
    EXPECT_NEAR(got, sum, magnitude * 0x1p-20);
  });
}

TEST(DotTest, EveryKernelAddsScaledVectors) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors v = MakeVectors(k);
    std::vector<float> y = v.x;
    kernel.add_scaled(v.w.data() + offset, 0.75f, k - offset, y.data());
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
        kernel.dot(v.w.data() + offset, v.x.data() + offset, k - offset),
        kernel.dot(copy.w.data() + offset, copy.x.data() + offset, k - offset));
  });
}

// The last in the list is the portable one, which has the order of summation
// written down.
TEST(DotTest, EveryKernelGivesTheSameBits) {
  DotKernel kernels[3];
  const DotKernel& portable = kernels[SupportedDotKernels(kernels) - 1];
  ForEachCase([&](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors v = MakeVectors(k);
    const uint16_t* w = v.w.data() + offset;
    const float* x = v.x.data() + offset;
    EXPECT_EQ(BitsOf(kernel.dot(w, x, k - offset)),
              BitsOf(portable.dot(w, x, k - offset)));
    std::vector<float> y = v.x, y_portable = v.x;
    kernel.add_scaled(w, 1.0f / 3.0f, k - offset, y.data());
    portable.add_scaled(w, 1.0f / 3.0f, k - offset, y_portable.data());
    EXPECT_EQ(BitsOf(y), BitsOf(y_portable));
  });
}

TEST(DotTest, RowsTogetherGiveTheBitsOfRowsAlone) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    const Vectors x = MakeVectors(k);
    const size_t count = k - offset;
    for (const size_t gap : {0, 1, 5}) {
      const size_t stride = count + gap;
      const std::vector<uint16_t> w = MakeVectors(kDotRows * stride + offset).w;
      float sums[kDotRows];
      kernel.dot_rows(w.data() + offset, stride, x.x.data() + offset, count,
                      sums);
      const float factors[kDotRows] = {0.1f, -0.7f, 3.3f, 1e-3f};
      std::vector<float> y = x.x, y_alone = x.x;
      kernel.add_scaled_rows(w.data() + offset, stride, factors, count,
                             y.data());
      for (size_t r = 0; r < kDotRows; ++r) {
        const uint16_t* row = w.data() + offset + r * stride;
        EXPECT_EQ(BitsOf(sums[r]),
                  BitsOf(kernel.dot(row, x.x.data() + offset, count)));
        kernel.add_scaled(row, factors[r], count, y_alone.data());
      }
      EXPECT_EQ(BitsOf(y), BitsOf(y_alone));
    }
  });
}

// What lies past a row must not get into its sum, not even times zero.
TEST(DotTest, ReadsNoFurtherThanTheRow) {
  ForEachCase([](const DotKernel& kernel, size_t k, size_t offset) {
    Vectors v = MakeVectors(k);
    const float want =
        kernel.dot(v.w.data() + offset, v.x.data() + offset, k - offset);
    v.w.resize(k + 64, 0x7fc0);  // NaN
    v.x.resize(k + 64, std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(BitsOf(want),
              BitsOf(kernel.dot(v.w.data() + offset, v.x.data() + offset,
                                k - offset)));
  });
}

TEST(DotTest, UsesTheBestKernelUnlessToldOtherwise) {
  DotKernel kernels[3];
  const size_t n = SupportedDotKernels(kernels);
  EXPECT_EQ(std::string(DotKernelName()), kernels[0].name);
  for (size_t i = 0; i < n; ++i) {
    ASSERT_TRUE(SelectDotKernel(kernels[i].name).ok());
    EXPECT_EQ(std::string(DotKernelName()), kernels[i].name);
  }
  const absl::Status status = SelectDotKernel("AVX-1024");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(testing::HasSubstr("AVX-1024"),
                             testing::HasSubstr("portable")));
  EXPECT_EQ(std::string(DotKernelName()), "portable");  // as before
  ASSERT_TRUE(SelectDotKernel("").ok());
  EXPECT_EQ(std::string(DotKernelName()), kernels[0].name);
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
