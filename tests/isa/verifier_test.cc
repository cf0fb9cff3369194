// What the verifier accepts, and what it says of queues, counters, budgets and
// coverage. One rule, one test.
#include "isa/verifier.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/isa/verifier_testing.h"

namespace mkvm::isa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// ---- what is valid ----------------------------------------------------------

TEST(VerifierTest, DecodeLoopIsProven) {
  EXPECT_EQ(Errors(kDecode), "");
  EXPECT_TRUE(VerifyStatus(Parse(kDecode)).ok());
}

TEST(VerifierTest, DecodeLoopWithCountersOnlyIsProven) {
  EXPECT_EQ(Errors(WithCountersOnly(Parse(kDecode))), "");
}

TEST(VerifierTest, PipeIsProven) { EXPECT_EQ(Errors(kPipe), ""); }

TEST(VerifierTest, CacheHandedOverIsProven) { EXPECT_EQ(Errors(kCache), ""); }

TEST(VerifierTest, LabelsMayBeLeftOut) {
  Program program = Parse(kPipe);
  program.labels.clear();
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, PolledReadMayWaitUntaggedToo) {
  EXPECT_EQ(ErrorsOfDecode("wait(best tagged)", "wait(best)"), "");
}

TEST(VerifierTest, WaitImpliedByOthersMayBeLeftOut) {
  // Both halts follow advance, so embed need not wait for it again.
  Program program = Parse(kDecode);
  const uint32_t advanced = FindCounter(program, "advanced");
  AddWait(Find(program, "embed[0]"), advanced, 1, /*lag=*/true);
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, StopMayBeAnActivation) {
  EXPECT_EQ(ErrorsOfDecode("stop i32 [1] state", "stop i32 [1] activation"),
            "");
}

TEST(VerifierTest, OneWorkerNeedsNoCounters) {
  EXPECT_EQ(Errors(R"(
buffer in f24 [4] input
buffer h f24 [4] activation
buffer y f24 [4] activation
worker 0
  add a=in b=in y=h begin=0 count=4
  add a=h b=in y=y begin=0 count=4
  halt
)"),
            "");
}

// ---- queues and counters ----------------------------------------------------

TEST(VerifierTest, EmptyQueueIsRejected) {
  Program program = Parse(kPipe);
  program.queues.emplace_back();
  program.labels.emplace_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 2: error: its queue is empty"));
}

TEST(VerifierTest, QueueWithoutHaltIsRejected) {
  Program program = Parse(kPipe);
  program.queues[1].pop_back();
  program.labels[1].pop_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 1, pc 0 (second, add): error: the queue does "
                        "not end with halt"));
}

TEST(VerifierTest, HaltInTheMiddleIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("  second:", "  early: halt\n  second:"),
              HasSubstr("worker 1, pc 0 (early, halt): error: halt is not the "
                        "last of its queue"));
}

TEST(VerifierTest, HaltsThatReadDifferentStopsAreRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("halt[1]: halt stop=stop", "halt[1]: halt"),
      AllOf(HasSubstr("worker 1, pc 2 (halt[1], halt): error: this halt and "
                      "another do not read the same stop"),
            HasSubstr("note: the other is worker 0, pc 4 (halt[0], halt)")));
}

TEST(VerifierTest, StopThatNobodyWritesIsRejected) {
  Program program = Parse(kPipe);
  program.buffers.push_back(
      {"stop", DType::kI32, BufferKind::kState, Layout::kRows, {1}});
  for (auto& queue : program.queues) queue.back().operands[0] = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("it reads stop, but no advance writes it"));
}

TEST(VerifierTest, SecondAdvanceIsRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("  halt[0]:",
                     "  again: advance best=token run=run eos=eos "
                     "tokens=tokens stop=stop\n  halt[0]:"),
      AllOf(HasSubstr("worker 0, pc 4 (again, advance): error: only one "
                      "instruction may advance a pass"),
            HasSubstr("note: the other is worker 0, pc 3 (advance, "
                      "advance)")));
}

