#include "scheduler/simulate.h"

#include "scheduler/cost_model.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Powers of two, so that sums are exact.
Target RoundTarget() {
  Target t;
  t.name = "round";
  t.stream_gb_per_s = 1e6;
  t.copy_us = 0;
  t.hop_us = 2;
  t.load_us = 0.125;
  t.signal_us = 0.25;
  t.release_us = 0;
  t.instruction_us = 0.5;
  t.costs["default"].fixed_us = 1;
  return t;
}

// Every gemv costs that much.
void SetGemv(Target& t, double fixed_us, double stage_us, double slab_us) {
  OpCost& cost = t.costs["gemv"];
  cost.fixed_us = fixed_us;
  cost.unit_us[static_cast<size_t>(Unit::kStages)] = stage_us;
  cost.unit_us[static_cast<size_t>(Unit::kSlabs)] = slab_us;
}

// Worker 0 signals counter 0, worker 1 waits for it.
isa::Program Chain(bool tagged, bool lag = false) {
  isa::Program program;
  program.counters = {{"c", 1}};
  isa::Instruction first = isa::Encode(isa::NopOperands{});
  first.signal = 0;
  isa::Instruction second = isa::Encode(isa::NopOperands{});
  isa::AddWait(second, 0, 1, lag, tagged);
  program.queues = {{first}, {second}};
  return program;
}

// `count` gemvs of rows x columns on one worker that wait for nothing.
isa::Program Gemvs(uint32_t count, uint32_t rows, uint32_t columns) {
  isa::Program program;
  program.buffers = {{"w",
                      isa::DType::kBf16,
                      isa::BufferKind::kWeight,
                      isa::Layout::kPanels,
                      {rows, columns}},
                     {"x",
                      isa::DType::kF24,
                      isa::BufferKind::kState,
                      isa::Layout::kRows,
                      {columns}}};
  isa::GemvOperands op;
  op.x = 1;
  op.w = 0;
  op.rows = rows;
  op.k = columns;
  program.queues = {{}};
  program.queues[0].resize(count, isa::Encode(op));
  return program;
}

std::vector<trace::Event> Events(const isa::Program& program,
                                 const Target& target, uint32_t passes = 1,
                                 uint64_t position = 0) {
  const absl::StatusOr<trace::Trace> trace =
      Simulate(program, target, {.first_position = position, .passes = passes});
  EXPECT_TRUE(trace.ok()) << trace.status();
  return trace.ok() ? trace->events : std::vector<trace::Event>();
}

TEST(SimulateTest, ACounterIsSeenAHopAfterItsSignal) {
  const std::vector<trace::Event> e = Events(Chain(false), RoundTarget());
  ASSERT_EQ(e.size(), 2u);
  EXPECT_EQ(e[0].visited, 500);
  EXPECT_EQ(e[0].ready, 500);
  EXPECT_EQ(e[0].done, 1500);
  EXPECT_EQ(e[0].signaled, 1750);
  EXPECT_EQ(e[0].last_wait, -1);
  EXPECT_EQ(e[1].visited, 500);
  EXPECT_EQ(e[1].waited, 3750);
  EXPECT_EQ(e[1].done, 4750);
  EXPECT_EQ(e[1].last_wait, 0);
}

TEST(SimulateTest, ReleasesAndCounterHopsCostTheirOwn) {
  Target target = RoundTarget();
  target.release_us = 0.5;
  target.counter_hop_us = 3;
  const std::vector<trace::Event> e = Events(Chain(false), target);
  EXPECT_EQ(e[0].signaled, 2250);
  EXPECT_EQ(e[1].waited, 5250);
}

TEST(SimulateTest, TaggedDataNeedNoSignal) {
  const std::vector<trace::Event> e = Events(Chain(true), RoundTarget());
  EXPECT_EQ(e[1].waited, 500);
  EXPECT_EQ(e[1].ready, 3500);
  EXPECT_EQ(e[1].last_wait, -1);
}

TEST(SimulateTest, NoHopOnTheSameWorker) {
  isa::Program program = Chain(false);
  program.queues[0].push_back(program.queues[1][0]);
  program.queues[1].clear();
  const std::vector<trace::Event> e = Events(program, RoundTarget());
  EXPECT_EQ(e[1].visited, 2250);
  EXPECT_EQ(e[1].waited, 2375);  // the counter is read
}

TEST(SimulateTest, LaggedWaitsAreForThePassBefore) {
  const std::vector<trace::Event> e =
      Events(Chain(false, /*lag=*/true), RoundTarget(), 3);
  ASSERT_EQ(e.size(), 6u);
  EXPECT_EQ(e[3].waited, 500);   // pass 0: no wait
  EXPECT_EQ(e[4].waited, 3750);  // for pass 0 of worker 0
  EXPECT_EQ(e[1].signaled, 3500);
  EXPECT_EQ(e[5].visited, 5500);
  EXPECT_EQ(e[5].waited, 5625);  // for pass 1, over by then
}

