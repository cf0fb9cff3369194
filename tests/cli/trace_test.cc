// mkvm trace, on traces that the built binary recorded and on what is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "trace/trace.h"

namespace mkvm {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// A decode of 6 passes on the CPU machine.
std::string Recorded() {
  std::string path = TestFolder() + "/run.mkt";
  const Outcome outcome =
      RunMkvm({"run", "--config", "qwen3-tiny", "--model", "synthetic:1",
               "--prompt_ids", "1,2,3", "-n", "4", "--ignore_eos", "--device",
               "cpu", "--trace", path});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return path;
}

trace::Trace Load(const std::string& path) {
  absl::StatusOr<trace::Trace> trace = trace::Parse(ReadText(path));
  EXPECT_TRUE(trace.ok()) << trace.status();
  return *std::move(trace);
}

// stdout of a command that must succeed and say nothing on stderr.
std::string OutputOf(const std::vector<std::string>& args) {
  const Outcome outcome = RunMkvm(args);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome.out;
}

// The one line of a command that must fail with `exit_code`.
std::string ErrorOf(int exit_code, const std::vector<std::string>& args) {
  const Outcome outcome = RunMkvm(args);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("mkvm: error: "));
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  return outcome.err;
}

TEST(TraceVerb, Summary) {
  const std::string text = OutputOf({"trace", Recorded(), "--path"});
  EXPECT_THAT(text, AllOf(HasSubstr("Measured on CPU"),
                          HasSubstr("passes 0..5 (positions 0..5)"),
                          HasSubstr("gate_up"), HasSubstr("Worst waits"),
                          HasSubstr("Critical path (mean of 5 tokens)"),
                          HasSubstr("hops free"),
                          HasSubstr("after its place in the queue")));
}

TEST(TraceVerb, JsonAddsUp) {
  const std::string path = Recorded();
  const json summary = json::parse(OutputOf({"trace", path, "--json"}));
  const trace::Trace trace = Load(path);
  EXPECT_EQ(summary["events"], trace.events.size());
  EXPECT_EQ(summary["passes"], 6);
  EXPECT_EQ(summary["complete_passes"], 6);
  size_t visits = 0;
  for (const json& row : summary["opcodes"]) {
    visits += row["count"].get<size_t>();
  }
  EXPECT_EQ(visits, trace.events.size());
  double sum = 0;
  for (const json& part : summary["critical_path"]["parts_ns"]) {
    sum += part.get<double>();
  }
  EXPECT_NEAR(sum, 1e3 * summary["us_per_token"].get<double>(), 1);
}

TEST(TraceVerb, PassesAreCutOut) {
  const std::string path = Recorded();
  const json summary =
      json::parse(OutputOf({"trace", path, "--json", "--passes", "2..4"}));
  EXPECT_EQ(summary["first_pass"], 2);
  EXPECT_EQ(summary["passes"], 2);
  EXPECT_EQ(summary["events"], Load(path).events.size() / 3);
  EXPECT_THAT(ErrorOf(1, {"trace", path, "--passes", "6.."}),
              HasSubstr("no event in passes 6..; it holds passes 0..6"));
}

TEST(TraceVerb, WritesFiles) {
  const std::string path = Recorded();
  const std::string stem = TestFolder() + "/out";
  OutputOf({"trace", path, "--csv", stem + ".csv", "--perfetto", stem + ".json",
            "--html", stem + ".html"});
  const std::string csv = ReadText(stem + ".csv");
  EXPECT_EQ(static_cast<size_t>(std::count(csv.begin(), csv.end(), '\n')),
            1 + Load(path).events.size());
  EXPECT_TRUE(json::parse(ReadText(stem + ".json")).contains("traceEvents"));
  EXPECT_THAT(ReadText(stem + ".html"), StartsWith("<!"));
  EXPECT_EQ(OutputOf({"trace", path, "--csv", "-"}), csv);
}

TEST(TraceVerb, DiffOfATraceWithItself) {
  const std::string path = Recorded();
  const json diff =
      json::parse(OutputOf({"trace", "diff", path, path, "--json"}));
  EXPECT_EQ(diff["a_us_per_token"], diff["b_us_per_token"]);
  for (const json& row : diff["phases"]) EXPECT_EQ(row["change_us"], 0);
  EXPECT_THAT(OutputOf({"trace", "diff", path, path}),
              StartsWith("Token: +0.00 us (+0.0 %)"));
}

TEST(TraceVerb, WhatIsNoTrace) {
  const std::string folder = TestFolder();
  EXPECT_THAT(ErrorOf(1, {"trace", "/no/such.mkt"}),
              HasSubstr("cannot open /no/such.mkt"));
  EXPECT_THAT(ErrorOf(1, {"trace", folder}), HasSubstr("is a directory"));
  const std::string program = folder + "/argmax.bin";
  ASSERT_EQ(
      RunMkvm({"asm", MKVM_SOURCE_DIR "/programs/argmax.mkasm", "-o", program})
          .exit_code,
      0);
  EXPECT_THAT(ErrorOf(1, {"trace", program}),
              HasSubstr(program + " is a program, not a trace"));
  const std::string file = folder + "/x.mkt";
  WriteText(file, "");
  EXPECT_THAT(ErrorOf(1, {"trace", file}),
              HasSubstr(file + ": not a valid trace: it does not begin"));
  const std::string whole = ReadText(Recorded());
  WriteText(file, whole.substr(0, whole.size() / 2));
  EXPECT_THAT(ErrorOf(1, {"trace", file}), HasSubstr("damaged or cut off"));
}

TEST(TraceVerb, EmptyTrace) {
  trace::Trace trace = Load(Recorded());
  trace.events.clear();
  trace::Normalize(trace);
  const std::string file = TestFolder() + "/empty.mkt";
  WriteText(file, trace::Serialize(trace));
  EXPECT_THAT(ErrorOf(1, {"trace", file}), HasSubstr("holds no events"));
  EXPECT_THAT(ErrorOf(1, {"trace", "diff", file, file}),
              HasSubstr("holds no events"));
}

TEST(TraceVerb, Usage) {
  EXPECT_THAT(ErrorOf(2, {"trace"}), HasSubstr("usage: mkvm trace (FILE.mkt"));
  EXPECT_THAT(ErrorOf(2, {"trace", "diff", "a.mkt"}),
              HasSubstr("an argument is missing"));
  EXPECT_THAT(ErrorOf(2, {"trace", "a.mkt", "b.mkt"}), HasSubstr("\"b.mkt\""));
  EXPECT_THAT(ErrorOf(2, {"trace", "a.mkt", "--passes", "7"}),
              HasSubstr("--passes: \"7\" is not A..B"));
  EXPECT_THAT(ErrorOf(2, {"trace", "a.mkt", "--worst", "-1"}),
              HasSubstr("--worst is below 0"));
  EXPECT_THAT(ErrorOf(2, {"trace", "diff", "a", "b", "--path"}),
              HasSubstr("takes --passes and --json only"));
  EXPECT_THAT(ErrorOf(2, {"trace", "a", "--csv", "-", "--html", "-"}),
              HasSubstr("only one file can go to stdout"));
  EXPECT_THAT(ErrorOf(2, {"trace", "a", "--perfeto", "x"}),
              HasSubstr("did you mean --perfetto?"));
}

TEST(TraceVerb, UnwritableOutput) {
  EXPECT_THAT(ErrorOf(1, {"trace", Recorded(), "--html", "/no/dir/x.html"}),
              HasSubstr("cannot create /no/dir/x.html"));
}

}  // namespace
}  // namespace mkvm
