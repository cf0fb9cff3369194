// What the verifier says of order, of the laps of counters and of progress. One
// rule, one test.
#include "isa/verifier.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/isa/verifier_testing.h"

namespace mkvm::isa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// ---- order ------------------------------------------------------------------

TEST(VerifierOrderTest, ReadWithoutAWaitForItsWriterIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe(" wait(h)", ""),
      AllOf(HasSubstr("worker 1, pc 0 (second, add): error: reads h[0..16), "
                      "but nothing orders it after the write of h[0..16)"),
            HasSubstr("note: h[0..16) is written by worker 0, pc 0 (first, "
                      "add)"),
            HasSubstr("mend: wait for counter h, which that instruction "
                      "signals")));
}

TEST(VerifierOrderTest, WaitForThePassBeforeDoesNotOrderThisPass) {
  EXPECT_THAT(ErrorsOfPipe("wait(h)", "wait(h lag)"),
              HasSubstr("(second, add): error: reads h[0..16), but nothing "
                        "orders it after the write"));
}

TEST(VerifierOrderTest, WriterThatSignalsNothingIsToldSo) {
  std::string text = Replace(kPipe, " wait(h)", "");
  text = Replace(text, " signal(h)", "");
  EXPECT_THAT(Errors(text),
              HasSubstr("mend: let that instruction signal a counter, and "
                        "wait for it"));
}

TEST(VerifierOrderTest, ReadBeforeTheWriteInOneQueueIsRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer h f24 [4] activation
buffer y f24 [4] activation
worker 0
  early: add a=h b=in y=y begin=0 count=4
  late: add a=in b=in y=h begin=0 count=4
  halt
)"),
              HasSubstr("worker 0, pc 0 (early, add): error: reads h[0..4), "
                        "but nothing orders it after the write of h[0..4)"));
}

TEST(VerifierOrderTest, PartOfTheReadWithoutAWaitIsNamed) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [8] input
buffer h f24 [8] activation
buffer y f24 [8] activation
counter low
counter high
counter y
worker 0
  low: add a=in b=in y=h begin=0 count=4 wait(y lag) signal(low)
  halt
worker 1
  high: add a=in b=in y=h begin=4 count=4 wait(y lag) signal(high)
  halt
worker 2
  both: add a=h b=in y=y begin=0 count=8 wait(low) signal(y)
  halt
)"),
              AllOf(HasSubstr("worker 2, pc 0 (both, add): error: reads "
                              "h[0..8), but nothing orders it after the write "
                              "of h[4..8)"),
                    HasSubstr("mend: wait for counter high")));
}

TEST(VerifierOrderTest, UnpolledReadOfRelaxedDataIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("signal(h)", "signal(h relaxed)"),
      AllOf(HasSubstr("(second, add): error: reads h[0..16) without polling, "
                      "but only tagged data or signals without release order "
                      "it after the write of h[0..16)"),
            HasSubstr("mend: poll the operand, or let that instruction signal "
                      "with release")));
}

TEST(VerifierOrderTest, UnpolledReadBehindATaggedWaitIsRejected) {
  // b is read as plain memory, though only polling a says that h is there.
  EXPECT_THAT(ErrorsOfPipe("wait(h)", "wait(h tagged) polled(a)"),
              HasSubstr("reads h[0..16) without polling"));
  EXPECT_EQ(ErrorsOfPipe("wait(h)", "wait(h tagged) polled(a, b)"), "");
}

TEST(VerifierOrderTest, PolledReadWithoutAChainOfWaitsIsRejected) {
  EXPECT_THAT(ErrorsOfPipe(" wait(h)", " polled(a, b)"),
              HasSubstr("(second, add): error: polls h[0..16), but no chain of "
                        "waits orders it after the write of h[0..16)"));
}

