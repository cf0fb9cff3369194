// What `mkvm tune` measures with on the CPU machine, and what it writes.
#include "cli/tune_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/compile.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Gt;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

model::Config Tiny() { return model::FindConfig("qwen3-tiny").value(); }

scheduler::Target CpuWith(uint32_t workers, uint32_t splits) {
  scheduler::Target target = scheduler::CpuTarget(workers);
  target.max_kv_splits = splits;
  return target;
}

TunePlan Plan() {
  TunePlan plan;
  plan.threads = 2;
  plan.positions = {0, 20};
  plan.tokens = 32;
  plan.repetitions = 1;
  plan.keys = scheduler::TuneKeys(scheduler::CpuTarget(2), 2);
  return plan;
}

std::string ArithmeticOf(const scheduler::Target& target) {
  const absl::StatusOr<isa::Program> program =
      CompileFor(Tiny(), target, 64, false);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? Arithmetic(*program) : "";
}

TEST(ArithmeticTest, HangsOnSplitsNotOnWorkers) {
  const std::string two = ArithmeticOf(CpuWith(4, 2));
  EXPECT_THAT(two, HasSubstr("splits 2,"));
  EXPECT_EQ(ArithmeticOf(CpuWith(6, 2)), two);
  scheduler::Target tagged = CpuWith(4, 2);
  tagged.tagged = true;
  EXPECT_EQ(ArithmeticOf(tagged), two);
  EXPECT_NE(ArithmeticOf(CpuWith(4, 1)), two);
}

TEST(TokenCheckTest, ComparesWhatMustBeTheSame) {
  TokenCheck check;
  EXPECT_TRUE(check.Check("workers 2", "a", {{1, 2}, {3}}).ok());
  EXPECT_TRUE(check.Check("workers 3", "a", {{1, 2}, {3}}).ok());
  EXPECT_TRUE(check.Check("splits 8", "b", {{7, 7}, {7}}).ok());
  const absl::Status status = check.Check("workers 4", "a", {{1, 2}, {9}});
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("position 2 of the list"));
  EXPECT_THAT(status.message(),
              HasSubstr("against workers 2, token 0 is 9, not 3"));
}

// Launches that take as long as the test says; the tokens are always 7.
Launcher Taking(std::vector<double> seconds) {
  auto next = std::make_shared<size_t>(0);
  return [=](const BenchTest&, int64_t passes) -> absl::StatusOr<Launched> {
    Launched launched;
    launched.tokens.assign(passes, 7);
    launched.seconds = seconds[(*next)++ % seconds.size()];
    return launched;
  };
}

TEST(MeasureSteadyTest, TriesAgainWhenTheNoiseExceedsTheDifference) {
  const BenchTest test = {BenchKind::kGenerate, 8, 0};
  // The warm-up, a part that took longer than the whole, then a good pair.
  const auto measured = MeasureSteady(test, 1, Taking({1, 2, 3, 8, 4}));
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_THAT(measured->steady_us, ElementsAre(1e6));
  const auto busy = MeasureSteady(test, 1, Taking({2}));
  EXPECT_TRUE(absl::IsUnavailable(busy.status()));
  EXPECT_THAT(busy.status().message(), HasSubstr("too busy to measure"));
}

TEST(TuneMeasurerTest, MeasuresEveryPosition) {
  TuneMeasurer measurer(Plan(), model::MakeSynthetic(Tiny(), 1));
  for (const uint32_t workers : {1u, 3u}) {
    const auto us = measurer.Measure(CpuWith(workers, 1));
    if (absl::IsUnavailable(us.status())) GTEST_SKIP() << us.status();
    ASSERT_TRUE(us.ok()) << us.status();
    EXPECT_THAT(*us, AllOf(SizeIs(2), Each(Gt(0))));
  }
}

TEST(TuneMeasurerTest, TheProgramTellsTargetsApart) {
  TuneMeasurer measurer(Plan(), model::MakeSynthetic(Tiny(), 1));
  const std::string program = measurer.ProgramOf(CpuWith(4, 2));
  EXPECT_FALSE(program.empty());
  // Four workers and two kv heads: no more than two splits.
  EXPECT_EQ(measurer.ProgramOf(CpuWith(4, 16)), program);
  EXPECT_NE(measurer.ProgramOf(CpuWith(4, 1)), program);
  scheduler::Target none = CpuWith(4, 2);
  none.shared_memory_bytes = 1000;
  EXPECT_EQ(measurer.ProgramOf(none), "");
  EXPECT_THAT(measurer.Measure(none).status().message(),
              HasSubstr("shared memory"));
}

