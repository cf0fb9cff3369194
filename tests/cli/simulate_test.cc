// mkvm compile --simulate: a predicted trace and times per token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/cli/subprocess.h"
#include "trace/trace.h"

namespace mkvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Outcome Simulate(const std::string& file,
                 const std::vector<std::string>& more = {}) {
  std::vector<std::string> args = {
      "compile", "--config",   "qwen3-tiny", "--target",
      "h200",    "--workers",  "4",          "--max_context",
      "1024",    "--simulate", file};
  args.insert(args.end(), more.begin(), more.end());
  return RunMkvm(args);
}

TEST(SimulateVerbTest, WritesATraceAndPrintsTimes) {
  const std::string file = absl::StrCat(TestFolder(), "/sim.mkt");
  const Outcome outcome = Simulate(file);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // 4096 is beyond the context.
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("position     1:"), HasSubstr("position   512:"),
                    HasSubstr("tokens/s (predicted)"), Not(HasSubstr("4096"))));
  const absl::StatusOr<trace::Trace> trace = trace::Parse(ReadText(file));
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->source, trace::Source::kPredicted);
  EXPECT_EQ(trace->first_position, 1);
  EXPECT_EQ(trace->num_passes, 4u);
  EXPECT_EQ(trace->events.size(), 4 * isa::NumInstructions(trace->program));
  EXPECT_THAT(trace->command, HasSubstr("--config qwen3-tiny"));
}

TEST(SimulateVerbTest, InfoPredictsTheSame) {
  const std::string folder = TestFolder();
  const Outcome simulated =
      Simulate(absl::StrCat(folder, "/sim.mkt"),
               {"--positions", "512", "-o", absl::StrCat(folder, "/p.bin")});
  ASSERT_EQ(simulated.exit_code, 0) << simulated.err;
  const size_t begin = simulated.out.find(": ") + 2;
  const std::string us = simulated.out.substr(
      simulated.out.find_first_not_of(' ', begin),
      simulated.out.find(" us") - simulated.out.find_first_not_of(' ', begin));
  const Outcome info = RunMkvm({"info", absl::StrCat(folder, "/p.bin")});
  EXPECT_THAT(info.out, HasSubstr(absl::StrCat(us, " us")));
}

TEST(SimulateVerbTest, MistakesAreUsageErrors) {
  const std::string file = absl::StrCat(TestFolder(), "/sim.mkt");
  for (const char* bad : {"1021", "x", "-1", ","}) {
    const Outcome outcome = Simulate(file, {"--positions", bad});
    EXPECT_EQ(outcome.exit_code, 2) << bad;
    EXPECT_THAT(outcome.err, HasSubstr("--positions")) << bad;
  }
  EXPECT_EQ(Simulate(file, {"--positions", "1020"}).exit_code, 0);
  const Outcome outcome = RunMkvm(
      {"compile", "--config", "qwen3-tiny", "--positions", "1", "-o", file});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--positions needs --simulate"));
}

}  // namespace
}  // namespace mkvm
