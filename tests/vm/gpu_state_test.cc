#include "vm/gpu_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

namespace mkvm::vm {
namespace {

using testing::Eq;
using testing::Optional;

constexpr char kBusId[] = "0000:3b:00.0";

GpuState ClockAndPower(std::optional<double> sm_clock_mhz,
                       std::optional<double> power_w) {
  GpuState state;
  state.sm_clock_mhz = sm_clock_mhz;
  state.power_w = power_w;
  return state;
}

TEST(GpuMonitorTest, ReadsWhatTheLibraryKnows) {
  const GpuMonitor monitor = GpuMonitor::Open(kBusId, MKVM_FAKE_NVML);
  EXPECT_THAT(monitor.driver_version(), Optional(Eq("580.1.2")));
  const GpuState state = monitor.Read();
  EXPECT_THAT(state.sm_clock_mhz, Optional(1755.0));
  EXPECT_THAT(state.memory_clock_mhz, Optional(3201.0));
  EXPECT_EQ(state.power_w, std::nullopt);  // it fails
  EXPECT_THAT(state.temperature_c, Optional(41.0));
}

TEST(GpuMonitorTest, KnowsNothingWithoutLibraryOrGpu) {
  for (const GpuMonitor& monitor :
       {GpuMonitor::Open(kBusId, "no-such-library.so"),
        GpuMonitor::Open("0000:ff:00.0", MKVM_FAKE_NVML),
        GpuMonitor::Open("", MKVM_FAKE_NVML),
        // A library, but not that one.
        GpuMonitor::Open(kBusId, "libc.so.6"), GpuMonitor()}) {
    EXPECT_EQ(monitor.driver_version(), std::nullopt);
    EXPECT_EQ(monitor.Read().sm_clock_mhz, std::nullopt);
    EXPECT_EQ(monitor.Read().temperature_c, std::nullopt);
  }
}

TEST(GpuStateTest, MediansAreOfTheKnownValues) {
  const std::vector<GpuState> states = {ClockAndPower(1700, 500),
                                        ClockAndPower(1980, std::nullopt),
                                        GpuState(), ClockAndPower(1750, 300)};
  const GpuState medians = Medians(states);
  EXPECT_THAT(medians.sm_clock_mhz, Optional(1750.0));
  EXPECT_THAT(medians.power_w, Optional(400.0));
  EXPECT_EQ(medians.temperature_c, std::nullopt);
}

TEST(GpuSamplerTest, SamplesUntilStopped) {
  std::atomic<int> reads{0};
  GpuSampler sampler([&] { return ClockAndPower(1000 + ++reads, {}); },
                     std::chrono::milliseconds(1));
  while (reads < 5) std::this_thread::yield();
  const GpuState state = sampler.Stop();
  const int stopped_at = reads;
  EXPECT_THAT(state.sm_clock_mhz, Optional(1000 + (1 + stopped_at) / 2.0));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(reads, stopped_at);
}

TEST(GpuSamplerTest, ReadsOnceWhenStoppedAtOnce) {
  GpuSampler sampler([] { return ClockAndPower({}, 70); },
                     std::chrono::hours(1));
  EXPECT_THAT(sampler.Stop().power_w, Optional(70.0));
}

}  // namespace
}  // namespace mkvm::vm
