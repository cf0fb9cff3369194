// Summary, what-if, diff and CSV of traces whose numbers can be checked by
// hand.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/trace/hand_trace.h"
#include "trace/critical_path.h"
#include "trace/csv.h"
#include "trace/dependencies.h"
#include "trace/diff.h"
#include "trace/summary.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

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

TEST(Summary, IsQuietAboutClocksAsGoodAsTheyClaim) {
  Trace trace = HandTrace();
  trace.events[4].waited = trace.events[4].ready = 100;
  trace.skew_ns = 20;
  const auto text_of = [](const Trace& t) {
    const Dependencies d(t);
    return SummaryText(d, Summarize(d));
  };
  std::string text = text_of(trace);
  EXPECT_THAT(text, HasSubstr("up to 20 ns apart (seen: 20 ns, in 50.00 %"));
  EXPECT_THAT(text, Not(HasSubstr("CLOCKS DIFFER")));
  trace.skew_ns = 19;
  text = text_of(trace);
  EXPECT_THAT(text, HasSubstr("CLOCKS DIFFER: 50.00 %"));
  EXPECT_THAT(text, Not(HasSubstr("seen:")));
  EXPECT_THAT(text_of(HandTrace()), Not(HasSubstr("seen:")));
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

}  // namespace
}  // namespace mkvm::trace
