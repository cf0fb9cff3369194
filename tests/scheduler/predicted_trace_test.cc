// What a trace says of its waits, of a trace whose clocks are one.
#include "scheduler/simulate.h"
#include "tests/scheduler/testing.h"
#include "trace/dependencies.h"
#include "trace/summary.h"

namespace mkvm::scheduler {
namespace {

// No wait ends before what it waited for: with split 0 alone, with some splits
// that hold no positions yet, and with none.
TEST(PredictedTraceTest, CausesComeBeforeEffects) {
  const Target target = TestTarget(12);
  const isa::Program program = MustCompile(OddConfig(), target);
  for (const uint64_t position : {0, 62, 64, 127, 200, 320, 1000}) {
    SCOPED_TRACE(testing::Message() << "position " << position);
    const absl::StatusOr<trace::Trace> trace =
        Simulate(program, target, {.first_position = position, .passes = 4});
    ASSERT_TRUE(trace.ok()) << trace.status();
    const trace::Summary summary = Summarize(trace::Dependencies(*trace));
    EXPECT_GT(summary.num_edges, 100u);
    EXPECT_EQ(summary.num_impossible, 0u);
  }
}

}  // namespace
}  // namespace mkvm::scheduler
