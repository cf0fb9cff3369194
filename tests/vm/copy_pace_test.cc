#include "vm/copy_pace.h"

#include "gtest/gtest.h"
#include "tests/scheduler/testing.h"

namespace mkvm::vm {
namespace {

constexpr uint32_t kStages = 12;

isa::Program Compiled(const char* model) {
  return scheduler::MustCompile(model::FindConfig(model).value(),
                                scheduler::FindTarget("h200").value());
}

GpuInfo Gpu() {
  GpuInfo info;
  info.memory_bytes_per_s = 4.8e12;
  info.clock_hz = 1.98e9;
  return info;
}

// What 128 workers ask for together, over what memory nominally gives.
double OverPeak(const GpuInfo& info, const isa::Program& program) {
  return isa::kStageBytes * 128 * info.clock_hz /
         CopyIntervalCycles(info, program, kStages) / info.memory_bytes_per_s;
}

TEST(CopyPaceTest, AsksForALittleMoreThanMemoryGives) {
  const isa::Program program = Compiled("qwen3-0.6b");
  ASSERT_EQ(program.num_workers(), 128);
  EXPECT_NEAR(OverPeak(Gpu(), program), 1.08, 0.01);
}

TEST(CopyPaceTest, AndForMoreWhereGemvsAreLong) {
  for (const char* model : {"qwen3-1.7b", "qwen3-4b", "qwen3-8b"}) {
    EXPECT_NEAR(OverPeak(Gpu(), Compiled(model)), 1.24, 0.01) << model;
  }
}

TEST(CopyPaceTest, NeedsTheDriversFigures) {
  const isa::Program program = Compiled("qwen3-0.6b");
  GpuInfo info = Gpu();
  info.memory_bytes_per_s = 0;
  EXPECT_EQ(CopyIntervalCycles(info, program, kStages), 0);
  info.memory_bytes_per_s = 1;
  EXPECT_EQ(CopyIntervalCycles(info, program, kStages), 16384);
}

}  // namespace
}  // namespace mkvm::vm
