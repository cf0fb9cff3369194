// Dependencies and critical paths that can be checked by hand.
#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/trace/hand_trace.h"
#include "trace/critical_path.h"
#include "trace/dependencies.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string NameOf(const Trace& trace, EventIndex event) {
  return event == kNoEvent ? "none" : Name(trace, trace.events[event]);
}

EventIndex IndexOf(const Trace& trace, absl::string_view name,
                   uint32_t pass = 0) {
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    if (trace.events[i].pass == pass && Name(trace, trace.events[i]) == name) {
      return i;
    }
  }
  ADD_FAILURE() << name;
  return kNoEvent;
}

Nanos Sum(const PathParts& parts) {
  return std::accumulate(parts.begin(), parts.end(), Nanos{0});
}

// ---- dependencies

TEST(Dependencies, LastProducerIsOneThatIsRead) {
  const Trace trace = HandTrace();
  const Dependencies d(trace);
  // down[0] reads what up[0] made, although up[1] published later.
  const Edge first = d.EdgeOf(IndexOf(trace, "L00.down[0]"), 0);
  EXPECT_EQ(NameOf(trace, first.producer), "L00.up[0]");
  EXPECT_EQ(first.publish, 120);
  EXPECT_EQ(first.transport, Transport::kCounter);
  const Edge second = d.LastEdge(IndexOf(trace, "L00.down[1]"));
  EXPECT_EQ(NameOf(trace, second.producer), "L00.up[1]");
  EXPECT_EQ(second.publish, 220);
}

TEST(Dependencies, LaggedWaitsAreForThePassBefore) {
  const Trace trace = HandTrace(2);
  const Dependencies d(trace);
  EXPECT_EQ(d.EdgeOf(IndexOf(trace, "L00.up[0]", 0), 0).producer, kNoEvent);
  // It reads nothing that those who signal write: the last of them all.
  const Edge edge = d.EdgeOf(IndexOf(trace, "L00.up[0]", 1), 0);
  EXPECT_EQ(NameOf(trace, edge.producer), "L00.down[1]");
  EXPECT_EQ(trace.events[edge.producer].pass, 0u);
  EXPECT_EQ(edge.publish, 340);
}

TEST(Dependencies, TaggedDataArePublishedWhenTheyAreWritten) {
  Trace trace = HandTrace();
  trace.program = HandProgram(" tagged");
  // A machine that polls nothing carries every edge by its counter.
  EXPECT_EQ(Dependencies(trace).LastEdge(4).publish, 120);
  trace.events[4].poll_begin = 140;
  trace.events[5].poll_begin = 250;
  const Dependencies d(trace);
  const Edge edge = d.LastEdge(IndexOf(trace, "L00.down[0]"));
  EXPECT_EQ(edge.transport, Transport::kTagged);
  EXPECT_EQ(edge.publish, 110);
  EXPECT_EQ(d.Detected(IndexOf(trace, "L00.down[0]"), Transport::kTagged), 140);
  EXPECT_EQ(d.Propagation(Transport::kTagged), 30);
  EXPECT_EQ(d.Propagation(Transport::kCounter), 0);
}

TEST(Dependencies, PropagationIsTheLeastOfAllEdges) {
  const Trace trace = HandTrace();
  EXPECT_EQ(Dependencies(trace).Propagation(Transport::kCounter), 30);
}

TEST(Dependencies, SkewDoesNotMakeItNegative) {
  Trace trace = HandTrace();
  trace.events[4].waited = 100;  // before up[0] has signaled
  EXPECT_EQ(Dependencies(trace).Propagation(Transport::kCounter), 0);
}

