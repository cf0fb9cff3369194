// The search of `mkvm tune`, on made-up costs.
#include "scheduler/tune.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/verifier.h"
#include "scheduler/compile.h"

namespace mkvm::scheduler {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

using Us = std::vector<double>;

std::vector<TuneKey> Keys() {
  return {{"workers", &Target::workers, {2, 4, 6, 8, 10}},
          {"tagged", &Target::tagged, {0, 1}},
          {"stages", &Target::stages, {1, 2, 3, 4, 5, 6}}};
}

Target Base() {
  Target target;
  target.name = "made-up";
  target.workers = 4;
  target.tagged = false;
  target.stages = 5;
  return target;
}

// A bowl with its bottom at 8 workers, tags and 3 stages; the two positions
// are 4 apart, so that their geometric mean is twice the first.
Us Bowl(const Target& t) {
  const double workers = t.workers;
  const double stages = t.stages;
  const double us = 100 + (workers - 8) * (workers - 8) +
                    3 * (stages - 3) * (stages - 3) + (t.tagged ? 0 : 20);
  return {us, 4 * us};
}

TuneResult MustTune(const TuneMeasure& measure,
                    const TuneOptions& options = {}) {
  absl::StatusOr<TuneResult> result = Tune(Base(), Keys(), measure, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : TuneResult();
}

std::vector<uint32_t> BestShape(const TuneResult& result) {
  return result.candidates[result.best].shape;
}

TEST(TuneTest, FindsTheBottomOfABowl) {
  const TuneResult result = MustTune(Bowl);
  EXPECT_THAT(BestShape(result), ElementsAre(8, 1, 3));
  const TuneCandidate& best = result.candidates[result.best];
  EXPECT_EQ(best.target.workers, 8u);
  EXPECT_TRUE(best.target.tagged);
  EXPECT_EQ(best.target.stages, 3u);
  EXPECT_EQ(best.target.name, "made-up");
  EXPECT_THAT(best.us, ElementsAre(100, 400));
  EXPECT_THAT(best.mean_us, DoubleNear(200, 1e-9));
  EXPECT_FALSE(result.out_of_budget);
  // The first candidate is the base; 60 shapes there are, most never seen.
  EXPECT_THAT(result.candidates[0].shape, ElementsAre(4, 0, 5));
  EXPECT_LT(result.candidates.size(), 25u);
}

TEST(TuneTest, IsDeterministicAndMeasuresAgainOnlyBeforeAMove) {
  std::vector<std::string> seen;
  const TuneMeasure measure = [&](const Target& t) -> absl::StatusOr<Us> {
    seen.push_back(DescribeShape(t, Keys()));
    return Bowl(t);
  };
  TuneOptions no_finals;
  no_finals.final_rounds = 0;
  const TuneResult first = MustTune(measure, no_finals);
  const std::vector<std::string> once = seen;
  // Three moves, one per key: the base and three more are measured thrice.
  EXPECT_EQ(once.size(), first.candidates.size() + 8);
  seen.clear();
  const TuneResult second = MustTune(measure, no_finals);
  EXPECT_EQ(seen, once);
  EXPECT_EQ(BestShape(first), BestShape(second));
}

TEST(TuneTest, AColdStartMovesNothing) {
  bool cold = true;
  TuneOptions no_finals;
  no_finals.final_rounds = 0;
  const TuneResult result = MustTune(
      [&](const Target&) -> absl::StatusOr<Us> {
        return Us{std::exchange(cold, false) ? 110.0 : 100.0};
      },
      no_finals);
  // The lines through the base, nothing else.
  ASSERT_THAT(result.candidates, SizeIs(1 + 4 + 1 + 5));
  for (const TuneCandidate& candidate : result.candidates) {
    int differences = 0;
    for (size_t i = 0; i < candidate.shape.size(); ++i) {
      differences += candidate.shape[i] != result.candidates[0].shape[i];
    }
    EXPECT_LE(differences, 1);
  }
}

// A second sweep is needed: what suits one key depends on another.
TEST(TuneTest, FollowsAValley) {
  const TuneResult result = MustTune([](const Target& t) -> absl::StatusOr<Us> {
    const double stages = t.stages;
    const double off = stages - t.workers / 2.0;
    return Us{100 + off * off + 5 * std::abs(stages - 2)};
  });
  EXPECT_THAT(BestShape(result), ElementsAre(4, 0, 2));
}

TEST(TuneTest, TheBasesOwnValueIsTriedToo) {
  Target base = Base();
  base.workers = 7;
  const absl::StatusOr<TuneResult> result =
      Tune(base, Keys(),
           [](const Target& t) -> absl::StatusOr<Us> {
             return Us{t.workers == 7 ? 50.0 : 100.0};
           },
           {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(BestShape(*result), ElementsAre(7, 0, 1));
}

TEST(TuneTest, WhatCannotRunIsLeftOutWithItsReason) {
  const TuneResult result = MustTune([](const Target& t) -> absl::StatusOr<Us> {
    if (t.workers >= 8) return absl::FailedPreconditionError("holds 7");
    return Bowl(t);
  });
  EXPECT_THAT(BestShape(result), ElementsAre(6, 1, 3));
  int refused = 0;
  for (const TuneCandidate& candidate : result.candidates) {
    if (candidate.status.ok()) continue;
    ++refused;
    EXPECT_EQ(candidate.status.message(), "holds 7");
    EXPECT_THAT(candidate.us, IsEmpty());
    EXPECT_TRUE(std::isinf(candidate.mean_us));
  }
  EXPECT_GE(refused, 2);
}

TEST(TuneTest, ABaseThatCannotRunIsLeft) {
  const TuneResult result = MustTune([](const Target& t) -> absl::StatusOr<Us> {
    if (t.stages > 4) return absl::ResourceExhaustedError("too much");
    if (t.stages < 2) return Us{0, 5};  // no time at all: not believed
    return Bowl(t);
  });
  EXPECT_THAT(BestShape(result), ElementsAre(8, 1, 3));
  EXPECT_EQ(result.candidates[0].status.code(),
            absl::StatusCode::kResourceExhausted);
  bool no_time = false;
  for (const TuneCandidate& c : result.candidates) {
    if (c.shape[2] == 1) {
      EXPECT_THAT(c.status.message(), HasSubstr("measured 0 us"));
      no_time = true;
    }
  }
  EXPECT_TRUE(no_time);
}

TEST(TuneTest, WhenNothingRunsTheFirstReasonIsSaid) {
  int calls = 0;
  const absl::Status status =
      Tune(Base(), Keys(),
           [&](const Target&) -> absl::StatusOr<Us> {
             return absl::FailedPreconditionError(absl::StrCat("no ", calls++));
           },
           {})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "no shape could be measured; the first: no 0");
  EXPECT_GT(calls, 5);
}

TEST(TuneTest, StopsAtTheBudgetWithTheBestSoFar) {
  double now = 0;
  TuneOptions options;
  options.budget_seconds = 4.5;
  options.elapsed_seconds = [&] { return now; };
  const TuneResult result = MustTune(
      [&](const Target& t) -> absl::StatusOr<Us> {
        now += 1;
        return Bowl(t);
      },
      options);
  EXPECT_TRUE(result.out_of_budget);
  EXPECT_EQ(now, 5);
  // The base, then workers 2, 6, 8 and 10.
  ASSERT_THAT(result.candidates, SizeIs(5));
  EXPECT_THAT(BestShape(result), ElementsAre(8, 0, 5));
}

TEST(TuneTest, WithoutAnyBudgetTheBaseIsMeasuredAllTheSame) {
  TuneOptions options;
  options.budget_seconds = 0;
  options.elapsed_seconds = [] { return 0.0; };
  const TuneResult result = MustTune(Bowl, options);
  EXPECT_TRUE(result.out_of_budget);
  EXPECT_THAT(result.candidates, SizeIs(1));
  EXPECT_THAT(BestShape(result), ElementsAre(4, 0, 5));
}

TEST(TuneTest, WithinTheToleranceTheSmallerWins) {
  // Everything from 6 workers on is the same but for 0.4 %, downwards.
  const TuneMeasure flat = [](const Target& t) -> absl::StatusOr<Us> {
    return Us{t.workers < 6 ? 200 : 100 - 0.1 * (t.workers - 6)};
  };
  EXPECT_THAT(BestShape(MustTune(flat)), ElementsAre(6, 0, 1));
  TuneOptions exact;
  exact.tolerance = 0;
  EXPECT_THAT(BestShape(MustTune(flat, exact)), ElementsAre(10, 0, 1));
}

// Noise of 0.4 % to either side never decides between equals, and never hides
// a bottom that is deeper.
TEST(TuneTest, NoiseDoesNotDecide) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    uint32_t state = seed;
    TuneOptions options;
    options.tolerance = 0.01;
    const TuneResult result = MustTune(
        [&](const Target& t) -> absl::StatusOr<Us> {
          state = state * 1664525u + 1013904223u;
          const double noise = ((state >> 8) % 1001) / 1000.0 * 0.008 - 0.004;
          // Tags don't matter here, stages do from 3 down.
          const double us = t.stages < 3 ? 110 : 100;
          return Us{us * (t.workers == 8 ? 1 : 1.05) * (1 + noise)};
        },
        options);
    EXPECT_EQ(BestShape(result)[0], 8u) << seed;
    EXPECT_GE(BestShape(result)[2], 3u) << seed;
    EXPECT_LE(result.candidates[result.best].mean_us, 100.4) << seed;
  }
}

TEST(TuneTest, FinalsUndoALuckyMeasurement) {
  // 6 workers look as good as 8 once, and are 4 % worse ever after. Being
  // fewer they would win.
  int visits = 0;
  const TuneMeasure measure = [&](const Target& t) -> absl::StatusOr<Us> {
    const bool lucky = t.stages == 3 && t.tagged && t.workers == 6;
    return Us{lucky && ++visits == 1 ? 100.0 : Bowl(t)[0]};
  };
  const TuneResult result = MustTune(measure);
  EXPECT_EQ(visits, 3);
  EXPECT_THAT(BestShape(result), ElementsAre(8, 1, 3));
  visits = 0;
  TuneOptions no_finals;
  no_finals.final_rounds = 0;
  EXPECT_THAT(BestShape(MustTune(measure, no_finals)), ElementsAre(6, 1, 3));
}

TEST(TuneTest, AFinalistThatFailsIsOut) {
  int calls = 0;
  const TuneResult result =
      MustTune([&](const Target& t) -> absl::StatusOr<Us> {
        const bool smallest = t.workers == 8 && t.tagged;
        if (smallest && t.stages == 3 && ++calls > 1) {
          return absl::DeadlineExceededError("stuck");
        }
        return t.stages == 4 ? Us{Bowl(t)[0] - 2.9, 4 * (Bowl(t)[0] - 2.9)}
                             : Bowl(t);
      });
  EXPECT_THAT(BestShape(result), ElementsAre(8, 1, 4));
  EXPECT_EQ(calls, 2);
}

TEST(TuneTest, OtherNumbersOfPositionsAreAnError) {
  int visits = 0;
  const TuneResult result =
      MustTune([&](const Target& t) -> absl::StatusOr<Us> {
        const bool base = t.workers == 4 && !t.tagged && t.stages == 5;
        return Us(base && ++visits > 1 ? 2 : 1, base ? 100.0 : 100.2);
      });
  EXPECT_EQ(visits, 2);  // the second in the finals
  EXPECT_THAT(result.candidates[0].status.message(),
              HasSubstr("number of positions"));
  EXPECT_NE(result.best, 0u);
}

TEST(TuneTest, TheSameProgramIsOneCandidate) {
  // Stages above 4 are the same as 4 (no text: nothing is known of 1).
  TuneOptions options;
  options.identity = [](const Target& t) {
    if (t.stages == 1) return std::string();
    return DescribeShape(t, Keys()).substr(0, 20) +
           absl::StrCat(std::min(t.stages, 4u));
  };
  const TuneResult result = MustTune(
      [&](const Target& t) -> absl::StatusOr<Us> {
        Target cut = t;
        cut.stages = std::min(t.stages, 4u);
        return Bowl(cut);
      },
      options);
  EXPECT_THAT(BestShape(result), ElementsAre(8, 1, 3));
  for (const TuneCandidate& candidate : result.candidates) {
    // The base's 5 stands for 4 and 6.
    EXPECT_THAT(candidate.shape[2], ::testing::AnyOf(1, 2, 3, 5));
  }
}

TEST(TuneTest, ANegativeToleranceIsRefused) {
  for (const double tolerance : {-0.1, std::nan("")}) {
    TuneOptions options;
    options.tolerance = tolerance;
    EXPECT_EQ(Tune(Base(), Keys(), Bowl, options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(TuneKeysTest, WorkersOfAGpu) {
  const Target h200 = FindTarget("h200").value();
  const std::vector<TuneKey> keys = TuneKeys(h200, 132);
  EXPECT_EQ(keys[0].name, "workers");
  EXPECT_THAT(keys[0].values,
              ElementsAre(64, 96, 104, 112, 120, 128, 132, 264));
  EXPECT_EQ(keys.back().name, "min_gemv_rows");
  EXPECT_THAT(keys.back().values, ElementsAre(1, 16, 24, 32));
  EXPECT_EQ(DescribeShape(h200, keys),
            "workers 128, tagged 1, max_kv_splits 16, stages 13, "
            "min_gemv_rows 16");
}

TEST(TuneKeysTest, WorkersOfSmallMachines) {
  const Target cpu = CpuTarget(4);
  EXPECT_THAT(TuneKeys(cpu, 4)[0].values, ElementsAre(2, 3, 4, 8));
  EXPECT_THAT(TuneKeys(cpu, 1)[0].values, ElementsAre(1, 2));
  EXPECT_THAT(TuneKeys(cpu, 2)[0].values, ElementsAre(1, 2, 4));
  for (uint32_t processors = 1; processors < 300; ++processors) {
    const std::vector<uint32_t> counts = TuneKeys(cpu, processors)[0].values;
    EXPECT_THAT(counts, Each(Gt(0u)));
    EXPECT_THAT(counts, Each(Le(2 * processors)));
    EXPECT_THAT(counts, Contains(processors));
    EXPECT_LE(counts.size(), 5 + processors / 32);
  }
}

TEST(TuneKeysTest, ACpuHasNoStagesOrPanelsToSearch) {
  for (const TuneKey& key : TuneKeys(CpuTarget(4), 4)) {
    EXPECT_EQ(key.values.empty(),
              key.name == "stages" || key.name == "min_gemv_rows")
        << key.name;
  }
}

// Whatever is tried, a program comes out or the reason why not.
TEST(TuneKeysTest, ShapesThatAreTriedCompileOrSayWhy) {
  const model::Config config = model::FindConfig("qwen3-tiny").value();
  for (const std::string& name : TargetNames()) {
    const Target base = FindTarget(name).value();
    for (const TuneKey& key : TuneKeys(base, base.workers)) {
      for (const uint32_t value : key.values) {
        SCOPED_TRACE(testing::Message() << name << " " << key.name << value);
        Target target = base;
        if (const auto* flag = std::get_if<bool Target::*>(&key.field)) {
          target.** flag = value != 0;
        } else {
          target.*std::get<uint32_t Target::*>(key.field) = value;
        }
        const absl::StatusOr<isa::Program> program =
            Compile(config, target, {.max_context = 256});
        if (!program.ok()) {
          EXPECT_THAT(program.status().message(), HasSubstr("shared memory"));
          EXPECT_EQ(key.name, "stages");
          continue;
        }
        const absl::Status proven = isa::VerifyStatus(*program);
        EXPECT_TRUE(proven.ok()) << proven;
      }
    }
  }
}

}  // namespace
}  // namespace mkvm::scheduler
