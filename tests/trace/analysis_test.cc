// Dependencies, summary, critical path, what-if, diff and CSV of traces whose
// numbers can be checked by hand, and what must hold of any trace.
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "scheduler/compile.h"
#include "tests/trace/hand_trace.h"
#include "tests/trace/synthetic.h"
#include "trace/critical_path.h"
#include "trace/csv.h"
#include "trace/dependencies.h"
#include "trace/diff.h"
#include "trace/replay.h"
#include "trace/summary.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

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

isa::Program Compiled(const std::string& model, const std::string& target_name,
                      uint32_t workers) {
  const absl::StatusOr<model::Config> config = model::FindConfig(model);
  EXPECT_TRUE(config.ok()) << config.status();
  absl::StatusOr<scheduler::Target> target = scheduler::FindTarget(target_name);
  EXPECT_TRUE(target.ok()) << target.status();
  target->workers = workers;
  scheduler::CompileOptions options;
  options.max_context = 512;
  absl::StatusOr<isa::Program> program =
      scheduler::Compile(*config, *target, options);
  EXPECT_TRUE(program.ok()) << program.status();
  return *std::move(program);
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

// ---- summary

TEST(Summary, NumbersByHand) {
  const Trace trace = HandTrace();
  const Dependencies d(trace);
  const Summary s = Summarize(d, {.num_slices = 2});
  EXPECT_EQ(s.num_passes, 1u);
  EXPECT_EQ(s.num_complete, 1u);
  EXPECT_DOUBLE_EQ(s.us_per_token, 0.352);
  ASSERT_EQ(s.opcodes.size(), 2u);
  EXPECT_EQ(s.opcodes[0].opcode, "add");
  EXPECT_EQ(s.opcodes[0].count, 4u);
  EXPECT_EQ(s.opcodes[0].total_ns, 120 + 220 + 200 + 130);
  EXPECT_EQ(s.opcodes[0].p99_ns, 220);
  EXPECT_EQ(s.opcodes[1].opcode, "halt");
  EXPECT_EQ(s.opcodes[1].median_ns, 3);

  ASSERT_EQ(s.phases.size(), 3u);
  EXPECT_EQ(s.phases[0].kind, "up");
  EXPECT_EQ(s.phases[0].count, 2u);
  EXPECT_EQ(s.phases[0].wait_ns, 10);
  EXPECT_EQ(s.phases[0].compute_ns, 150);
  EXPECT_EQ(s.phases[0].overhead_ns, 10);
  EXPECT_EQ(s.phases[0].bytes, 105);
  EXPECT_DOUBLE_EQ(s.phases[0].imbalance, 200 / 150.0);
  EXPECT_EQ(s.phases[1].kind, "halt");
  EXPECT_EQ(s.phases[2].kind, "down");
  EXPECT_EQ(s.phases[2].wait_ns, 110);
  EXPECT_EQ(s.phases[2].stage_wait_ns, 10);
  EXPECT_EQ(s.phases[2].compute_ns, 40);
  EXPECT_EQ(s.phases[2].imbalance, 1);

  ASSERT_EQ(s.workers.size(), 3u);
  EXPECT_EQ(s.workers[2].sums.wait, 220);
  EXPECT_EQ(s.workers[2].sums.stage_wait, 20);
  EXPECT_EQ(s.workers[2].sums.compute, 82);
  EXPECT_EQ(s.workers[2].sums.total(), 353 - 5);

  // 210 bytes from 0 to 210 ns, in two slices of 176 ns.
  EXPECT_THAT(s.gb_per_s,
              ElementsAre(DoubleNear(1, 1e-9), DoubleNear(34 / 176.0, 1e-9)));
  EXPECT_DOUBLE_EQ(s.mean_gb_per_s, 210 / 352.0);
}

TEST(Summary, WorstWaitsNameBothSides) {
  const Trace trace = HandTrace();
  const Dependencies d(trace);
  const Summary s = Summarize(d);
  ASSERT_EQ(s.worst_waits.size(), 1u);  // one pair of phases
  EXPECT_EQ(s.worst_waits[0].wait, 155);
  EXPECT_EQ(s.worst_waits[0].count, 2u);
  EXPECT_EQ(s.worst_waits[0].mean_ns, 110);
  const std::string text = SummaryText(d, s);
  EXPECT_THAT(text, HasSubstr("Measured on three hands"));
  EXPECT_THAT(text, HasSubstr("L00.down[0] waited 0.1"));
  EXPECT_THAT(text, HasSubstr(" us for L00.up[0] on worker 0 (pass 0"));
  EXPECT_THAT(text, Not(HasSubstr("INCOMPLETE")));
  EXPECT_TRUE(Summarize(d, {.num_waits = 0}).worst_waits.empty());
}

TEST(Summary, SaysWhatIsMissing) {
  Trace trace = HandTrace(2);
  trace.dropped = 1;
  trace.events.pop_back();
  const Dependencies d(trace);
  const std::string text = SummaryText(d, Summarize(d));
  EXPECT_THAT(text, HasSubstr("INCOMPLETE: 1 events"));
  EXPECT_THAT(text, HasSubstr("1 of 2 passes are whole"));
}

TEST(Summary, SaysThatClocksDiffer) {
  Trace trace = HandTrace();
  EXPECT_EQ(Summarize(Dependencies(trace)).num_edges, 2u);
  EXPECT_EQ(Summarize(Dependencies(trace)).num_impossible, 0u);
  // down[0] had up[0]'s result 20 ns before it was published.
  trace.events[4].waited = trace.events[4].ready = 100;
  const Dependencies d(trace);
  const Summary s = Summarize(d);
  EXPECT_EQ(s.num_impossible, 1u);
  EXPECT_EQ(s.worst_impossible, 20);
  EXPECT_THAT(SummaryText(d, s), HasSubstr("CLOCKS DIFFER: 50.00 %"));
}

TEST(Summary, EmptyTrace) {
  Trace trace = HandTrace();
  trace.events.clear();
  Normalize(trace);
  const Dependencies d(trace);
  EXPECT_THAT(SummaryText(d, Summarize(d)), HasSubstr("no events"));
  EXPECT_TRUE(FindCriticalPath(d).tokens.empty());
  EXPECT_FALSE(AskWhatIf(d).ok());
  EXPECT_EQ(CriticalPathText(TabulatePath(d, {})).find("nan"),
            std::string::npos);
  EXPECT_EQ(Compare(trace, trace).a_tokens, 0u);
}

TEST(Summary, JsonHasTheSameNumbers) {
  const Trace trace = HandTrace(3);
  const Dependencies d(trace);
  const PathTable table = TabulatePath(d, FindCriticalPath(d));
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(d);
  ASSERT_TRUE(what_if.ok()) << what_if.status();
  const auto json =
      nlohmann::json::parse(SummaryJson(d, Summarize(d), table, &*what_if));
  EXPECT_EQ(json["us_per_token"], 0.4);
  EXPECT_EQ(json["opcodes"][0]["count"], 12);
  EXPECT_EQ(json["worst_waits"][0]["instruction"], "L00.down[0]");
  EXPECT_EQ(json["critical_path"]["ns_per_token"], 400);
  EXPECT_EQ(json["what_if"]["measured_us_per_token"], 0.4);
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

// ---- what-if

TEST(WhatIf, AnswersByHand) {
  const Trace trace = HandTrace();
  const Dependencies d(trace);
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(d);
  ASSERT_TRUE(what_if.ok()) << what_if.status();
  EXPECT_DOUBLE_EQ(what_if->measured_us_per_token, 0.352);
  EXPECT_NEAR(what_if->replayed_us_per_token, 0.352, 1e-9);
  EXPECT_FALSE(what_if->has_stream);
  ASSERT_EQ(what_if->results.size(), 3u);
  // up[1] from 0 to 200; down[1] 20 of stages and 40; the halt 10 later.
  EXPECT_EQ(what_if->results[0].name, "hops free");
  EXPECT_NEAR(what_if->results[0].us_per_token, 0.272, 1e-9);
  // Both ups take 150: down[0] is ready at 170 + 40, done at 250; down[1] is
  // visited at 260, ready 10 later, done at 330; the halt 15 later takes 2.
  EXPECT_EQ(what_if->results[1].name, "balance perfect");
  EXPECT_NEAR(what_if->results[1].us_per_token, 0.347, 1e-6);
  // Both: ups 150, down[0] 40, dispatch 5, stages 20, 40, dispatch 10, 2.
  EXPECT_EQ(what_if->results[2].name, "both");
  EXPECT_NEAR(what_if->results[2].us_per_token, 0.267, 1e-6);
  EXPECT_THAT(WhatIfText(*what_if), HasSubstr("0.27 us/token"));
}

TEST(WhatIf, TheRingOfStages) {
  const std::string text = R"(
program ring
target t stages=2 stage_bytes=16
buffer x f24  [8]    input
buffer w bf16 [8, 8] weight
buffer y f24  [8]    activation
worker 0
  gemv x=x w=w y=y row_begin=0 rows=8 k=8
  halt
)";
  absl::StatusOr<isa::Program> program = isa::Assemble(text);
  ASSERT_TRUE(program.ok()) << program.status();
  Trace trace;
  trace.program = *std::move(program);
  // 8 stages of 3 ns. Two were there at 10; the other six came until 70, so
  // one every 10; the last was issued at 65, so that a copy takes 5.
  Event gemv = MakeEvent(0, 0, 0, 0, 0, 10, 78, 78);
  gemv.load_begin = 0;
  gemv.load_end = 65;
  gemv.stage_ready = 70;
  gemv.stage_wait = 44;
  trace.events = {gemv, MakeEvent(0, 0, 1, 78, 78, 78, 78, 78)};
  Normalize(trace);
  const Dependencies d(trace);
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(d);
  ASSERT_TRUE(what_if.ok()) << what_if.status();
  EXPECT_TRUE(what_if->has_stream);
  EXPECT_NEAR(what_if->stream_gb_per_s, 1.6, 1e-9);
  // Two stages until 16; the third, issued at 13, is there at 18, the eighth
  // 50 later and used until 71.
  EXPECT_NEAR(what_if->replayed_us_per_token, 0.071, 1e-9);
  ASSERT_EQ(what_if->results.size(), 4u);
  EXPECT_EQ(what_if->results[1].name, "bandwidth infinite");
  EXPECT_NEAR(what_if->results[1].us_per_token, 0.034, 1e-9);
}

TEST(WhatIf, NeedsAllEvents) {
  Trace trace = HandTrace(2);
  trace.dropped = 3;
  EXPECT_THAT(AskWhatIf(Dependencies(trace)).status().message(),
              HasSubstr("3 events were dropped"));
}

// ---- diff, CSV

TEST(Diff, FindsWhatChanged) {
  const Trace a = HandTrace(3);
  Trace b = a;
  for (Event& e : b.events) {
    // down[0] waits 30 longer and computes 10 less.
    if (e.worker == 2 && e.pc == 0) {
      e.ready += 30;
      e.done += 20;
      e.signaled += 20;
    }
  }
  b.program.labels[2][2] = "stop";
  const Diff diff = Compare(a, b);
  EXPECT_DOUBLE_EQ(diff.a_us_per_token, 0.4);
  EXPECT_EQ(diff.a_tokens, 2u);
  ASSERT_EQ(diff.phases.size(), 4u);
  EXPECT_EQ(diff.phases[0].name, "down");
  EXPECT_NEAR(diff.phases[0].change_us(), 0.02, 1e-9);
  EXPECT_NEAR(
      diff.phases[0].b.wait_us_per_token - diff.phases[0].a.wait_us_per_token,
      0.03, 1e-9);
  EXPECT_EQ(diff.phases[0].a.per_token, 2);
  EXPECT_EQ(diff.phases[3].name, "up");
  EXPECT_EQ(diff.phases[3].change_us(), 0);
  ASSERT_EQ(diff.opcodes.size(), 2u);
  EXPECT_EQ(diff.opcodes[0].name, "add");
  const std::string text = DiffText(a, b, diff);
  EXPECT_THAT(text, HasSubstr("Token: +0.00 us (+0.0 %)"));
  EXPECT_THAT(text, HasSubstr("new"));  // "stop"
  EXPECT_EQ(nlohmann::json::parse(DiffJson(diff))["phases"][0]["name"], "down");
}

TEST(Csv, QuotesAndLeavesOut) {
  Trace trace = HandTrace();
  trace.program.labels[2][0] = "a \"b\", c";
  const Dependencies d(trace);
  std::string text;
  WriteCsv(d, [&](absl::string_view piece) {
    text.append(piece.data(), piece.size());
  });
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  ASSERT_EQ(lines.size(), 1 + trace.events.size() + 1);
  const auto columns = std::count(lines[0].begin(), lines[0].end(), ',');
  for (size_t i = 1; i <= trace.events.size(); ++i) {
    if (i == 5) continue;  // it has commas of its own
    EXPECT_EQ(std::count(lines[i].begin(), lines[i].end(), ','), columns);
  }
  EXPECT_THAT(lines[5], HasSubstr(",add,\"a \"\"b\"\", c\","));
  EXPECT_EQ(lines[6],
            "0,2,1,add,L00.down[1],down,0,,,,210,260,,275,,335,340,20,0,,,"
            "L00.up[1],1,220");
  EXPECT_EQ(lines.back(), "");
}

// ---- any trace

void ExpectConsistent(const Trace& trace) {
  const Dependencies d(trace);
  const CriticalPath path = FindCriticalPath(d);
  const std::vector<PassSpan> spans = PassSpans(trace);
  ASSERT_EQ(path.tokens.size(), spans.size());
  for (size_t i = 0; i < spans.size(); ++i) {
    const TokenPath& token = path.tokens[i];
    EXPECT_EQ(token.begin, spans[i].begin);
    EXPECT_EQ(token.end, spans[i].end);
    EXPECT_EQ(Sum(token.parts), token.end - token.begin);
    Nanos at = token.begin;
    for (const PathStep& step : token.steps) {
      ASSERT_EQ(step.begin, at);
      at = step.end;
      ASSERT_EQ(Sum(step.parts), step.end - step.begin);
      for (const Nanos part : step.parts) ASSERT_GE(part, 0);
    }
    EXPECT_EQ(at, token.end);
  }
  const Summary s = Summarize(d);
  double bytes = 0;
  for (const double rate : s.gb_per_s) bytes += rate * s.slice_ns;
  double recorded = 0;
  for (const Event& e : trace.events) recorded += static_cast<double>(e.bytes);
  EXPECT_NEAR(bytes, recorded, recorded * 1e-6);
  EXPECT_FALSE(SummaryText(d, s).empty());
}

TEST(AnyTrace, PathsAndBytesAddUp) {
  ExpectConsistent(HandTrace(5));
  ExpectConsistent(SyntheticTrace(Compiled("qwen3-tiny", "cpu", 3), 5, 7));
  ExpectConsistent(SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 5, 7));
  Trace gaps = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 5, 7);
  uint32_t dice = 1;
  std::erase_if(gaps.events, [&](const Event&) {
    dice = dice * 1664525u + 1013904223u;
    return dice >> 24 < 20;
  });
  ExpectConsistent(gaps);
}