class TuneReportTest : public testing::Test {
 protected:
  void SetUp() override {
    report_.command = "mkvm tune -o t.json";
    report_.date_utc = "2026-11-21T09:30:00Z";
    report_.version = "1.2.3";
    report_.commit = "abc";
    report_.hardware = "Some GPU";
    report_.model = "qwen3-tiny";
    report_.weights = "synthetic weights of seed 1";
    report_.plan = Plan();
    report_.tolerance = 0.005;
    report_.seconds = 12;
    Add(2, 2, {100, 400});
    Add(4, 2, {81, 324});
    Refuse(8, absl::FailedPreconditionError("holds 4 | at once"));
    report_.result.best = 1;
  }

  scheduler::TuneCandidate& Add(uint32_t workers, uint32_t splits,
                                std::vector<double> us) {
    scheduler::TuneCandidate candidate;
    candidate.target = CpuWith(workers, splits);
    candidate.shape = {workers, 0, splits, 1, 1};
    candidate.us = us;
    candidate.samples = {us};
    candidate.mean_us = 2 * us[0];
    report_.result.candidates.push_back(candidate);
    return report_.result.candidates.back();
  }
  void Refuse(uint32_t workers, absl::Status status) {
    scheduler::TuneCandidate& candidate = Add(workers, 2, {1, 1});
    candidate.us.clear();
    candidate.samples.clear();
    candidate.mean_us = std::numeric_limits<double>::infinity();
    candidate.status = std::move(status);
  }

  TuneReport report_;
};

TEST_F(TuneReportTest, TheTableHasEveryCandidate) {
  const std::string table = TuneMarkdown(report_);
  EXPECT_THAT(table, HasSubstr("qwen3-tiny on Some GPU, 2026-11-21T09:30"));
  EXPECT_THAT(table,
              HasSubstr("| workers | tagged | max_kv_splits | stages | "
                        "min_gemv_rows | at 0 | at 20 | mean | of the best |"));
  EXPECT_THAT(
      table,
      HasSubstr("| 2 | 0 | 2 | 1 | 1 | 100.0 | 400.0 | 200.0 | 1.235 |"));
  EXPECT_THAT(
      table,
      HasSubstr("| 4 | 0 | 2 | 1 | 1 | 81.0 | 324.0 | 162.0 | 1.000 | best |"));
  EXPECT_THAT(table, HasSubstr("| left out: holds 4 \\| at once |"));
  EXPECT_THAT(table, HasSubstr("best of 3 shapes in 12 s: workers 4, "));
  EXPECT_THAT(table, Not(HasSubstr("budget")));
  report_.result.out_of_budget = true;
  EXPECT_THAT(TuneMarkdown(report_), HasSubstr("the budget ended the search"));
}

TEST_F(TuneReportTest, JsonHoldsEverything) {
  const json report = json::parse(
      TuneJson(report_, TunedTarget(report_, "costs from somewhere")));
  EXPECT_EQ(report["positions"], json({0, 20}));
  EXPECT_EQ(report["hardware"], "Some GPU");
  ASSERT_EQ(report["candidates"].size(), 3u);
  const json& best = report["candidates"][1];
  EXPECT_EQ(best["shape"]["workers"], 4);
  EXPECT_EQ(best["us_per_token"], json({81.0, 324.0}));
  EXPECT_EQ(best["ratio"], 1.0);
  EXPECT_TRUE(best["best"].get<bool>());
  EXPECT_EQ(report["candidates"][2]["left_out"], "holds 4 | at once");
  EXPECT_FALSE(report["candidates"][2].contains("us_per_token"));
  EXPECT_EQ(report["target"]["workers"], 4);
}

TEST_F(TuneReportTest, NotesSayWhatWasMeasuredOnceOnly) {
  const scheduler::Target once = TunedTarget(report_, "costs from somewhere");
  EXPECT_EQ(once.workers, 4u);
  EXPECT_EQ(once.notes,
            "costs from somewhere; shape found by mkvm tune on Some GPU, "
            "2026-11-21: qwen3-tiny, 81.0, 324.0 us per token from positions "
            "0, 20 on, the best of 3 shapes tried");
  EXPECT_EQ(TunedTarget(report_, once.notes).notes, once.notes);
  EXPECT_THAT(TunedTarget(report_, "").notes, testing::StartsWith("shape"));
}

TEST_F(TuneReportTest, OtherTokensAreAnError) {
  EXPECT_TRUE(TuneVerdict(report_).ok());
  Refuse(6, absl::DataLossError("token 3 is 5, not 6"));
  Refuse(7, absl::DataLossError("token 1 is 5, not 6"));
  const absl::Status status = TuneVerdict(report_);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_EQ(status.message(),
            "2 of 5 shapes gave other tokens than they should; the first: "
            "workers 6, tagged 0, max_kv_splits 2, stages 1, min_gemv_rows 1: "
            "token 3 is 5, not 6");
}

}  // namespace
}  // namespace mkvm::cli
