// Ablations and --interpretation on the command line, on the CPU machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
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

TEST(AblationVerbs, EveryAblationIsASetupThatItsRowsName) {
  const Outcome outcome =
      Bench({"--ablate", "none,no_fuse,no_fuse+no_split_kv", "-p", "0", "-n",
             "4,6", "--ttft", "0", "-r", "1", "--threads", "2", "-o", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  ASSERT_EQ(report["setups"].size(), 3u);
  ASSERT_EQ(report["rows"].size(), 6u);
  const char* names[] = {"none", "no_fuse", "no_fuse+no_split_kv"};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(report["setups"][i]["ablations"], names[i]);
    EXPECT_EQ(report["rows"][2 * i]["ablations"], names[i]);
    EXPECT_EQ(report["rows"][2 * i + 1]["ablations"], names[i]);
  }
}

TEST(AblationVerbs, TheTableNamesThem) {
  const Outcome outcome = Bench({"--no_fuse", "-p", "0", "-n", "2", "--ttft",
                                 "1", "-r", "1", "--threads", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("| tagged, 1 thread, no_fuse | tg2 |"),
                    HasSubstr("| tagged, 1 thread, no_fuse | 1 |")));
}

// Unfused, there are more instructions: a trace counts them.
TEST(AblationVerbs, RunCompilesWithout) {
  std::map<std::string, std::string> tokens;
  std::map<std::string, std::string> traced;
  for (const std::string flag : {"", "--no_fuse", "--no_split_kv"}) {
    std::vector<std::string> args = {"run",         "--device",
                                     "cpu",         "--config",
                                     "qwen3-tiny",  "--model",
                                     "synthetic:1", "-n",
                                     "6",           "--prompt_ids",
                                     "1,2,3",       "--ignore_eos",
                                     "--trace",     TestFolder() + "/t.mkt"};
    if (!flag.empty()) args.push_back(flag);
    const Outcome outcome = RunMkvm(args);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    tokens[flag] = outcome.out;
    const Outcome summary =
        RunMkvm({"trace", TestFolder() + "/t.mkt", "--csv", "-"});
    ASSERT_EQ(summary.exit_code, 0) << summary.err;
    traced[flag] = summary.out;
  }
  EXPECT_EQ(tokens[""], tokens["--no_split_kv"]);
  EXPECT_THAT(traced["--no_fuse"], HasSubstr("silu_mul"));
  EXPECT_THAT(traced[""], testing::Not(HasSubstr("silu_mul")));
}

TEST(AblationVerbs, NopsDoubleTheInstructionsAndChangeNoToken) {
  std::vector<std::string> tokens;
  std::vector<size_t> traced;
  for (const bool nops : {false, true}) {
    std::vector<std::string> args = {"run",         "--device",
                                     "cpu",         "--config",
                                     "qwen3-tiny",  "--model",
                                     "synthetic:1", "-n",
                                     "6",           "--prompt_ids",
                                     "1,2,3",       "--ignore_eos",
                                     "--trace",     TestFolder() + "/t.mkt"};
    if (nops) args.push_back("--nops");
    const Outcome outcome = RunMkvm(args);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    tokens.push_back(outcome.out);
    const Outcome events =
        RunMkvm({"trace", TestFolder() + "/t.mkt", "--csv", "-"});
    ASSERT_EQ(events.exit_code, 0) << events.err;
    // Less the line of names.
    traced.push_back(std::count(events.out.begin(), events.out.end(), '\n') -
                     1);
  }
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(traced[1], 2 * traced[0]);
}

TEST(AblationVerbs, InterpretationHasThreeForms) {
  const std::vector<std::string> args = {"--interpretation", "-r", "2",
                                         "--threads", "1,2"};
  const auto with = [&](const std::string& form) {
    std::vector<std::string> more = args;
    more.insert(more.end(), {"-o", form});
    const Outcome outcome = Bench(more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const json report = json::parse(with("json"));
  ASSERT_EQ(report["interpretation"].size(), 6u);
  EXPECT_FALSE(report.contains("rows"));
  const char* programs[] = {"nop", "wait", "hop"};
  for (int i = 0; i < 6; ++i) {
    const json& row = report["interpretation"][i];
    EXPECT_EQ(row["test"], programs[i % 3]);
    EXPECT_EQ(row["threads"], i / 3 + 1);
    EXPECT_EQ(row["ablations"], "none");
    EXPECT_EQ(row["samples_ns"].size(), 2u);
    EXPECT_LE(row["ns_per_instruction_min"], row["ns_per_instruction_max"]);
  }
  EXPECT_THAT(with("md"), HasSubstr("| nop | waits for nothing | 2 threads |"));
  EXPECT_THAT(with("csv"), HasSubstr("ns_per_instruction,"));
}

TEST(AblationVerbs, MistakesNameTheFlag) {
  const std::string prompt = "--prompt_ids=1";
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes =
      {{{"bench", "--no_prefetch"}, "--no_prefetch: the CPU machine"},
       {{"bench", "--fetch_depth", "2"}, "--fetch_depth=2: the CPU machine"},
       {{"bench", "--launch_per_pass"}, "--launch_per_pass: the CPU machine"},
       {{"bench", "--launch_per_op"}, "--launch_per_op: the CPU machine"},
       {{"bench", "--ablate", "none,launch_per_op"},
        "--launch_per_op: the CPU machine"},
       {{"bench", "--ablate", "none,pigeon"}, "--ablate: \"pigeon\""},
       {{"bench", "--ablate", ","}, "--ablate: nothing"},
       {{"bench", "--ablate", "none", "--no_fuse"}, "--ablate: no_fuse"},
       {{"bench", "--fetch_depth", "0"}, "--fetch_depth"},
       {{"bench", "p.bin", "--no_fuse"}, "--no_fuse: p.bin is compiled"},
       {{"bench", "p.bin", "--ablate", "none,no_fuse"},
        "--no_fuse: p.bin is compiled"},
       {{"bench", "--interpretation", "--roofline"}, "--interpretation"},
       {{"bench", "--interpretation", "p.bin"}, "--interpretation"},
       {{"bench", "--interpretation", "--no_fuse"}, "--no_fuse"},
       {{"run", prompt, "--no_prefetch"}, "--no_prefetch: the CPU machine"},
       {{"run", prompt, "--launch_per_op"}, "--launch_per_op: the CPU machine"},
       {{"run", prompt, "--launch_per_op", "--launch_per_pass"},
        "--launch_per_pass and --launch_per_op"},
       {{"run", prompt, "p.bin", "--no_split_kv"},
        "--no_split_kv: p.bin is compiled"},
       {{"run", prompt, "--trace", "t.mkt", "--no_prefetch"}, "--trace"}};
  for (const auto& [args, said] : mistakes) {
    std::vector<std::string> all = args;
    all.insert(all.end(), {"--device", "cpu"});
    const Outcome outcome = RunMkvm(all);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace mkvm