TEST(VerifierOrderTest, OverwriteOfWhatMayStillBeReadIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe(" wait(y lag)", ""),
      AllOf(HasSubstr("worker 0, pc 0 (first, add): error: writes h[0..16), "
                      "but nothing orders it after the read of h[0..16) in the "
                      "pass before"),
            HasSubstr("note: h[0..16) is read by worker 1, pc 0 (second, add)"),
            HasSubstr("mend: wait for counter y, which that instruction "
                      "signals with lag 1")));
}

TEST(VerifierOrderTest, OverwriteAfterARelaxedSignalOfTheReaderIsProven) {
  // The reader's loads are done before it signals; no data need be visible.
  EXPECT_EQ(ErrorsOfPipe("signal(y)", "signal(y relaxed)"), "");
}

TEST(VerifierOrderTest, TaggedDataOrderOnlyWhatIsPolled) {
  // A machine that polls does not wait for `other`, who may still read `a`.
  EXPECT_EQ(Errors(kParts), "");
  const std::string text = Replace(kParts, "wait(parts)", "wait(parts tagged)");
  EXPECT_THAT(Errors(text),
              HasSubstr("worker 0, pc 0 (a, add): error: writes a[0..4), but "
                        "nothing orders it after the read of a[0..4) in the "
                        "pass before"));
  EXPECT_EQ(Errors(WithCountersOnly(Parse(text))), "");
}

TEST(VerifierOrderTest, PartOfAResultDoesNotSayThatItsWriterIsDone) {
  EXPECT_EQ(Errors(kHalf), "");
  EXPECT_THAT(Errors(Replace(kHalf, "wait(m lag, y lag)", "wait(y lag)")),
              HasSubstr("worker 0, pc 0 (h, add): error: writes h[0..8), but "
                        "nothing orders it after the read of h[0..8) in the "
                        "pass before"));
  // Who polls all of it knows.
  std::string whole =
      Replace(kHalf, "y=m begin=0 count=8", "y=m begin=0 count=4");
  whole = Replace(whole, "buffer m f24 [8]", "buffer m f24 [4]");
  EXPECT_EQ(Errors(Replace(whole, "wait(m lag, y lag)", "wait(y lag)")), "");
}

TEST(VerifierOrderTest, OneElementPolledDoesNotOrderTheWriteOfAnother) {
  EXPECT_EQ(Errors(kElements), "");
  EXPECT_THAT(
      Errors(Replace(kElements, "wait(m tagged, y lag)", "wait(m tagged)")),
      HasSubstr("worker 1, pc 0 (sum, add): error: writes x[0..8), but nothing "
                "orders it after the read of x[0..8) in the pass before"));
}

TEST(VerifierOrderTest, PollOfSomeElementsDoesNotSayThatTheirWriterIsDone) {
  EXPECT_EQ(Errors(kMerge), "");
  EXPECT_THAT(Errors(Replace(kMerge, "wait(part lag, y lag)", "wait(y lag)")),
              HasSubstr("worker 0, pc 0 (q, add): error: writes q[0..8), but "
                        "nothing orders it after the read of q[0..8) in the "
                        "pass before"));
}

TEST(VerifierOrderTest, AdvanceWritesOnlyAfterAllCandidates) {
  // Worker 1's candidate is all that says that its halt has read stop. Advance
  // has it before it writes anything, an argmax when it is done.
  std::string text =
      Replace(kDecode,
              "embed[0]: embed tokens=tokens table=table y=x begin=0 "
              "count=8",
              "embed[0]: embed tokens=tokens table=table y=x begin=0 count=16");
  text = Replace(text,
                 "  embed[1]: embed tokens=tokens table=table y=x begin=8 "
                 "count=8 signal(x relaxed)\n",
                 "");
  EXPECT_EQ(Errors(text), "");
  text = Replace(text,
                 "  argmax: argmax x=best y=token n=2 wait(best tagged) "
                 "polled(x) signal(token relaxed)\n",
                 "");
  text = Replace(text, "buffer token ranked [1] activation\n", "");
  text = Replace(text, "counter token\n", "");
  text = Replace(text, "advance best=token", "advance best=best");
  text = Replace(text, "wait(token tagged) polled(best)",
                 "wait(best tagged) polled(best)");
  EXPECT_EQ(Errors(text), "");
  EXPECT_EQ(Errors(WithCountersOnly(Parse(text))), "");
  // But not of what isn't polled, and only ticked.
  EXPECT_THAT(Errors(Replace(text, "wait(best tagged) polled(best)", "")),
              HasSubstr("best"));
}