TEST(AnyTrace, EveryEdgeHasAProducerThatSignalsItsCounter) {
  const Trace trace = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 2, 0);
  const Dependencies d(trace);
  size_t edges = 0;
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    const Event& e = trace.events[i];
    const isa::Instruction& waiter = trace.program.queues[e.worker][e.pc];
    for (int w = 0; w < d.NumWaits(i); ++w) {
      const Edge edge = d.EdgeOf(i, w);
      if (waiter.WaitIsLagged(w) && e.pass == 0) continue;
      ASSERT_NE(edge.producer, kNoEvent);
      const Event& p = trace.events[edge.producer];
      EXPECT_EQ(trace.program.queues[p.worker][p.pc].signal,
                waiter.waits[w].counter);
      EXPECT_EQ(p.pass + (waiter.WaitIsLagged(w) ? 1 : 0), e.pass);
      EXPECT_LE(p.done, e.done);
      ++edges;
    }
  }
  EXPECT_GT(edges, 100u);
}

TEST(AnyTrace, TheReplayMeetsAMachineWithoutAStream) {
  Trace trace = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 4, 0);
  for (Event& e : trace.events) {
    e.load_begin = e.load_end = e.stage_ready = kNever;
  }
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(Dependencies(trace));
  ASSERT_TRUE(what_if.ok()) << what_if.status();
  EXPECT_NEAR(what_if->replayed_us_per_token, what_if->measured_us_per_token,
              1e-3 * what_if->measured_us_per_token);
  for (const WhatIfResult& r : what_if->results) {
    EXPECT_LE(r.us_per_token, what_if->replayed_us_per_token * 1.001);
  }
}

}  // namespace
}  // namespace mkvm::trace