TEST(VerifierTest, HaltThatReadsStopBeforeAdvanceIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("halt[1]: halt stop=stop wait(advanced)",
                             "halt[1]: halt stop=stop"),
              HasSubstr("(halt[1], halt): error: reads stop"));
}

TEST(VerifierTest, HaltOrderedBeforeAdvanceIsRejected) {
  // Ordered, so no race, but this worker would leave one pass later.
  std::string text = Replace(kDecode, "halt[1]: halt stop=stop wait(advanced)",
                             "halt[1]: halt stop=stop wait(advanced lag) "
                             "signal(halted)");
  text = Replace(text, "wait(token tagged)", "wait(token tagged, halted)");
  text = Replace(text, "counter advanced", "counter advanced\ncounter halted");
  EXPECT_THAT(Errors(text), HasSubstr("workers may leave in different passes"));
}

TEST(VerifierTest, ProducersThatAreNotTheSignalsFoundAreRejected) {
  Program program = Parse(kDecode);
  program.counters[FindCounter(program, "x")].producers = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("counter x: error: it declares 3 producers, but 2 "
                        "instructions signal it"));
}

TEST(VerifierTest, LostSignalIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "embed[1]").signal = kNoCounter;
  EXPECT_THAT(Errors(program),
              HasSubstr("counter x: error: it declares 2 producers, but 1 "
                        "instructions signal it"));
}

TEST(VerifierTest, WaitForACounterThatNobodySignalsIsRejected) {
  Program program = Parse(kPipe);
  program.counters.push_back({"idle", 0});
  AddWait(Find(program, "first"), 2, 0);
  EXPECT_THAT(Errors(program),
              HasSubstr("(first, add): error: it waits for counter idle, which "
                        "nobody signals"));
}

TEST(VerifierTest, ThresholdBelowTheProducersIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").waits[0].threshold = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[0], gemv): error: it waits for counter x to "
                        "reach 1, but the counter has 2 producers"));
}

TEST(VerifierTest, ThresholdAboveTheProducersIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").waits[0].threshold = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("to reach 3, but the counter has 2 producers"));
}

// ---- budgets ----------------------------------------------------------------

TEST(VerifierTest, StageTooSmallForAPanelIsRejected) {
  Program program = Parse(kDecode);
  program.target.stage_bytes = 511;
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[0], gemv): error: its weights come in stages of "
                        "512 bytes, but the target's hold 511"));
  program.target.stage_bytes = 512;
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, OneStageIsRejected) {
  Program program = Parse(kDecode);
  program.target.stages = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("a weight stream needs at least 2 stages, but the "
                        "target has 1"));
}

TEST(VerifierTest, StagesBeyondSharedMemoryAreRejected) {
  Program program = Parse(kDecode);
  program.target.shared_memory_bytes = 4 * kStageBytes + 4095;
  EXPECT_THAT(Errors(program),
              HasSubstr("do not fit its 69631 bytes of shared memory"));
  program.target.shared_memory_bytes = 4 * kStageBytes + 4096;
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, StagesDoNotMatterWithoutAStream) {
  Program program = Parse(kPipe);
  program.target.stages = 0;
  EXPECT_EQ(Errors(program), "");
}

// ---- coverage ---------------------------------------------------------------

TEST(VerifierTest, ReadOfAnElementNotWrittenIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=8 count=8", "y=x begin=8 count=6"),
              AllOf(HasSubstr("worker 0, pc 1 (head[0], gemv): error: reads "
                              "x[0..16), but x[14..16) is not written in this "
                              "pass"),
                    HasSubstr("note: 1 more instructions read the same")));
}

TEST(VerifierTest, GapBetweenTilesIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=0 count=8", "y=x begin=0 count=7"),
              HasSubstr("but x[7..8) is not written in this pass"));
}

