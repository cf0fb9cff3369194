#include "scheduler/calibrate.h"

#include "scheduler/cost_model.h"
#include "scheduler/least_squares.h"
#include "scheduler/simulate.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::HasSubstr;

double& At(OpCost& cost, Unit unit) {
  return cost.unit_us[static_cast<size_t>(unit)];
}

OpCost Cost(double fixed_us, double stage_us, double slab_us) {
  OpCost cost;
  cost.fixed_us = fixed_us;
  At(cost, Unit::kStages) = stage_us;
  At(cost, Unit::kSlabs) = slab_us;
  return cost;
}

// What to find again.
Target Truth(bool spread) {
  Target t = TestTarget(16);
  t.max_kv_splits = 4;
  t.stream_gb_per_s = 500;
  t.hop_us = 0.9;
  t.counter_hop_us = 1.4;
  t.load_us = 0.5;
  t.signal_us = 0.3;
  t.release_us = 1.8;
  t.instruction_us = 0.2;
  t.costs.clear();
  t.costs["default"] = Cost(0.4, 0, 0);
  t.costs["gemv.rms_norm.store"] = Cost(0.7, 0.2, 0.5);
  t.costs["gemv.none.add"] = Cost(1.1, 0.3, 0.4);
  t.costs["gemv.rms_norm.silu_mul"] = Cost(0.9, 0.25, 0.45);
  t.costs["gemv.rms_norm.argmax"] = Cost(1.3, 0.35, 0.5);
  t.costs["attention"] = Cost(1.5, 0, 0);
  At(t.costs["attention"], Unit::kTurns) = 0.6;
  t.costs["attention_merge"] = Cost(0.6, 0, 0);
  At(t.costs["attention_merge"], Unit::kSplits) = 0.05;
  if (spread) {
    for (auto& [name, cost] : t.costs) {
      cost.spread = {-0.2, -0.1, -0.05, 0, 0.05, 0.1, 0.2, 0.3};
    }
  }
  return t;
}

model::Config Geometry(uint32_t hidden, uint32_t intermediate) {
  model::Config c;
  c.name = "geometry";
  c.hidden_size = hidden;
  c.intermediate_size = intermediate;
  c.num_layers = 2;
  c.num_q_heads = 16;
  c.num_kv_heads = 4;
  c.head_dim = 128;
  c.vocab_size = hidden * 6;
  c.max_positions = 4096;
  c.tie_word_embeddings = true;
  return c;
}

isa::Program Programmed(const Target& truth, uint32_t hidden,
                        uint32_t intermediate, uint32_t splits) {
  Target target = truth;
  target.max_kv_splits = splits;
  return MustCompile(Geometry(hidden, intermediate), target);
}

trace::Trace Simulated(const isa::Program& program, const Target& truth,
                       uint64_t position) {
  absl::StatusOr<trace::Trace> trace =
      Simulate(program, truth, {.first_position = position, .passes = 6});
  EXPECT_TRUE(trace.ok()) << trace.status();
  // As calibrations do: without the passes that fill the rings.
  std::erase_if(trace->events,
                [](const trace::Event& e) { return e.pass < 2; });
  trace::Normalize(*trace);
  return *std::move(trace);
}

std::vector<trace::Trace> Runs(const Target& truth) {
  std::vector<trace::Trace> traces;
  traces.push_back(Simulated(Programmed(truth, 512, 1536, 4), truth, 3));
  traces.push_back(Simulated(Programmed(truth, 1024, 3072, 4), truth, 700));
  traces.push_back(Simulated(Programmed(truth, 2048, 4096, 2), truth, 2500));
  traces.push_back(Simulated(
      isa::WithCountersOnly(Programmed(truth, 1024, 3072, 4)), truth, 20));
  return traces;
}

// Costs that say nothing of the truth.
Target Blank(const Target& truth) {
  Target t = TestTarget(16);
  t.copy_us = truth.copy_us;
  t.stream_gb_per_s = 1;
  t.hop_us = t.load_us = t.signal_us = t.release_us = t.instruction_us = 9;
  t.costs.clear();
  return t;
}

