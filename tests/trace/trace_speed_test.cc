// The time to read a whole recording: 64 tokens of the smallest model.
#include <chrono>
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "scheduler/compile.h"
#include "tests/trace/synthetic.h"
#include "trace/critical_path.h"
#include "trace/dependencies.h"
#include "trace/summary.h"
#include "trace/trace.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

#ifdef MKVM_SANITIZED
constexpr double kSlowness = 20;
#elif !defined(NDEBUG) || !defined(__OPTIMIZE__)
constexpr double kSlowness = 20;
#else
constexpr double kSlowness = 1;
#endif

class Stopwatch {
 public:
  // Seconds since the last lap, which are printed.
  double Lap(const char* what) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> took = now - last_;
    last_ = now;
    std::printf("%-16s %6.2f s\n", what, took.count());
    return took.count();
  }

 private:
  std::chrono::steady_clock::time_point last_ =
      std::chrono::steady_clock::now();
};

TEST(TraceSpeed, SixtyFourTokensOfTheSmallestModel) {
  const absl::StatusOr<model::Config> config = model::FindConfig("qwen3-0.6b");
  ASSERT_TRUE(config.ok()) << config.status();
  const absl::StatusOr<scheduler::Target> target =
      scheduler::FindTarget("h200");
  ASSERT_TRUE(target.ok()) << target.status();
  absl::StatusOr<isa::Program> program =
      scheduler::Compile(*config, *target, {.max_context = 8192});
  ASSERT_TRUE(program.ok()) << program.status();
  Stopwatch watch;
  const Trace trace = SyntheticTrace(*std::move(program), 64, 256);
  ASSERT_GT(trace.events.size(), 900'000u);
  watch.Lap("made up");
  double seconds = 0;
  const std::string bytes = Serialize(trace);
  watch.Lap("serialize");
  const absl::StatusOr<Trace> parsed = Parse(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  seconds += watch.Lap("parse");
  const Dependencies dependencies(*parsed);
  seconds += watch.Lap("dependencies");
  const CriticalPath path = FindCriticalPath(dependencies);
  seconds += watch.Lap("critical path");
  const Summary summary = Summarize(dependencies);
  seconds += watch.Lap("summary");
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(dependencies);
  seconds += watch.Lap("what-if");
  ASSERT_TRUE(what_if.ok()) << what_if.status();
  std::printf("%s\n%s\n%s", SummaryText(dependencies, summary).c_str(),
              CriticalPathText(TabulatePath(dependencies, path)).c_str(),
              WhatIfText(*what_if).c_str());
  EXPECT_EQ(path.tokens.size(), 64u);
  EXPECT_LT(seconds, 10 * kSlowness);
}

}  // namespace
}  // namespace mkvm::trace
