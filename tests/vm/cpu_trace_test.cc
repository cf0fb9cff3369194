// Traces of the CPU machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/vm/test_program.h"
#include "tests/vm/trace_checks.h"
#include "vm/cpu_machine.h"

namespace mkvm::vm {
namespace {

using ::testing::HasSubstr;

// CountingProgram on two threads for `passes`, traced.
trace::Trace TraceOf(uint32_t workers, int64_t passes,
                     const TraceOptions& trace) {
  auto machine = MakeMachine(CountingProgram(workers), {.threads = 2});
  BindCounting(*machine, 3, kPositions);
  RunOptions options;
  options.max_passes = passes;
  options.watchdog_seconds = 60;
  options.trace = trace;
  absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->trace.has_value());
  return *std::move(result->trace);
}

TEST(CpuTraceTest, HoldsEveryInstructionInOrder) {
  const trace::Trace trace = TraceOf(4, 20, {});
  ExpectComplete(trace, 0, 20);
  ExpectOrdered(trace, 0);
  EXPECT_EQ(trace.source, trace::Source::kMeasured);
  EXPECT_THAT(trace.machine, HasSubstr("CPU (2 threads"));
  EXPECT_EQ(trace.first_position, 0);
  EXPECT_EQ(trace.skew_ns, 0);
  EXPECT_GT(trace.resolution_ns, 0);
}

TEST(CpuTraceTest, HoldsOnlyTheWindow) {
  const trace::Trace trace = TraceOf(4, 20, {.first_pass = 5, .end_pass = 8});
  ExpectComplete(trace, 5, 8);
  ExpectOrdered(trace, 0);
}

TEST(CpuTraceTest, AWindowPastTheRunIsEmpty) {
  const trace::Trace trace = TraceOf(2, 4, {.first_pass = 10, .end_pass = 12});
  EXPECT_TRUE(trace.events.empty());
  EXPECT_EQ(trace.num_passes, 0u);
}

TEST(CpuTraceTest, AFullBufferEndsRecordingAndIsCounted) {
  constexpr uint32_t kWorkers = 2;
  const TraceOptions ten_each = {.max_bytes =
                                     kWorkers * 10 * sizeof(trace::Event)};
  const trace::Trace trace = TraceOf(kWorkers, 20, ten_each);
  EXPECT_EQ(trace.events.size(), kWorkers * 10u);
  EXPECT_EQ(trace.dropped,
            20 * isa::NumInstructions(trace.program) - kWorkers * 10u);
  ExpectOrdered(trace, 0);
}

TEST(CpuTraceTest, NamesTheWaitThatHeldIt) {
  // The only thread looks at worker 0 first, and worker 1 makes what it waits
  // for.
  ProgramBuilder builder(2);
  const uint32_t a = builder.State("a", 4);
  const uint32_t x = builder.Activation("x", 4);
  const uint32_t y = builder.Activation("y", 4);
  const uint32_t done = builder.Counter("done");
  builder.Add(0, "second", Sum(x, x, y, 0, 4), {{done}});
  builder.Add(0, "", isa::HaltOperands());
  builder.Add(1, "first", Sum(a, a, x, 0, 4), {}, done);
  builder.Add(1, "", isa::HaltOperands());
  auto machine = MakeMachine(builder.Build(), {.threads = 1});
  ASSERT_NE(machine, nullptr);
  RunOptions options;
  options.watchdog_seconds = 60;
  options.trace = TraceOptions();
  const absl::StatusOr<RunResult> result = machine->Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  const trace::Event& second = result->trace->events[0];
  const trace::Event& first = result->trace->events[2];
  EXPECT_EQ(trace::Name(*result->trace, second), "second");
  EXPECT_EQ(second.last_wait, 0);
  EXPECT_LE(second.visited, first.visited);
  EXPECT_GE(second.waited, first.signaled);
  EXPECT_EQ(first.last_wait, -1);
}

TEST(CpuTraceTest, TheCheckingMachineRecordsNone) {
  auto machine = MakeMachine(CountingProgram(2), {.check_races = true});
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, 3, kPositions);
  RunOptions options;
  options.trace = TraceOptions();
  EXPECT_THAT(machine->Run(options).status().message(),
              HasSubstr("records no trace"));
}

}  // namespace
}  // namespace mkvm::vm
