// mkvm bench on the CPU machine: rows, forms, and mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"

namespace mkvm {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

Outcome Bench(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"bench", "--device", "cpu"};
  args.insert(args.end(), more.begin(), more.end());
  return RunMkvm(args);
}

TEST(BenchVerbTest, JsonHasARowForEveryTest) {
  const Outcome outcome =
      Bench({"-p", "8", "-n", "16", "-d", "0,100", "--ttft", "1,4", "-r", "3",
             "--threads", "1,2", "--config", "qwen3-tiny", "-o", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  EXPECT_TRUE(std::regex_match(
      report["date_utc"].get<std::string>(),
      std::regex("20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ")));
  EXPECT_FALSE(report["commit"].get<std::string>().empty());
  EXPECT_TRUE(report["driver"].is_null());
  EXPECT_GT(report["stream_gb_per_s"]["before"], 0);
  EXPECT_GT(report["stream_gb_per_s"]["after"], 0);
  ASSERT_EQ(report["setups"].size(), 2u);
  EXPECT_EQ(report["setups"][0]["threads"], 1);
  ASSERT_EQ(report["rows"].size(), 12u);
  for (const json& row : report["rows"]) {
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(row["model"], "qwen3-tiny");
    EXPECT_EQ(row["samples_us"].size(), 3u);
    EXPECT_TRUE(row["sm_clock_mhz"].is_null());
    EXPECT_THAT(row["check"].get<std::string>(),
                AllOf(HasSubstr("same "), HasSubstr("launches"),
                      HasSubstr("thread"), HasSubstr("tiny = CPU")));
    if (row["test"] == "ttft") continue;
    const double us = row["us_per_token"];
    EXPECT_GT(us, 0);
    EXPECT_LE(row["us_per_token_min"], us);
    EXPECT_GE(row["us_per_token_max"], us);
    EXPECT_DOUBLE_EQ(row["tokens_per_s"], 1e6 / us);
    const double stream = row["stream_gb_per_s"];
    EXPECT_GT(row["stream_gb_per_s_before"], 0);
    EXPECT_GT(row["stream_gb_per_s_after"], 0);
    EXPECT_DOUBLE_EQ(row["stream_percent"],
                     100 * row["gb_per_s"].get<double>() / stream);
    EXPECT_DOUBLE_EQ(row["gb_per_s"],
                     row["bytes_per_token"].get<double>() / us / 1e3);
  }
  // Two layers of two KV heads of 128, k and v in bf16, a hundred positions on.
  const json& shallow = report["rows"][0];
  const json& deep = report["rows"][1];
  EXPECT_EQ(deep["depth"], 100);
  EXPECT_EQ(deep["bytes_per_token"].get<double>() -
                shallow["bytes_per_token"].get<double>(),
            100 * 2 * 2 * 2 * 128 * 2);
}

TEST(BenchVerbTest, DefaultsAreATableWithLoadAndFirstToken) {
  const Outcome outcome = Bench({"-p", "0", "-n", "4", "--ttft", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("read-only stream:"), HasSubstr("| tg4 |"),
            HasSubstr("time to first token"), HasSubstr("- load qwen3-tiny")));
}

TEST(BenchVerbTest, CsvHasTheSameNumberOfFieldsInEveryLine) {
  const Outcome outcome =
      Bench({"-p", "2", "-n", "2", "--ttft", "0", "-r", "1", "-o", "csv",
             "--transport", "tagged,counters"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // Commas in quotes are none.
  const std::string text =
      std::regex_replace(outcome.out, std::regex("\"[^\"\n]*\""), "text");
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  ASSERT_EQ(lines.size(), 6u);  // header, four rows, what follows the last
  for (int i = 1; i < 5; ++i) {
    EXPECT_EQ(std::count(lines[i].begin(), lines[i].end(), ','),
              std::count(lines[0].begin(), lines[0].end(), ','));
  }
}

TEST(BenchVerbTest, TakesAProgram) {
  const std::string path = absl::StrCat(TestFolder(), "/tiny.bin");
  ASSERT_EQ(RunMkvm({"compile", "--config", "qwen3-tiny", "--target", "h200",
                     "--workers", "3", "--max_context", "32", "-o", path})
                .exit_code,
            0);
  const Outcome outcome =
      Bench({path, "-p", "0", "-n", "8", "-d", "24", "--ttft", "0", "-r", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("tg8 @ d24"));
  // Compiled with tags: the reference goes without.
  EXPECT_THAT(outcome.out, HasSubstr("launches, counters and 1 thread"));
  const Outcome deeper = Bench({path, "-d", "25", "-p", "0", "-n", "8"});
  EXPECT_EQ(deeper.exit_code, 1);
  EXPECT_THAT(deeper.err, HasSubstr("512 positions"));  // --ttft's
}

TEST(BenchVerbTest, RooflineIsTheStreamAlone) {
  const Outcome outcome = Bench({"--roofline", "-r", "3", "-o", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  EXPECT_GT(report["stream_gb_per_s"]["min"], 0);
  EXPECT_LE(report["stream_gb_per_s"]["min"],
            report["stream_gb_per_s"]["median"]);
  EXPECT_FALSE(report.contains("rows"));
}

TEST(BenchVerbTest, MistakesNameTheFlag) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes =
      {{{"-p", "x"}, "-p: \"x\""},
       {{"-n", "1,-2"}, "-n: \"-2\""},
       {{"-d", ""}, "-d: \"\""},
       {{"--ttft", "1.5"}, "--ttft: \"1.5\""},
       {{"-p", "0", "-n", "0", "--ttft", "0"}, "nothing to measure"},
       {{"-r", "0"}, "-r"},
       {{"-o", "xml"}, "-o: \"xml\""},
       {{"--threads", "0"}, "--threads"},
       {{"--transport", "tagged,pigeon"}, "--transport: \"pigeon\""},
       {{"p.bin", "--config", "qwen3-tiny"}, "--config"},
       {{"--depth", "1"}, "--depth"}};
  for (const auto& [args, said] : mistakes) {
    const Outcome outcome = Bench(args);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(BenchVerbTest, FailuresAreOneLine) {
  const Outcome config = Bench({"--config", "qwen3-tiny,qwen9"});
  EXPECT_EQ(config.exit_code, 1);
  EXPECT_THAT(config.err, HasSubstr("qwen9"));
  const Outcome deep = Bench({"-d", "2000000000"});
  EXPECT_EQ(deep.exit_code, 1);
  EXPECT_THAT(deep.err, HasSubstr("positions are needed"));
}

}  // namespace
}  // namespace mkvm