TEST(Dependencies, GapsAreSeen) {
  Trace trace = HandTrace(3);
  // Pass 1 of worker 0 got lost, and down[0] of pass 2.
  std::erase_if(trace.events, [](const Event& e) {
    return (e.worker == 0 && e.pass == 1) ||
           (e.worker == 2 && e.pass == 2 && e.pc == 0);
  });
  const Dependencies d(trace);
  EXPECT_EQ(d.Find(0, 1, 0), kNoEvent);
  const EventIndex after = d.Find(0, 2, 0);
  ASSERT_NE(after, kNoEvent);
  EXPECT_EQ(trace.events[after].pass, 2u);
  EXPECT_EQ(d.Previous(after), kNoEvent);
  EXPECT_EQ(d.LastEdge(d.Find(2, 1, 0)).producer, kNoEvent);
  EXPECT_EQ(d.Previous(d.Find(2, 2, 1)), kNoEvent);
  EXPECT_EQ(NameOf(trace, d.Previous(d.Find(2, 2, 2))), "L00.down[1]");
  EXPECT_EQ(d.Find(0, 3, 0), kNoEvent);
  // Nothing follows from such passes but their own events.
  const std::vector<PassSpan> typical = TypicalPasses(PassSpans(trace));
  ASSERT_EQ(typical.size(), 1u);
  EXPECT_EQ(typical[0].pass, 0u);
}

TEST(Breakdown, PartsMakeUpTheTime) {
  const Trace trace = HandTrace();
  const Breakdown b = BreakDown(trace.events[5], &trace.events[4]);
  EXPECT_EQ(b.overhead, 5 + 5);
  EXPECT_EQ(b.wait, 65);
  EXPECT_EQ(b.stage_wait, 20);
  EXPECT_EQ(b.operand_wait, 0);
  EXPECT_EQ(b.compute, 40);
  EXPECT_EQ(b.total(), 340 - 205);
}

TEST(Breakdown, UnrecordedAndSkewedTimes) {
  Event e = MakeEvent(0, 0, 0, 100, 90, kNever, 80, 70);
  e.waited = kNever;
  e.stage_wait = 1000;
  const Event before = MakeEvent(0, 0, 0, 0, 0, 0, 0, 120);
  const Breakdown b = BreakDown(e, &before);
  EXPECT_EQ(b.total(), 0);
  EXPECT_EQ(ReadyTime(e), 100);
}

// ---- critical path

TEST(CriticalPath, PartsByHand) {
  const Trace trace = HandTrace();
  const Dependencies d(trace);
  const CriticalPath path = FindCriticalPath(d);
  ASSERT_EQ(path.tokens.size(), 1u);
  const TokenPath& token = path.tokens[0];
  std::vector<std::string> names;
  for (const PathStep& step : token.steps) {
    names.push_back(NameOf(trace, step.event));
  }
  EXPECT_THAT(names, ElementsAre("L00.up[1]", "L00.down[1]", "halt[2]"));
  EXPECT_EQ(token.hops, 1u);
  EXPECT_EQ(token.begin, 0);
  EXPECT_EQ(token.end, 352);
  //                       compute stages later publish travel detect load ...
  EXPECT_THAT(token.steps[0].parts, ElementsAre(200, 0, 0, 0, 0, 0, 10, 0, 0));
  EXPECT_THAT(token.steps[1].parts,
              ElementsAre(40, 20, 0, 10, 30, 10, 15, 0, 0));
  EXPECT_THAT(token.steps[2].parts, ElementsAre(2, 0, 0, 0, 0, 0, 0, 15, 0));
  EXPECT_EQ(Sum(token.parts), 352);
  const std::string text = TokenPathText(d, token);
  EXPECT_THAT(text, HasSubstr("after L00.up[1] on worker 1 (counter)"));
}

TEST(CriticalPath, LateOperandsAreSplitOff) {
  Trace trace = HandTrace();
  // down[1] began to compute at 230 and waited 45 ns for the rest, 25 of them
  // before up[1] had published at 255.
  trace.events[2].signaled = 255;
  trace.events[5].waited = trace.events[5].ready = 230;
  trace.events[5].operand_wait = 45;
  trace.events[5].stage_wait = 0;
  const Dependencies d(trace);
  const TokenPath token = FindCriticalPath(d).tokens[0];
  ASSERT_EQ(token.steps.size(), 3u);
  EXPECT_THAT(token.steps[1].parts, ElementsAre(60, 0, 20, 45, 0, 0, 0, 0, 0));
  EXPECT_EQ(Sum(token.parts), 352);
}

