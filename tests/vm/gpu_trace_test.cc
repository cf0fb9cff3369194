// Traces of the GPU machine; part of gpu_machine_test. Every test is named
// Gpu* and skips where there is no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/vm/test_program.h"
#include "tests/vm/trace_checks.h"
#include "vm/gpu_machine.h"

namespace mkvm::vm {
namespace {

class GpuTraceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<GpuInfo> info = QueryGpu(0);
    if (!info.ok()) GTEST_SKIP() << "no GPU: " << info.status().message();
  }

  // CountingProgram for `passes`, traced.
  static trace::Trace TraceOf(uint32_t workers, int64_t passes,
                              const TraceOptions& trace, bool tagged) {
    isa::Program program = CountingProgram(workers);
    for (isa::Buffer& buffer : program.buffers) {
      if (buffer.dtype == isa::DType::kBf16 && buffer.shape.size() == 2) {
        buffer.layout = isa::Layout::kPanels;
      }
    }
    if (!tagged) program = isa::WithCountersOnly(std::move(program));
    absl::StatusOr<std::unique_ptr<Machine>> machine =
        CreateGpuMachine(program);
    if (!machine.ok()) {
      ADD_FAILURE() << machine.status();
      return {};
    }
    BindCounting(**machine, 3, kPositions);
    RunOptions options;
    options.max_passes = passes;
    options.trace = trace;
    absl::StatusOr<RunResult> result = (*machine)->Run(options);
    if (!result.ok() || !result->trace) {
      ADD_FAILURE() << result.status();
      return {};
    }
    return *std::move(result->trace);
  }
};

TEST_F(GpuTraceTest, GpuHoldsEveryInstructionInOrder) {
  for (const bool tagged : {true, false}) {
    const trace::Trace trace = TraceOf(8, 50, {}, tagged);
    ExpectComplete(trace, 0, 50);
    if (GpuIsEmulated()) continue;
    ExpectOrdered(trace, static_cast<trace::Nanos>(trace.skew_ns) + 50);
    EXPECT_GT(trace.resolution_ns, 0.1);
    EXPECT_LT(trace.resolution_ns, 10);
    EXPECT_LT(trace.skew_ns, 5000);
  }
}

TEST_F(GpuTraceTest, GpuWeightsAreLoadedBeforeTheyAreUsed) {
  const trace::Trace trace = TraceOf(4, 10, {}, true);
  int gemvs = 0;
  for (const trace::Event& event : trace.events) {
    if (event.bytes == 0) continue;
    ++gemvs;
    EXPECT_NE(event.load_begin, trace::kNever);
    EXPECT_LT(event.load_begin, event.done);
  }
  EXPECT_GT(gemvs, 0);
}

TEST_F(GpuTraceTest, GpuHoldsOnlyTheWindow) {
  const trace::Trace trace =
      TraceOf(8, 40, {.first_pass = 5, .end_pass = 8}, true);
  ExpectComplete(trace, 5, 8);
}

TEST_F(GpuTraceTest, GpuAFullBufferEndsRecordingAndIsCounted) {
  const trace::Trace trace = TraceOf(8, 40, {.max_bytes = 8 * 1000}, true);
  EXPECT_GT(trace.events.size(), 0u);
  EXPECT_GT(trace.dropped, 0u);
  EXPECT_EQ(trace.events.size() + trace.dropped,
            40 * isa::NumInstructions(trace.program));
}

TEST_F(GpuTraceTest, GpuAWindowPastTheRunIsEmpty) {
  const trace::Trace trace =
      TraceOf(4, 4, {.first_pass = 10, .end_pass = 12}, true);
  EXPECT_TRUE(trace.events.empty());
}

}  // namespace
}  // namespace mkvm::vm