TEST(SimulateTest, GemvsPayForStagesAndSlabs) {
  Target target = RoundTarget();
  SetGemv(target, 2, 0.125, 1);
  const std::vector<trace::Event> e = Events(Gemvs(1, 16, 3072), target);
  // 6 stages, two slabs after the first; the copies take no time worth
  // mentioning.
  EXPECT_NEAR(e[0].done - e[0].ready, 2000 + 6 * 125 + 2 * 1000, 2);
  EXPECT_EQ(e[0].bytes, 16u * 3072 * 2);
}

TEST(SimulateTest, WorkThatWaitsForNothingIsBoundByTheStream) {
  Target target = RoundTarget();
  target.stream_gb_per_s = 16.384;  // a stage per microsecond
  target.instruction_us = target.signal_us = 0;
  SetGemv(target, 0, 0.25, 0);
  const isa::Program program = Gemvs(4, 64, 1024);
  EXPECT_NEAR(PredictPassUs(program, target, 0), 32, 0.01);
  // Slower than the stream: its own time counts.
  SetGemv(target, 0, 1.5, 0);
  EXPECT_NEAR(PredictPassUs(program, target, 0), 48, 0.01);
}

TEST(SimulateTest, StagesUnderWayBoundAWorkerAlone) {
  Target target = RoundTarget();
  target.copy_us = 10;
  target.instruction_us = target.signal_us = 0;
  SetGemv(target, 0, 0, 0);
  isa::Program program = Gemvs(1, 64, 1024);
  for (const uint32_t stages : {1, 2, 4}) {
    program.target.stages = stages;
    EXPECT_NEAR(PredictPassUs(program, target, 0), 80.0 / stages, 0.1);
  }
}

TEST(SimulateTest, WorkersShareTheStream) {
  Target target = RoundTarget();
  target.stream_gb_per_s = 16.384;
  target.instruction_us = target.signal_us = 0;
  SetGemv(target, 0, 0, 0);
  isa::Program program = Gemvs(1, 64, 1024);
  program.queues.resize(3, program.queues[0]);
  EXPECT_NEAR(PredictPassUs(program, target, 0), 3 * 8, 0.01);
}

TEST(SimulateTest, TheLoaderRunsAheadAsFarAsSlotsAndStages) {
  Target target = RoundTarget();
  SetGemv(target, 4, 0, 0);
  isa::Program program = Gemvs(3, 16, 1024);
  program.target.stages = 4;
  target.slots = 8;
  std::vector<trace::Event> e = Events(program, target);
  EXPECT_EQ(e[1].load_begin, 0);
  EXPECT_NEAR(e[2].load_begin, e[0].ready, 1);  // a stage is free
  target.slots = 1;
  e = Events(program, target);
  EXPECT_EQ(e[1].fetched, e[0].signaled);
  EXPECT_GE(e[1].load_begin, e[0].signaled);
}

TEST(SimulateTest, StageWaitsAreToldApart) {
  Target target = RoundTarget();
  target.copy_us = 10;
  SetGemv(target, 1, 0.5, 0);
  const std::vector<trace::Event> e = Events(Gemvs(1, 8, 1024), target);
  // Issued at 0, visited at 0.5, there at 10.016.
  EXPECT_NEAR(e[0].stage_wait, 9500, 20);
  EXPECT_NEAR(e[0].stage_ready, 10000, 20);
  EXPECT_NEAR(e[0].done, 11500, 20);
}

// A kv head with its group of query heads, and its cache.
isa::Program Attentions(uint32_t count) {
  isa::Program program;
  isa::AttentionOperands op;
  op.group = 2;
  op.head_dim = 128;
  op.splits = 1;
  op.block = 8;
  op.k_cache = op.v_cache = op.part = op.q = 0;
  program.buffers = {{"b",
                      isa::DType::kF24,
                      isa::BufferKind::kState,
                      isa::Layout::kRows,
                      {1}}};
  program.queues.resize(count, {isa::Encode(op)});
  return program;
}

TEST(SimulateTest, LongContextsAreBoundByTheMemory) {
  const isa::Program program = Attentions(1);
  Target target = RoundTarget();
  target.costs["attention"].fixed_us = 1;
  target.costs["attention"].unit_us[static_cast<size_t>(Unit::kTurns)] = 0.5;
  std::vector<trace::Event> e = Events(program, target, 1, 63);
  EXPECT_EQ(e[0].done - e[0].ready, 2000);  // two turns of 32 positions
  EXPECT_EQ(e[0].bytes, 64u * 512);
  target.stream_gb_per_s = 0.512;  // a position per microsecond
  e = Events(program, target, 1, 63);
  EXPECT_EQ(e[0].done - e[0].ready, 64000);
}

