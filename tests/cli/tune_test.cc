// mkvm tune on the CPU machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "scheduler/target.h"
#include "tests/cli/subprocess.h"

namespace mkvm {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Launches long enough that other work on the cores does not make the
// difference of two of them negative.
Outcome Tune(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"tune",       "--device",  "cpu", "--config",
                                   "qwen3-tiny", "--threads", "2",   "-n",
                                   "64",         "-r",        "3"};
  args.insert(args.end(), more.begin(), more.end());
  return RunMkvm(args);
}

TEST(TuneVerbTest, WritesATargetThatCompileTakes) {
  const std::string path = absl::StrCat(TestFolder(), "/target.json");
  const Outcome outcome = Tune({"--positions", "0,100", "-o", path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("| workers | tagged |"),
                                 HasSubstr("| at 0 | at 100 | mean |"),
                                 HasSubstr("| 1.000 | best |")));
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("stream:"), HasSubstr("mean ")));
  const auto target = scheduler::ParseTarget(ReadText(path));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_THAT(target->notes,
              AllOf(HasSubstr("measured by mkvm calibrate on CPU"),
                    HasSubstr("; shape found by mkvm tune on "),
                    HasSubstr("qwen3-tiny")));
  EXPECT_FALSE(target->costs.empty());
  const Outcome compiled =
      RunMkvm({"compile", "--config", "qwen3-tiny", "--target", path, "-o",
               absl::StrCat(TestFolder(), "/p.bin")});
  EXPECT_EQ(compiled.exit_code, 0) << compiled.err;
}

TEST(TuneVerbTest, KeepsTheCostsOfAGivenTarget) {
  const std::string begin = absl::StrCat(TestFolder(), "/begin.json");
  const std::string end = absl::StrCat(TestFolder(), "/end.json");
  // A GPU's shape, of which a CPU runs whatever fits.
  WriteText(begin, R"({"name": "mine", "workers": 3, "stages": 4,
                       "shared_memory_bytes": 101376, "max_kv_splits": 1,
                       "hop_us": 7.5, "notes": "made up"})");
  const Outcome outcome = Tune({"--no_calibrate", "--target", begin, "--json",
                                "--positions", "0", "-o", end});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("stream:")));
  const auto target = scheduler::ParseTarget(ReadText(end));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->name, "mine");
  EXPECT_EQ(target->hop_us, 7.5);
  EXPECT_THAT(target->notes, testing::StartsWith("made up; shape found by"));
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["target"], json::parse(ReadText(end)));
  int best = 0;
  int too_large = 0;
  for (const json& candidate : report["candidates"]) {
    if (!candidate.contains("left_out")) {
      best += candidate["best"].get<bool>() ? 1 : 0;
      continue;
    }
    SCOPED_TRACE(candidate.dump());
    // 4 stages of 16 KiB fit beside the 28.
    EXPECT_GT(candidate["shape"]["stages"], 4);
    EXPECT_THAT(candidate["left_out"].get<std::string>(),
                HasSubstr("bytes of shared memory per worker"));
    ++too_large;
  }
  EXPECT_EQ(best, 1);
  EXPECT_GE(too_large, 4);  // 5, 6, 8, 10, 12 of one line, but for ties
  EXPECT_THAT(outcome.err, HasSubstr("left out: target mine: "));
}

TEST(TuneVerbTest, TheBudgetEndsIt) {
  const Outcome outcome =
      Tune({"--no_calibrate", "--budget_seconds", "0.000001", "-o", "-"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // The target alone is on stdout; one shape was tried.
  const auto target = scheduler::ParseTarget(outcome.out);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_THAT(target->notes, HasSubstr("the budget ended the search"));
  EXPECT_THAT(outcome.err, HasSubstr("best of 1 shapes"));
  // The positions are the usual ones.
  EXPECT_THAT(outcome.err, HasSubstr("at 0 | at 512 | at 4096"));
}

TEST(TuneVerbTest, WhatNothingRunsIsOneLine) {
  const std::string path = absl::StrCat(TestFolder(), "/small.json");
  WriteText(path, R"({"name": "small", "shared_memory_bytes": 1000})");
  const Outcome outcome = Tune({"--no_calibrate", "--target", path, "-o", "-"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err,
              HasSubstr("error: no shape could be measured; the first: target "
                        "small: 4 stages need "));
  EXPECT_EQ(outcome.out, "");
}

TEST(TuneVerbTest, MistakesNameTheFlag) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes =
      {{{}, "needs -o FILE.json"},
       {{"-o", "-", "-n", "7"}, "--num_tokens is not in [8, "},
       {{"-o", "-", "-r", "0"}, "--repetitions is not in [1, "},
       {{"-o", "-", "--budget_seconds", "0"}, "--budget_seconds"},
       {{"-o", "-", "--tie_percent", "-1"}, "--tie_percent"},
       {{"-o", "-", "--threads", "0"}, "--threads is not above 0"},
       {{"-o", "-", "--positions", "1,x"}, "--positions: \"x\""},
       {{"-o", "-", "--positions", "-1"}, "--positions: \"-1\""},
       {{"-o", "-", "--positions", "2000000000"}, "is not in [0, "},
       {{"-o", "-", "--model", "/nowhere"}, "--config is for synthetic"}};
  for (const auto& [args, said] : mistakes) {
    const Outcome outcome = Tune(args);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_THAT(Tune({"-o", "-", "--target", "h300"}).err, HasSubstr("h200"));
}

TEST(TuneVerbTest, HasHelp) {
  const Outcome outcome = RunMkvm({"tune", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AllOf(testing::StartsWith("usage: mkvm tune"),
                                 HasSubstr("--budget_seconds S")));
  EXPECT_EQ(RunMkvm({"help", "tune"}).out, outcome.out);
  EXPECT_THAT(RunMkvm({"help"}).out,
              HasSubstr(" find the fastest shape of program "));
}

}  // namespace
}  // namespace mkvm
