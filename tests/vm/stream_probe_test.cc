#include "vm/stream_probe.h"

#include <gtest/gtest.h>

namespace mkvm::vm {
namespace {

TEST(StreamProbeTest, CpuRateIsOfThisWorld) {
  const auto rate = ProbeCpuStream(2, uint64_t{64} << 20, 3);
  ASSERT_TRUE(rate.ok()) << rate.status();
  EXPECT_GT(*rate, 0.05);
  EXPECT_LT(*rate, 5000);
}

TEST(StreamProbeTest, CpuReadsEveryByteOfAnOddShare) {
  // More threads than words, and words that don't divide among them.
  EXPECT_TRUE(ProbeCpuStream(3, 8, 1).ok());
  EXPECT_TRUE(ProbeCpuStream(3, 8 * 1000 + 8, 1).ok());
}

TEST(StreamProbeTest, TooLargeABufferIsAnError) {
  const auto rate = ProbeCpuStream(1, uint64_t{1} << 60, 1);
  EXPECT_EQ(rate.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace mkvm::vm