TEST(CriticalPath, FollowsTheQueueAcrossPasses) {
  const Trace trace = HandTrace(3);
  const Dependencies d(trace);
  const CriticalPath path = FindCriticalPath(d);
  ASSERT_EQ(path.tokens.size(), 3u);
  for (const TokenPath& token : path.tokens) {
    EXPECT_EQ(Sum(token.parts), token.end - token.begin);
  }
  EXPECT_EQ(path.tokens[1].begin, 352);
  EXPECT_EQ(path.tokens[1].end, 752);
  // Of up[1]'s way, what comes after the end of the pass before.
  const PathStep& first = path.tokens[1].steps[0];
  EXPECT_EQ(NameOf(trace, first.event), "L00.up[1]");
  EXPECT_EQ(first.begin, 352);
}

// Both workers make half of `a` in the same time and read all of it: what
// holds them up is the half that has to travel.
TEST(CriticalPath, OnesOwnDataAreNoHop) {
  const std::string text = R"(
program exchange
buffer c f24 [4] state
buffer a f24 [4] activation
buffer b f24 [8] activation
counter made
worker 0
  make[0]: add a=c b=c y=a begin=0 count=2 signal(made)
  use[0]: add a=a b=a y=b begin=0 count=4 wait(made)
  halt
worker 1
  make[1]: add a=c b=c y=a begin=2 count=2 signal(made)
  use[1]: add a=a b=a y=b begin=0 count=4 wait(made)
  halt
)";
  absl::StatusOr<isa::Program> program = isa::Assemble(text);
  ASSERT_TRUE(program.ok()) << program.status();
  Trace trace;
  trace.program = *std::move(program);
  for (const uint32_t w : {0, 1}) {
    trace.events.push_back(MakeEvent(w, 0, 0, 0, 0, 0, 100, 110));
    trace.events.push_back(MakeEvent(w, 0, 1, 112, 140, 150, 200, 201));
    trace.events.push_back(MakeEvent(w, 0, 2, 202, 202, 202, 203, 204));
  }
  Normalize(trace);
  const Dependencies d(trace);
  for (const EventIndex use : {1, 4}) {
    EXPECT_EQ(NameOf(trace, d.LastEdge(use).producer), "make[0]");
    EXPECT_EQ(NameOf(trace, d.LastHop(use).producer),
              use == 1 ? "make[1]" : "make[0]");
  }
  EXPECT_EQ(d.Propagation(Transport::kCounter), 30);
  const TokenPath token = FindCriticalPath(d).tokens[0];
  EXPECT_EQ(token.hops, 1u);
  ASSERT_EQ(token.steps.size(), 3u);
  EXPECT_EQ(NameOf(trace, token.steps[0].event), "make[1]");
  EXPECT_EQ(NameOf(trace, token.steps[1].event), "use[0]");
  EXPECT_THAT(token.steps[1].parts, ElementsAre(50, 0, 0, 10, 30, 0, 10, 0, 0));
}

TEST(CriticalPath, ACircleOfWaitsEnds) {
  const std::string text = R"(
program circle
buffer c f24 [4] state
buffer a f24 [4] activation
buffer b f24 [4] activation
counter p
counter q
worker 0
  add a=b b=c y=a begin=0 count=4 wait(q) signal(p)
  halt
worker 1
  add a=a b=c y=b begin=0 count=4 wait(p) signal(q)
  halt
)";
  absl::StatusOr<isa::Program> program = isa::Assemble(text);
  ASSERT_TRUE(program.ok()) << program.status();
  Trace trace;
  trace.program = *std::move(program);
  for (const uint32_t w : {0, 1}) {
    trace.events.push_back(MakeEvent(w, 0, 0, 0, 100, 100, 100, 100));
    trace.events.push_back(MakeEvent(w, 0, 1, 100, 100, 100, 101, 101));
  }
  Normalize(trace);
  const Dependencies d(trace);
  const TokenPath token = FindCriticalPath(d).tokens[0];
  EXPECT_EQ(Sum(token.parts), 101);
  EXPECT_THAT(AskWhatIf(d).status().message(), HasSubstr("circle"));
}

}  // namespace
}  // namespace mkvm::trace