TEST(VerifierOrderTest, CacheReadBeforeTheAppendIsRejected) {
  EXPECT_THAT(Errors(Replace(kCache, "wait(append)", "wait(append lag)")),
              HasSubstr("k_cache[0..128), but nothing orders it after the "
                        "write of k_cache[0..128) in this pass"));
}

TEST(VerifierOrderTest, AppendWhileTheCacheIsReadIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kCache, " wait(part lag)", "")),
      AllOf(HasSubstr("k_cache[0..128), but nothing orders it after the write "
                      "of k_cache[0..128) in the pass before"),
            HasSubstr("signals with lag 1")));
}

TEST(VerifierOrderTest, CacheHandedOverByARelaxedSignalIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kCache, "signal(append)", "signal(append relaxed)")),
      AllOf(HasSubstr("worker 1, pc 0 (attend, attention): error: writes "
                      "k_cache[0..128), but only tagged data or signals "
                      "without release order it after the write of "
                      "k_cache[0..128) in this pass"),
            HasSubstr("mend: let that instruction signal with release")));
}

TEST(VerifierOrderTest, TokenHandedToTheNextPassByARelaxedSignalIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("signal(advanced)", "signal(advanced relaxed)"),
              HasSubstr("worker 1, pc 0 (embed[1], embed): error: reads "
                        "tokens[0..8), but only tagged data or signals without "
                        "release order it after the write of tokens[0..8) in "
                        "the pass before"));
}

TEST(VerifierOrderTest, TwoWritersOfStateWithoutOrderAreRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer s f24 [4] state
worker 0
  one: add a=in b=in y=s begin=0 count=3
  halt
worker 1
  two: add a=in b=in y=s begin=2 count=2
  halt
)"),
              HasSubstr("writes s[2..4), but nothing orders it after the write "
                        "of s[0..3)"));
}

TEST(VerifierOrderTest, NeighboursInStateNeedNoOrder) {
  EXPECT_EQ(Errors(R"(
buffer in f24 [4] input
buffer s f24 [4] state
worker 0
  one: add a=in b=in y=s begin=0 count=2
  halt
worker 1
  two: add a=in b=in y=s begin=2 count=2
  halt
)"),
            "");
}

TEST(VerifierOrderTest, StateReadWhileItIsWrittenIsRejected) {
  EXPECT_EQ(Errors(kState), "");
  EXPECT_THAT(Errors(Replace(kState, " wait(s lag)", "")),
              AllOf(HasSubstr("s[0..4), but nothing orders it after the"),
                    HasSubstr("of s[0..4) in the pass before")));
}

TEST(VerifierOrderTest, StateWrittenBeforeItIsReadIsRejected) {
  EXPECT_THAT(Errors(Replace(kState, " wait(y)", "")),
              HasSubstr("s[0..4), but nothing orders it after the"));
}

// ---- laps of counters -------------------------------------------------------

TEST(VerifierOrderTest, ProducersHeldBackByTheWaiterAreProven) {
  EXPECT_EQ(Errors(kLap), "");
}

TEST(VerifierOrderTest, ProducerThatMaySignalTwiceBeforeAnotherDoesIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kLap, "b: nop wait(both lag)", "b: nop")),
      AllOf(HasSubstr("worker 1, pc 0 (b, nop): error: may signal counter "
                      "parts for the next pass before all have signalled it "
                      "for this one, so that a waiter miscounts"),
            HasSubstr("note: nothing orders it after the signal of worker 0, "
                      "pc 0 (a, nop)")));
}

