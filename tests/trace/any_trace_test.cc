// What must hold of any trace.
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler/compile.h"
#include "tests/trace/hand_trace.h"
#include "tests/trace/synthetic.h"
#include "trace/critical_path.h"
#include "trace/dependencies.h"
#include "trace/summary.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

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
  Trace trace = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 2, 0);
  trace.first_position = 192;  // all four splits hold positions
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

TEST(AnyTrace, WhatIsPolledAloneComesFromAttention) {
  Trace trace = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 2, 0);
  trace.first_position = 63;  // the last pass of one kind, the first of another
  const Dependencies d(trace);
  size_t projections = 0;
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    const Event& e = trace.events[i];
    const std::string& label = trace.program.labels[e.worker][e.pc];
    const bool merge = label.find(".merge[") != std::string::npos;
    if (!merge && label.find(".o[") == std::string::npos) continue;
    bool attention = false;
    for (int w = 0; w < d.NumWaits(i); ++w) {
      const EventIndex producer = d.EdgeOf(i, w).producer;
      if (producer == kNoEvent) continue;
      attention |= Name(trace, trace.events[producer]).find(".attn") !=
                   std::string::npos;
    }
    EXPECT_EQ(attention, merge == (e.pass == 1)) << label << " " << e.pass;
    if (!merge) {
      ++projections;
    } else if (e.pass == 0) {
      EXPECT_EQ(d.LastEdge(i).producer, kNoEvent);
    }
  }
  EXPECT_GT(projections, 0u);
}

// Splits that hold no positions yet are nobody's producers, however late they
// are.
TEST(AnyTrace, MergesPollThePartsThatThereAre) {
  Trace trace = SyntheticTrace(Compiled("qwen3-tiny", "h200", 8), 2, 0);
  trace.first_position = 127;  // of two parts and of three
  for (Event& e : trace.events) {
    const isa::Instruction& i = trace.program.queues[e.worker][e.pc];
    if (i.opcode != static_cast<uint16_t>(isa::Opcode::kAttention)) continue;
    e.done += isa::DecodeOperands<isa::AttentionOperands>(i).split * 1000000;
  }
  const Dependencies d(trace);
  size_t merges = 0;
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    const Event& e = trace.events[i];
    const isa::Instruction& merge = trace.program.queues[e.worker][e.pc];
    if (merge.opcode == static_cast<uint16_t>(isa::Opcode::kAttention)) {
      // Such a split polls nothing either.
      const auto op = isa::DecodeOperands<isa::AttentionOperands>(merge);
      EXPECT_EQ(d.LastEdge(i).producer == kNoEvent, op.split > 1 + e.pass);
    }
    if (merge.opcode != static_cast<uint16_t>(isa::Opcode::kAttentionMerge)) {
      continue;
    }
    ++merges;
    ASSERT_EQ(isa::DecodeOperands<isa::AttentionMergeOperands>(merge).splits,
              4u);
    const Event& producer = trace.events[d.LastEdge(i).producer];
    const auto split = isa::DecodeOperands<isa::AttentionOperands>(
                           trace.program.queues[producer.worker][producer.pc])
                           .split;
    EXPECT_EQ(split, e.pass == 0 ? 1 : 2);
  }
  EXPECT_GT(merges, 0u);
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