TEST(SimulateTest, KvCacheThatFitsNoCacheTakesLonger) {
  Target target = RoundTarget();
  OpCost& cost = target.costs["attention"];
  cost.fixed_us = 1;
  cost.unit_us[static_cast<size_t>(Unit::kTurns)] = 0.5;
  cost.unit_us[static_cast<size_t>(Unit::kColdTurns)] = 0.25;
  // Two heads of 64 positions of 512 bytes: all that a pass reads counts.
  target.cache_bytes = 2 * 64 * 512;
  EXPECT_EQ(KvBytesOfPass(Attentions(2), 63), target.cache_bytes);
  std::vector<trace::Event> e = Events(Attentions(2), target, 1, 63);
  EXPECT_EQ(e[0].done - e[0].ready, 2000);
  --target.cache_bytes;
  e = Events(Attentions(2), target, 1, 63);
  EXPECT_EQ(e[0].done - e[0].ready, 2500);
}

TEST(SimulateTest, AMachineWithoutPanelsReadsInTheBody) {
  Target target = RoundTarget();
  target.panels = false;
  target.stream_gb_per_s = 1;
  target.costs.clear();
  isa::Program program = Gemvs(1, 16, 1024);
  program.target.stages = 1;
  const std::vector<trace::Event> e = Events(program, target);
  EXPECT_EQ(e[0].load_begin, trace::kNever);
  EXPECT_NEAR(e[0].done - e[0].ready, 32768, 1);
}

TEST(SimulateTest, SpreadIsDeterministicAndWithinItsQuantiles) {
  Target target = RoundTarget();
  target.costs["default"].spread = {-1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2};
  isa::Program program;
  program.queues.resize(50);
  for (auto& queue : program.queues) {
    queue.resize(20, isa::Encode(isa::NopOperands{}));
  }
  const std::vector<trace::Event> a = Events(program, target);
  const std::vector<trace::Event> b = Events(program, target);
  ASSERT_EQ(a.size(), 1000u);
  int below = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].done, b[i].done);
    EXPECT_GE(a[i].done - a[i].ready, 0);
    EXPECT_LE(a[i].done - a[i].ready, 3000);
    below += a[i].done - a[i].ready < 1000 ? 1 : 0;
  }
  EXPECT_NEAR(below, 500, 60);
}

TEST(SimulateTest, ACycleOrNoPassIsRefused) {
  isa::Program program = Chain(false);
  std::swap(program.queues[0], program.queues[1]);
  program.queues[0].push_back(program.queues[1][0]);
  program.queues[1].clear();
  absl::Status status = Simulate(program, RoundTarget(), {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cycle"));
  EXPECT_EQ(PredictPassUs(program, RoundTarget(), 0), 0);
  status = Simulate(Chain(false), RoundTarget(), {.passes = 0}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("passes is 0"));
}

// A whole program: every instruction once a pass, its times in order, each wait
// over before it is ready; and the file holds it.
TEST(SimulateTest, ACompiledProgram) {
  const Target target = TestTarget(6);
  const isa::Program program = MustCompile(OddConfig(), target);
  const absl::StatusOr<trace::Trace> trace =
      Simulate(program, target, {.first_position = 5, .passes = 3});
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->events.size(), 3 * isa::NumInstructions(program));
  EXPECT_EQ(trace->source, trace::Source::kPredicted);
  EXPECT_EQ(trace->num_passes, 3u);
  for (const trace::Event& e : trace->events) {
    EXPECT_LE(e.fetched, e.visited);
    EXPECT_LE(e.visited, e.waited);
    EXPECT_LE(e.waited, e.ready);
    EXPECT_LE(e.ready, e.done);
    EXPECT_LE(e.done, e.signaled);
  }
  const absl::StatusOr<trace::Trace> parsed =
      trace::Parse(trace::Serialize(*trace));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->events.size(), trace->events.size());
}

// The longest that a pass of a small model takes if each instruction of that
// opcode costs 1 ms more.
double PassUs(absl::string_view costly, uint64_t position) {
  Target target = TestTarget(6);
  target.costs.clear();
  target.costs[std::string(costly)].fixed_us = 1000;
  const isa::Program program = MustCompile(OddConfig(), target);
  const std::vector<double> ends =
      SimulatePassEnds(program, target, {position});
  EXPECT_EQ(ends.size(), 1u);
  return ends.empty() ? 0 : ends[0];
}

TEST(SimulateTest, MergesAreIdleWhereSplitZeroWorksAlone) {
  EXPECT_LT(PassUs("attention_merge", 63), 1000);
  // Three layers.
  EXPECT_GT(PassUs("attention_merge", 64), 3000);
}