TEST(FitTest, FindsKnownCostsAgain) {
  const Target truth = Truth(/*spread=*/false);
  absl::StatusOr<Target> fitted = Fit(Runs(truth), Blank(truth));
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_NEAR(fitted->stream_gb_per_s, 500, 1);
  EXPECT_NEAR(fitted->hop_us, truth.hop_us, 0.05);
  EXPECT_NEAR(fitted->counter_hop_us.value(), *truth.counter_hop_us, 0.02);
  EXPECT_NEAR(fitted->load_us, truth.load_us, 0.01);
  EXPECT_NEAR(fitted->signal_us, truth.signal_us, 0.01);
  EXPECT_NEAR(fitted->release_us, truth.release_us, 0.01);
  EXPECT_NEAR(fitted->instruction_us, truth.instruction_us, 0.015);
  // The other gemvs here have as many more groups as they have more stages, and
  // can't tell the two apart.
  for (const char* name : {"gemv.rms_norm.store", "gemv.none.add"}) {
    ASSERT_TRUE(fitted->costs.contains(name)) << name;
    OpCost got = fitted->costs.at(name);
    OpCost want = truth.costs.at(name);
    EXPECT_NEAR(At(got, Unit::kStages), At(want, Unit::kStages),
                0.05 * At(want, Unit::kStages))
        << name;
  }
  // The whole of every instruction that was measured.
  const isa::Program program = Programmed(truth, 1024, 3072, 4);
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    const std::string name = ClassOf(i);
    const double want =
        WorkUs(FindCost(truth.costs, name), WorkOf(i, {.position = 700}));
    EXPECT_NEAR(
        WorkUs(FindCost(fitted->costs, name), WorkOf(i, {.position = 700})),
        want, 0.03 * want)
        << name;
  });
  OpCost attention = fitted->costs.at("attention.qk_norm_rope");
  EXPECT_NEAR(At(attention, Unit::kTurns), 0.6, 0.02);
  EXPECT_NEAR(attention.fixed_us, 1.5, 0.1);
  OpCost merge = fitted->costs.at("attention_merge");
  EXPECT_NEAR(merge.fixed_us + 4 * At(merge, Unit::kSplits), 0.8, 0.02);
  EXPECT_NEAR(merge.fixed_us + 2 * At(merge, Unit::kSplits), 0.7, 0.02);
}

// Not a geometry, a position or a number of layers that was measured.
TEST(FitTest, PredictsOtherRuns) {
  for (const bool spread : {false, true}) {
    const Target truth = Truth(spread);
    const absl::StatusOr<Target> fitted = Fit(Runs(truth), Blank(truth));
    ASSERT_TRUE(fitted.ok()) << fitted.status();
    model::Config config = Geometry(1536, 2048);
    config.num_layers = 5;
    const isa::Program program = MustCompile(config, truth);
    for (const uint64_t position : {1, 512, 4000}) {
      const double want = PredictPassUs(program, truth, position);
      EXPECT_NEAR(PredictPassUs(program, *fitted, position), want, want * 0.03)
          << "position " << position << ", spread " << spread;
    }
  }
}

// Tracing slows a run down: the time without it is what is to be met.
TEST(FitTest, TakesOffWhatTracingCosts) {
  Target truth = Truth(/*spread=*/true);
  truth.stream_gb_per_s = 5000;  // instructions count, not bytes
  const isa::Program program = Programmed(truth, 1024, 3072, 4);
  Target traced = truth;
  traced.instruction_us += 0.1;
  const trace::Trace trace = Simulated(program, traced, 100);
  const double wanted[] = {PredictPassUs(program, truth, 103)};
  absl::StatusOr<Target> fitted = Fit({trace}, Blank(truth), wanted);
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_NEAR(PredictPassUs(program, *fitted, 103), wanted[0],
              0.01 * wanted[0]);
  EXPECT_NEAR(fitted->instruction_us, truth.instruction_us, 0.06);
  // Costs, hops and loads are what the events say in any case, and a time that
  // is longer than the trace's is not believed.
  const double longer[] = {2 * wanted[0]};
  fitted = Fit({trace}, Blank(truth), longer);
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_NEAR(fitted->instruction_us, traced.instruction_us, 0.01);
}