TEST(VerifierOrderTest, RelaxedProducersHeldBackByTheWaiterAreProven) {
  std::string text = Replace(kLap, "a: nop wait(both lag) signal(parts)",
                             "a: nop wait(both lag) signal(parts relaxed)");
  EXPECT_EQ(Errors(Replace(text, "signal(both)", "signal(both relaxed)")), "");
}

TEST(VerifierOrderTest, LaggedWaiterHoldsItsProducersBackOnlyOnceItHasCounted) {
  EXPECT_EQ(Errors(R"(
counter parts
counter counted
worker 0
  a: nop wait(counted) signal(parts)
  halt
worker 1
  b: nop wait(counted) signal(parts)
  halt
worker 2
  count: nop wait(parts lag) signal(counted)
  halt
)"),
            "");
}

TEST(VerifierOrderTest, SignalThatALaterOneMayOvertakeIsRejected) {
  EXPECT_EQ(Errors(kOvertaken), "");
  // That `after_b` has signalled does not say that b's signal has arrived: two
  // of a's may be counted first.
  EXPECT_THAT(
      Errors(Replace(kOvertaken, "wait(after_b lag, both lag)",
                     "wait(after_b lag)")),
      HasSubstr("worker 0, pc 0 (a, nop): error: may signal counter parts for "
                "the next pass before all have signalled it"));
}

TEST(VerifierOrderTest, CounterThatNobodyWaitsForMayLap) {
  EXPECT_EQ(Errors(R"(
counter parts
worker 0
  nop signal(parts)
  halt
worker 1
  nop signal(parts)
  halt
)"),
            "");
}

// ---- progress ---------------------------------------------------------------

TEST(VerifierOrderTest, WaitForOneselfIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("wait(y lag) signal(h)", "wait(h) signal(h)"),
              AllOf(HasSubstr("worker 0, pc 0 (first, add): error: it waits "
                              "for itself or for what follows it"),
                    HasSubstr("note: worker 0, pc 0 (first, add) waits for "
                              "counter h")));
}

TEST(VerifierOrderTest, TwoInstructionsThatWaitForEachOtherAreRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("wait(y lag)", "wait(y)"),
      AllOf(HasSubstr("deadlock: 2 instructions wait in a circle"),
            HasSubstr("note: worker 0, pc 0 (first, add) waits for counter y"),
            HasSubstr("note: worker 1, pc 0 (second, add) waits for counter "
                      "h")));
}

TEST(VerifierOrderTest, CircleThroughQueueOrderIsRejected) {
  EXPECT_THAT(Errors(R"(
counter a
counter b
worker 0
  w0: nop wait(b)
  s0: nop signal(a)
  halt
worker 1
  w1: nop wait(a)
  s1: nop signal(b)
  halt
)"),
              HasSubstr("deadlock: 2 instructions wait in a circle"));
}

TEST(VerifierOrderTest, CircleThroughPolledDataIsRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer a f24 [4] activation
buffer b f24 [4] activation
worker 0
  a: add a=b b=in y=a begin=0 count=4 polled(a)
  halt
worker 1
  b: add a=a b=in y=b begin=0 count=4 polled(a)
  halt
)"),
              AllOf(HasSubstr("deadlock: 2 instructions wait in a circle"),
                    HasSubstr("polls b[0..4)"), HasSubstr("polls a[0..4)")));
}

TEST(VerifierOrderTest, CircleThroughTheNextPassIsProvenToBreakAtPassZero) {
  // Each waits for the other's last pass: nothing to wait for in pass 0.
  EXPECT_EQ(Errors(R"(
counter a
counter b
worker 0
  nop wait(b lag) signal(a)
  halt
worker 1
  nop wait(a lag) signal(b)
  halt
)"),
            "");
}

}  // namespace
}  // namespace mkvm::isa
