// Recording: run --trace, and calibrate.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "cli/flags.h"
#include "cli/trace_flags.h"
#include "nlohmann/json.hpp"
#include "scheduler/target.h"
#include "tests/cli/subprocess.h"
#include "trace/trace.h"

namespace mkvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A decode of 8 passes on the CPU machine, with `more` arguments.
Outcome Decode(const std::vector<std::string>& more) {
  std::vector<std::string> args = {
      "run",     "--config",     "qwen3-tiny", "--device",
      "cpu",     "--prompt_ids", "1,2,3",      "--ignore_eos",
      "--model", "synthetic:1",  "-n",         "6"};
  args.insert(args.end(), more.begin(), more.end());
  return RunMkvm(args);
}

trace::Trace MustRead(const std::string& path) {
  absl::StatusOr<trace::Trace> trace = trace::Parse(ReadText(path));
  EXPECT_TRUE(trace.ok()) << trace.status();
  return trace.ok() ? *std::move(trace) : trace::Trace();
}

TEST(RecordTest, RunWritesATraceAndTheSameTokens) {
  const std::string path = absl::StrCat(TestFolder(), "/t.mkt");
  const Outcome plain = Decode({});
  const Outcome traced = Decode({"--trace", path});
  ASSERT_EQ(traced.exit_code, 0) << traced.err;
  EXPECT_EQ(traced.out, plain.out);
  EXPECT_THAT(traced.err, HasSubstr(" of 8 passes from position 0"));
  const trace::Trace trace = MustRead(path);
  EXPECT_EQ(trace.num_passes, 8u);
  EXPECT_EQ(trace.events.size(), 8 * isa::NumInstructions(trace.program));
  EXPECT_EQ(trace.source, trace::Source::kMeasured);
  EXPECT_THAT(trace.machine, HasSubstr("CPU"));
  EXPECT_THAT(trace.command, HasSubstr("mkvm run --config qwen3-tiny"));
}

TEST(RecordTest, TokensPickTheWindow) {
  const std::string path = absl::StrCat(TestFolder(), "/t.mkt");
  const Outcome traced = Decode({"--trace", path, "--trace_tokens", "2..5"});
  ASSERT_EQ(traced.exit_code, 0) << traced.err;
  EXPECT_THAT(traced.err, HasSubstr("of 3 passes from position 2"));
  EXPECT_EQ(MustRead(path).first_pass, 2u);
}

TEST(RecordTest, AWindowAfterTheEndIsSaid) {
  const std::string path = absl::StrCat(TestFolder(), "/t.mkt");
  const Outcome traced = Decode({"--trace", path, "--trace_tokens", "50.."});
  ASSERT_EQ(traced.exit_code, 0) << traced.err;
  EXPECT_THAT(traced.err, HasSubstr("nothing was recorded"));
}

TEST(RecordTest, AFullBufferIsSaidWithTheMend) {
  const std::string path = absl::StrCat(TestFolder(), "/t.mkt");
  const Outcome traced =
      RunMkvm({"run", "--config", "qwen3-tiny", "--device", "cpu",
               "--prompt_ids", "1", "--ignore_eos", "--model", "synthetic:1",
               "-n", "400", "--trace", path, "--trace_buffer_mb", "1"});
  ASSERT_EQ(traced.exit_code, 0) << traced.err;
  EXPECT_THAT(traced.err, AllOf(HasSubstr("the buffer was full"),
                                HasSubstr("--trace_buffer_mb")));
  EXPECT_GT(MustRead(path).dropped, 0u);
}

TEST(RecordTest, FlagsThatDontGoTogetherAreRefused) {
  const Outcome window = Decode({"--trace_tokens", "1..2"});
  EXPECT_EQ(window.exit_code, 2);
  EXPECT_THAT(window.err, HasSubstr("--trace_tokens needs --trace"));
  EXPECT_THAT(Decode({"--trace_buffer_mb", "5"}).err,
              HasSubstr("--trace_buffer_mb needs --trace"));
  EXPECT_THAT(Decode({"--trace", "t", "--trace_buffer_mb", "0"}).err,
              HasSubstr("--trace_buffer_mb is out of range"));
  EXPECT_THAT(Decode({"--trace", "/nowhere/t.mkt"}).err,
              HasSubstr("/nowhere/t.mkt"));
}

TEST(RecordTest, RangesAreHalfOpenAndStrict) {
  const auto range = cli::ParseRange("3..9", "--x");
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->begin, 3);
  EXPECT_EQ(range->end, 9);
  EXPECT_EQ(cli::ParseRange("..9", "--x")->begin, 0);
  EXPECT_FALSE(cli::ParseRange("4..", "--x")->end.has_value());
  for (const char* bad : {"", "5", "5..5", "9..3", "a..b", "-1..3", "1...3",
                          "1..2..3", "1..2x", "99999999999999999999.."}) {
    const absl::Status status = cli::ParseRange(bad, "--x").status();
    EXPECT_TRUE(cli::IsUsageError(status)) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--x")) << bad;
  }
}

TEST(RecordTest, CalibrateWritesATargetThatCompileTakes) {
  const std::string path = absl::StrCat(TestFolder(), "/target.json");
  const Outcome outcome =
      RunMkvm({"calibrate", "--device", "cpu", "--threads", "2", "-o", path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto target = scheduler::ParseTarget(ReadText(path));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_GT(target->stream_gb_per_s, 0.1);
  EXPECT_THAT(target->notes, HasSubstr("mkvm calibrate"));
  EXPECT_FALSE(target->costs.empty());
  const Outcome compiled =
      RunMkvm({"compile", "--config", "qwen3-tiny", "--target", path, "-o",
               absl::StrCat(TestFolder(), "/p.bin")});
  EXPECT_EQ(compiled.exit_code, 0) << compiled.err;
}

TEST(RecordTest, CalibrateSaysWhatIsWrong) {
  EXPECT_THAT(RunMkvm({"calibrate"}).err, HasSubstr("needs -o FILE.json"));
  EXPECT_THAT(
      RunMkvm({"calibrate", "--device", "cpu", "--threads", "0", "-o", "-"})
          .err,
      HasSubstr("--threads"));
}

}  // namespace
}  // namespace mkvm