// Only what no cache holds between passes is slow.
TEST(FitTest, TellsWarmTurnsFromCold) {
  Target truth = Truth(/*spread=*/false);
  At(truth.costs["attention"], Unit::kColdTurns) = 0.3;
  const isa::Program program = Programmed(truth, 512, 1536, 4);
  truth.cache_bytes = KvBytesOfPass(program, 1200);
  std::vector<trace::Trace> traces;
  for (const uint64_t position : {3, 500, 1000, 1500, 2500}) {
    traces.push_back(Simulated(program, truth, position));
  }
  Target base = Blank(truth);
  base.cache_bytes = truth.cache_bytes;
  const absl::StatusOr<Target> fitted = Fit(traces, base);
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  OpCost attention = fitted->costs.at("attention.qk_norm_rope");
  EXPECT_NEAR(At(attention, Unit::kTurns), 0.6, 0.02);
  EXPECT_NEAR(At(attention, Unit::kColdTurns), 0.3, 0.02);
}

TEST(FitTest, KeepsWhatTheTracesDoNotShow) {
  const Target truth = Truth(false);
  Target base = Blank(truth);
  base.costs["silu_mul"] = Cost(7, 0, 0);
  std::vector<trace::Trace> traces;
  traces.push_back(Simulated(Programmed(truth, 512, 1536, 4), truth, 3));
  for (auto& t : traces) t.stream_gb_per_s = 0;
  const absl::StatusOr<Target> fitted = Fit(traces, base);
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_EQ(fitted->costs.at("silu_mul").fixed_us, 7);
  EXPECT_EQ(fitted->stream_gb_per_s, base.stream_gb_per_s);
  EXPECT_EQ(fitted->workers, base.workers);
}

// The CPU's traces hold no times of operands and no loader.
TEST(FitTest, TakesTracesOfTheCpu) {
  Target truth = CpuTarget(4);
  truth.costs["default"] = Cost(0.5, 2, 0);
  model::Config config = OddConfig();
  const isa::Program program = MustCompile(config, truth);
  trace::Trace trace = Simulated(program, truth, 10);
  for (trace::Event& e : trace.events) {
    e.fetched = e.load_begin = e.load_end = e.poll_begin = e.stage_ready =
        trace::kNever;
  }
  const absl::StatusOr<Target> fitted = Fit({trace}, CpuTarget(4));
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  const double want = PredictPassUs(program, truth, 12);
  EXPECT_NEAR(PredictPassUs(program, *fitted, 12), want, want * 0.03);
}

TEST(FitTest, RefusesNothing) {
  EXPECT_EQ(Fit({}, Target()).status().code(),
            absl::StatusCode::kInvalidArgument);
  trace::Trace empty;
  empty.program = MustCompile(OddConfig(), TestTarget(2));
  const absl::Status status = Fit({empty}, Target()).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("two instructions"));
}

TEST(LeastSquaresTest, SharesWhatAClassDoesNotDetermine) {
  std::vector<Observation> observations;
  const auto add = [&](size_t c, uint32_t stages, double us) {
    observations.push_back({.class_index = c, .work = {stages}, .us = us});
  };
  // Class 0: 1 + 0.5 per stage. Class 1 is always seen with 10 stages.
  for (const uint32_t stages : {2, 4, 8, 16}) add(0, stages, 1 + 0.5 * stages);
  add(1, 10, 9);
  const std::vector<OpCost> costs = FitCosts(observations, 3);
  EXPECT_NEAR(costs[0].fixed_us, 1, 0.02);
  EXPECT_NEAR(costs[0].unit_us[0], 0.5, 0.005);
  EXPECT_NEAR(costs[1].unit_us[0], 0.5, 0.005);
  EXPECT_NEAR(costs[1].fixed_us, 4, 0.05);
  EXPECT_NEAR(costs[2].unit_us[0], 0.5, 0.005);
}

TEST(LeastSquaresTest, NothingIsNegative) {
  std::vector<Observation> observations;
  for (const uint32_t stages : {1, 2, 3}) {
    observations.push_back({.work = {stages}, .us = 5.0 - stages});
  }
  std::vector<OpCost> costs = FitCosts(observations, 1);
  EXPECT_EQ(costs[0].unit_us[0], 0);
  EXPECT_NEAR(costs[0].fixed_us, 3, 0.01);
  for (Observation& o : observations) o.us = 2.0 * o.work[0] - 1;
  costs = FitCosts(observations, 1);
  EXPECT_EQ(costs[0].fixed_us, 0);
  EXPECT_NEAR(costs[0].unit_us[0], 1.57, 0.02);
}

}  // namespace
}  // namespace mkvm::scheduler
