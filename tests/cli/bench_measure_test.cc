// What `mkvm bench` computes, with launches that are made up.
#include "cli/bench_measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "cli/bench_report.h"
#include "cli/flags.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

using testing::AllOf;
using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr BenchTest kGenerate = {BenchKind::kGenerate, 100, 0};

// 50 us for a launch and 2 us for each of its passes; token i is i.
absl::StatusOr<Launched> Ideal(const BenchTest& test, int64_t passes) {
  Launched launched;
  launched.seconds = (50 + 2.0 * passes) * 1e-6;
  launched.first_token_seconds = 7e-3;
  const int64_t tokens = test.kind == BenchKind::kGenerate ? passes
                         : passes == test.tokens           ? 1
                                                           : 0;
  for (int32_t i = 0; i < tokens; ++i) launched.tokens.push_back(i);
  return launched;
}

TEST(SummarizeTest, MedianOfKnownValues) {
  const Summary odd = Summarize({5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 5);
  EXPECT_EQ(Summarize({4, 1, 2, 100}).median, 3);
  EXPECT_EQ(Summarize({8}).median, 8);
}

TEST(BenchTestNameTest, SaysKindTokensAndDepth) {
  EXPECT_EQ(BenchTestName({BenchKind::kPrompt, 512, 0}), "pp512");
  EXPECT_EQ(BenchTestName({BenchKind::kGenerate, 128, 4096}), "tg128 @ d4096");
  EXPECT_EQ(BenchTestName({BenchKind::kFirstToken, 1, 0}), "ttft1");
}

TEST(MeasureTest, SplitsLaunchFromPasses) {
  const auto measurement = Measure(kGenerate, 3, true, Ideal);
  ASSERT_TRUE(measurement.ok()) << measurement.status();
  EXPECT_THAT(measurement->us, AllOf(SizeIs(3), Each(DoubleNear(2.5, 1e-9))));
  EXPECT_THAT(measurement->steady_us,
              AllOf(SizeIs(3), Each(DoubleNear(2.0, 1e-9))));
  EXPECT_EQ(measurement->launches, 7);  // warm-up, then two for each
  EXPECT_THAT(measurement->tokens, SizeIs(100));
}

TEST(MeasureTest, APromptsTokenComesWithItsLastPass) {
  const auto measurement = Measure({BenchKind::kPrompt, 8, 0}, 2, false, Ideal);
  ASSERT_TRUE(measurement.ok()) << measurement.status();
  EXPECT_THAT(measurement->tokens, ElementsAre(0));
  EXPECT_EQ(measurement->launches, 4);
}

TEST(MeasureTest, AFirstTokenIsTimedWhole) {
  const auto measurement =
      Measure({BenchKind::kFirstToken, 32, 0}, 2, true, Ideal);
  ASSERT_TRUE(measurement.ok()) << measurement.status();
  EXPECT_THAT(measurement->us, Each(DoubleNear(7000, 1e-6)));
  EXPECT_THAT(measurement->steady_us, IsEmpty());
}

TEST(MeasureTest, OnePassHasNoDifference) {
  const auto measurement =
      Measure({BenchKind::kGenerate, 1, 0}, 2, false, Ideal);
  ASSERT_TRUE(measurement.ok()) << measurement.status();
  EXPECT_THAT(measurement->steady_us, IsEmpty());
}

TEST(MeasureTest, OtherTokensInALaterLaunchAreAnError) {
  int launches = 0;
  const auto measurement =
      Measure(kGenerate, 5, true, [&](const BenchTest& test, int64_t passes) {
        absl::StatusOr<Launched> launched = Ideal(test, passes);
        if (++launches == 4) launched->tokens[60] = -1;
        return launched;
      });
  EXPECT_EQ(measurement.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(measurement.status().message(),
            "in launch 4 token 60 is -1, not 60");
}

TEST(MeasureTest, AShortLaunchIsComparedToo) {
  const auto measurement =
      Measure(kGenerate, 1, false, [](const BenchTest& test, int64_t passes) {
        absl::StatusOr<Launched> launched = Ideal(test, passes);
        if (passes < test.tokens) launched->tokens[2] = 9;
        return launched;
      });
  EXPECT_THAT(measurement.status().message(), HasSubstr("token 2 is 9, not 2"));
}

TEST(MeasureTest, ALaunchThatFailsEndsIt) {
  const auto measurement =
      Measure(kGenerate, 5, true, [](const BenchTest&, int64_t) {
        return absl::StatusOr<Launched>(absl::DeadlineExceededError("stuck"));
      });
  EXPECT_EQ(measurement.status().message(), "stuck");
}

Launched WithTokens(std::vector<int32_t> tokens) {
  Launched launched;
  launched.tokens = std::move(tokens);
  return launched;
}

TEST(CheckAgainstTest, SaysWhatWasComparedOrWhatDiffers) {
  Measurement measurement;
  measurement.tokens = {1, 2, 3};
  measurement.launches = 11;
  const auto check = [&](const absl::StatusOr<Launched>& reference) {
    return CheckAgainst(measurement, reference, "counters");
  };
  const auto same = check(WithTokens({1, 2, 3}));
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(*same, "same 3 tokens: 11 launches, counters");
  EXPECT_EQ(check(WithTokens({1, 7, 3})).status().message(),
            "with counters token 1 is 7, not 2");
  EXPECT_EQ(check(WithTokens({1, 2})).status().message(),
            "with counters there are 2 tokens, not 3");
  EXPECT_EQ(check(absl::DeadlineExceededError("stuck")).status().message(),
            "stuck");
}

// Two rows of 2.5 us and 10,000 bytes a token beside 8 GB/s.
BenchReport MakeReport() {
  BenchReport report;
  report.command = "mkvm bench \"-o\"";
  report.date_utc = "2026-11-21T09:30:00Z";
  report.commit = "0123456789ab";
  report.hardware = "A GPU, large";
  report.driver = "580.1.2";
  report.stream = {.before = 7.9, .after = 8.1};
  BenchSetup setup;
  setup.model = "m";
  setup.transport = "tagged";
  report.setups.push_back(setup);
  BenchFigures figures;
  figures.us = {.median = 2.5, .min = 2.0, .max = 4.0};
  figures.samples_us = {2.0, 2.5, 4.0};
  figures.steady_us = 2.25;
  figures.bytes_per_token = 10000;
  figures.gpu.sm_clock_mhz = 1755;
  figures.gpu.power_w = 412.4;
  BenchRow row;
  row.test = kGenerate;
  row.figures = figures;
  row.check = "same 100 tokens";
  report.rows.push_back(row);
  row.test = {BenchKind::kPrompt, 8, 64};
  row.check = "same 1 token";
  row.stream = {{.before = 15.0, .after = 17.0}};
  report.rows.push_back(row);
  return report;
}

TEST(BenchReportTest, MarkdownHasRowsAndState) {
  const std::string text = BenchMarkdown(MakeReport());
  EXPECT_THAT(text, HasSubstr("A GPU, large, driver 580.1.2"));
  EXPECT_THAT(text, HasSubstr("7.9 GB/s before, 8.1 after"));
  EXPECT_THAT(text, HasSubstr("| m | tagged | tg100 | 400000.0 | 2.5 "
                              "(2.0..4.0) | 4.0 | 50.0 % | 1755 | 412 | n/a | "
                              "same 100 tokens |\n"));
  EXPECT_THAT(text, HasSubstr("| pp8 @ d64 |"));
  EXPECT_THAT(text, Not(HasSubstr("not quiet")));
  EXPECT_TRUE(BenchVerdict(MakeReport()).ok());
}

TEST(BenchReportTest, SaysThatTheMachineWasNotQuiet) {
  BenchReport report = MakeReport();
  report.stream.after = 7.1;
  EXPECT_THAT(BenchMarkdown(report),
              HasSubstr("changed by -10 % while this ran"));
}

TEST(BenchReportTest, JsonHoldsEverything) {
  const nlohmann::json json = nlohmann::json::parse(BenchJson(MakeReport()));
  EXPECT_EQ(json["command"], "mkvm bench \"-o\"");
  EXPECT_EQ(json["stream_gb_per_s"]["mean"], 8.0);
  const nlohmann::json& row = json["rows"][0];
  EXPECT_EQ(row["test"], "tg");
  EXPECT_EQ(row["tokens"], 100);
  EXPECT_EQ(row["us_per_token"], 2.5);
  EXPECT_EQ(row["launch_us"], 25.0);
  EXPECT_EQ(row["gb_per_s"], 4.0);
  EXPECT_EQ(row["stream_percent"], 50.0);
  // Of the stream beside the row, where there is one.
  EXPECT_EQ(row["stream_gb_per_s"], 8.0);
  EXPECT_EQ(json["rows"][1]["stream_gb_per_s"], 16.0);
  EXPECT_EQ(json["rows"][1]["stream_gb_per_s_before"], 15.0);
  EXPECT_EQ(json["rows"][1]["stream_gb_per_s_after"], 17.0);
  EXPECT_EQ(json["rows"][1]["stream_percent"], 25.0);
  EXPECT_EQ(row["sm_clock_mhz"], 1755.0);
  EXPECT_TRUE(row["temperature_c"].is_null());
  EXPECT_FALSE(row.contains("refused"));
}

TEST(BenchReportTest, CsvHasAFieldForEveryColumn) {
  const std::string text = BenchCsv(MakeReport());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, HasSubstr("\n2026-11-21T09:30:00Z,0123456789ab,"
                              "\"A GPU, large\",580.1.2,"));
}

TEST(BenchReportTest, ARefusedRowHasAReasonAndNoFigures) {
  BenchReport report = MakeReport();
  Refuse(absl::DataLossError("token 3 is 9, not 8"), report.rows[1]);
  const absl::Status verdict = BenchVerdict(report);
  EXPECT_EQ(verdict.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(IsUsageError(verdict));  // so the exit code is 1
  EXPECT_EQ(verdict.message(),
            "1 of 2 rows refused, first pp8 @ d64 of m: token 3 is 9, not 8");
  EXPECT_THAT(BenchMarkdown(report),
              HasSubstr("| pp8 @ d64 | | | | | | | | refused: token 3 is 9"));
  const nlohmann::json row =
      nlohmann::json::parse(BenchJson(report))["rows"][1];
  EXPECT_EQ(row["refused"], "token 3 is 9, not 8");
  EXPECT_EQ(row["check"], "");
  EXPECT_FALSE(row.contains("tokens_per_s"));
}

}  // namespace
}  // namespace mkvm::cli
