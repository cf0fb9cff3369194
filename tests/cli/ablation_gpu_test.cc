// Every ablation on a GPU, from the command line; skips where there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "vm/gpu_machine.h"

namespace mkvm {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::vector<std::string>& Names() {
  static const auto* names =
      new std::vector<std::string>{"none",
                                   "no_prefetch",
                                   "fetch_depth=1",
                                   "launch_per_pass",
                                   "launch_per_op",
                                   "no_fuse",
                                   "no_split_kv",
                                   "launch_per_op+no_fuse",
                                   "no_attend_alone",
                                   "nops"};
  return *names;
}

class AblationsOnAGpu : public testing::Test {
 protected:
  void SetUp() override {
    const auto gpu = vm::QueryGpu(0);
    if (!gpu.ok()) GTEST_SKIP() << gpu.status().message();
  }
};

TEST_F(AblationsOnAGpu, RowsHaveFiguresAndTheTokensOfTheReference) {
  const Outcome outcome = RunMkvm({"bench",
                                   "--device",
                                   "cuda",
                                   "--config",
                                   "qwen3-tiny",
                                   "--transport",
                                   "tagged,counters",
                                   "--ablate",
                                   absl::StrJoin(Names(), ","),
                                   "-p",
                                   "0",
                                   "-n",
                                   "16",
                                   "-d",
                                   "0,40",
                                   "--ttft",
                                   "0",
                                   "-r",
                                   "2",
                                   "-o",
                                   "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  ASSERT_EQ(report["rows"].size(), Names().size() * 4);
  for (size_t i = 0; i < report["rows"].size(); ++i) {
    EXPECT_EQ(report["rows"][i]["ablations"], Names()[i / 4]);
    EXPECT_GT(report["rows"][i]["us_per_token"], 0);
  }
}

TEST_F(AblationsOnAGpu, RunGivesTheSameTokens) {
  const auto tokens = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = {
        "run",        "--device", "cuda",        "--config",
        "qwen3-tiny", "--model",  "synthetic:1", "--prompt_ids",
        "1,2,3",      "-n",       "20",          "--ignore_eos"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome outcome = RunMkvm(args);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string expected = tokens({});
  EXPECT_EQ(tokens({"--no_prefetch"}), expected);
  EXPECT_EQ(tokens({"--fetch_depth", "1"}), expected);
  EXPECT_EQ(tokens({"--launch_per_pass"}), expected);
  EXPECT_EQ(tokens({"--launch_per_op"}), expected);
}

TEST_F(AblationsOnAGpu, InterpretationGivesTimes) {
  const Outcome outcome =
      RunMkvm({"bench", "--device", "cuda", "--interpretation", "--ablate",
               "none,fetch_depth=1", "-r", "2", "-o", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  ASSERT_EQ(report["interpretation"].size(), 6u);
  for (const json& row : report["interpretation"]) {
    EXPECT_GT(row["ns_per_instruction"], 0);
  }
}

TEST_F(AblationsOnAGpu, TooDeepAFetchIsNamed) {
  const Outcome outcome =
      RunMkvm({"run", "--device", "cuda", "--config", "qwen3-tiny",
               "--prompt_ids", "1", "-n", "2", "--fetch_depth", "1000"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("fetch_depth is 1000"));
}

}  // namespace
}  // namespace mkvm