TEST(SimulateTest, TheProjectionWaitsForAttentionThatWorksAlone) {
  EXPECT_GT(PassUs("attention", 63), 3000);
  EXPECT_LT(PassUs("attention", 63), 4000);  // one split of each layer
  EXPECT_GT(PassUs("attention", 64), 3000);
}

TEST(SimulateTest, AnIdleInstructionTakesNoTime) {
  const Target target = TestTarget(6);
  const isa::Program program = MustCompile(OddConfig(), target);
  const absl::StatusOr<trace::Trace> trace =
      Simulate(program, target, {.first_position = 5, .passes = 2});
  ASSERT_TRUE(trace.ok()) << trace.status();
  int idle = 0;
  for (const trace::Event& e : trace->events) {
    const isa::Instruction& i = program.queues[e.worker][e.pc];
    if (!Is(i, isa::Opcode::kAttentionMerge)) continue;
    EXPECT_EQ(e.done, e.visited);
    EXPECT_EQ(e.poll_begin, trace::kNever);
    ++idle;
  }
  EXPECT_GT(idle, 0);
}

TEST(CostsTest, ClassesComeFromTheTable) {
  isa::GemvOperands op;
  op.prologue = isa::Prologue::kRmsNorm;
  op.epilogue = isa::Epilogue::kSiluMul;
  EXPECT_EQ(ClassOf(isa::Encode(op)), "gemv.rms_norm.silu_mul");
  EXPECT_EQ(ClassOf(isa::Encode(isa::NopOperands{})), "nop");
  EXPECT_THAT(CostNames(),
              ::testing::IsSupersetOf({"default", "gemv", "gemv.none.argmax",
                                       "halt", "attention.qk_norm_rope"}));
}

TEST(CostsTest, WorkOfAGemv) {
  const auto work = [](uint32_t rows, uint32_t k, uint32_t w2) {
    isa::GemvOperands op;
    op.rows = rows;
    op.k = k;
    op.w2 = w2;
    const PerUnit<uint32_t> all = WorkOf(isa::Encode(op), {});
    // Stages; slabs and groups after the first.
    return std::vector<uint32_t>{all[0], all[1], all[2]};
  };
  EXPECT_THAT(work(8, 1024, isa::kNoBuffer), ElementsAre(1, 0, 0));
  EXPECT_THAT(work(9, 1025, isa::kNoBuffer), ElementsAre(4, 1, 0));
  // Three groups: 8 + 8 + 1 panels.
  EXPECT_THAT(work(17 * 8, 1024, isa::kNoBuffer), ElementsAre(17, 0, 2));
  EXPECT_THAT(work(17 * 8, 2048, isa::kNoBuffer), ElementsAre(34, 5, 2));
  // Two matrices: groups of 4.
  EXPECT_THAT(work(5 * 8, 2048, 0), ElementsAre(20, 3, 1));
}

TEST(CostsTest, WithoutPanelsAGemvIsItsBytes) {
  isa::GemvOperands op;
  op.rows = 5;
  op.k = 1000;
  op.w2 = isa::kNoBuffer;
  const auto kilobytes = [&] {
    const PerUnit<uint32_t> work = WorkOf(isa::Encode(op), {.panels = false});
    EXPECT_EQ(work[static_cast<size_t>(Unit::kStages)], 0u);
    return work[static_cast<size_t>(Unit::kKilobytes)];
  };
  EXPECT_EQ(kilobytes(), 10u);  // 10,000 bytes
  op.w2 = 0;
  EXPECT_EQ(kilobytes(), 20u);
}

TEST(CostsTest, FallBackFromClassToOpcodeToDefault) {
  CostTable costs;
  EXPECT_TRUE(FindCost(costs, "gemv.none.add").IsFree());
  costs["default"].fixed_us = 1;
  EXPECT_EQ(FindCost(costs, "gemv.none.add").fixed_us, 1);
  costs["gemv"].fixed_us = 2;
  EXPECT_EQ(FindCost(costs, "gemv.none.add").fixed_us, 2);
  EXPECT_EQ(FindCost(costs, "halt").fixed_us, 1);
  costs["gemv.none.add"].fixed_us = 3;
  EXPECT_EQ(FindCost(costs, "gemv.none.add").fixed_us, 3);
}

TEST(CostsTest, SpreadIsReadBetweenItsQuantiles) {
  OpCost cost;
  EXPECT_EQ(SpreadAt(cost, 0.5), 0);
  cost.spread = {-4, -2, -1, 0, 1, 2, 4, 8};
  EXPECT_EQ(SpreadAt(cost, 0), -4);
  EXPECT_EQ(SpreadAt(cost, 0.5), 0);
  EXPECT_EQ(SpreadAt(cost, 0.625), 0.5);
  EXPECT_EQ(SpreadAt(cost, 1), 8);
}

}  // namespace
}  // namespace mkvm::scheduler