TEST(VerifierTest, ElementWrittenTwiceIsRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("y=x begin=8 count=8", "y=x begin=7 count=9"),
      AllOf(HasSubstr("worker 1, pc 0 (embed[1], embed): error: writes "
                      "x[7..16), but x[7..8) is written twice in a pass"),
            HasSubstr("note: the other write of x[0..8) is by worker 0, pc 0 "
                      "(embed[0], embed)")));
}

TEST(VerifierTest, WriteInsideAnotherIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=0 count=8", "y=x begin=0 count=16"),
              HasSubstr("writes x[8..16), but x[8..16) is written twice"));
}

TEST(VerifierTest, OutputNotWrittenToItsEndIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("buffer y f24 [16]", "buffer y f24 [17]"),
              HasSubstr("buffer y: error: y[16..17) is not written, but every "
                        "element of an activation is written in every pass"));
}

TEST(VerifierTest, ActivationThatNobodyWritesIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("counter h",
                           "buffer z f24 [4] activation\n"
                           "counter h"),
              HasSubstr("buffer z: error: z[0..4) is not written"));
}

TEST(VerifierTest, OutputOverItsOwnInputIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("add a=h b=h y=y", "add a=h b=y y=y"),
              HasSubstr("(second, add): error: its operands b and y overlap in "
                        "y[0..16)"));
}

TEST(VerifierTest, OneCacheForKeysAndValuesIsRejected) {
  EXPECT_THAT(Errors(Replace(kCache, "q=q_out k_cache=k_cache v_cache=v_cache",
                             "q=q_out k_cache=k_cache v_cache=k_cache")),
              HasSubstr("(attend, attention): error: its operands k_cache and "
                        "v_cache overlap in k_cache[0..128)"));
}

TEST(VerifierTest, RowsLostToTheArgmaxAreRejected) {
  EXPECT_THAT(ErrorsOfDecode("row_begin=16 rows=16", "row_begin=16 rows=8"),
              HasSubstr("worker 1, pc 1 (head[1], gemv): error: rows [24..32) "
                        "of w take part not once in the argmax into best"));
  EXPECT_THAT(ErrorsOfDecode("row_begin=0 rows=16", "row_begin=8 rows=8"),
              HasSubstr("(head[0], gemv): error: rows [0..8) of w take part "
                        "not once"));
}

TEST(VerifierTest, RowsTwiceInTheArgmaxAreRejected) {
  EXPECT_THAT(ErrorsOfDecode("row_begin=16 rows=16", "row_begin=8 rows=24"),
              HasSubstr("(head[1], gemv): error: rows [8..16) of w take part "
                        "twice in the argmax into best"));
}

TEST(VerifierTest, CandidateThatNobodyReadsIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=token n=2", "y=token n=1"),
              HasSubstr("worker 0, pc 2 (argmax, argmax): error: reads "
                        "best[0..1), but nobody reads the candidate "
                        "best[1..2)"));
}

// ---- diagnostics ------------------------------------------------------------

TEST(VerifierTest, StopsAfterMaxDiagnostics) {
  Program program = Parse(kDecode);
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) i.flags |= 0x100;
  }
  EXPECT_THAT(Verify(program, {.max_diagnostics = 3}), SizeIs(3));
  EXPECT_THAT(Verify(program), SizeIs(8));
}

TEST(VerifierTest, EvenNoDiagnosticsWantedReportsOne) {
  Program program = Parse(kDecode);
  program.queues[0][0].flags |= 0x100;
  EXPECT_THAT(Verify(program, {.max_diagnostics = 0}), SizeIs(1));
}

TEST(VerifierTest, StatusHasTheFirstDiagnosticAndTheNumberOfOthers) {
  Program program = Parse(kDecode);
  program.queues[0][0].flags |= 0x100;
  program.queues[0][1].flags |= 0x100;
  program.queues[1][0].flags |= 0x100;
  const absl::Status status = VerifyStatus(program);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::string(status.message()),
            "worker 0, pc 0 (embed[0], embed): error: unknown flags are set\n"
            "(and 2 more)");
}

}  // namespace
}  // namespace mkvm::isa
