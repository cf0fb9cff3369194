#include "cli/bench_measure.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::cli {
namespace {

// Of the shorter launch that is subtracted: queues fill and clocks settle.
constexpr int64_t kShortPasses = 4;

// One launch, its tokens compared with those before: a launch of fewer passes
// gives the first of them.
absl::StatusOr<Launched> LaunchAndCompare(const BenchTest& test, int64_t passes,
                                          const Launcher& launch,
                                          Measurement& measurement) {
  absl::StatusOr<Launched> launched = launch(test, passes);
  if (!launched.ok()) return launched;
  ++measurement.launches;
  absl::Span<const int32_t> expected = measurement.tokens;
  if (measurement.launches == 1) {
    measurement.tokens = launched->tokens;
    return launched;
  }
  if (passes < test.tokens) {
    expected =
        expected.first(std::min(expected.size(), launched->tokens.size()));
  }
  absl::Status same =
      CompareTokens(expected, launched->tokens,
                    absl::StrCat("in launch ", measurement.launches));
  if (!same.ok()) return same;
  return launched;
}

}  // namespace

std::string BenchTestName(const BenchTest& test) {
  const char* kind = test.kind == BenchKind::kPrompt     ? "pp"
                     : test.kind == BenchKind::kGenerate ? "tg"
                                                         : "ttft";
  return test.depth == 0 ? absl::StrCat(kind, test.tokens)
                         : absl::StrCat(kind, test.tokens, " @ d", test.depth);
}

absl::StatusOr<Measurement> Measure(const BenchTest& test, int repetitions,
                                    bool warm_up, const Launcher& launch) {
  Measurement measurement;
  const auto run = [&](int64_t passes) {
    return LaunchAndCompare(test, passes, launch, measurement);
  };
  if (warm_up) {
    if (absl::Status s = run(test.tokens).status(); !s.ok()) return s;
  }
  const int64_t short_passes = std::min(kShortPasses, test.tokens / 2);
  for (int i = 0; i < repetitions; ++i) {
    const absl::StatusOr<Launched> whole = run(test.tokens);
    if (!whole.ok()) return whole.status();
    if (test.kind == BenchKind::kFirstToken) {
      measurement.us.push_back(whole->first_token_seconds * 1e6);
      continue;
    }
    measurement.us.push_back(whole->seconds * 1e6 / test.tokens);
    if (short_passes == 0) continue;
    const absl::StatusOr<Launched> part = run(short_passes);
    if (!part.ok()) return part.status();
    measurement.steady_us.push_back((whole->seconds - part->seconds) * 1e6 /
                                    (test.tokens - short_passes));
  }
  return measurement;
}

absl::Status CompareTokens(absl::Span<const int32_t> expected,
                           absl::Span<const int32_t> seen,
                           absl::string_view with_what) {
  for (size_t i = 0; i < std::min(expected.size(), seen.size()); ++i) {
    if (expected[i] != seen[i]) {
      return absl::DataLossError(absl::StrFormat(
          "%s token %d is %d, not %d", with_what, i, seen[i], expected[i]));
    }
  }
  if (expected.size() == seen.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("%s there are %d tokens, not %d",
                                             with_what, seen.size(),
                                             expected.size()));
}

absl::StatusOr<std::string> CheckAgainst(
    const Measurement& measurement, const absl::StatusOr<Launched>& reference,
    absl::string_view name) {
  if (!reference.ok()) return reference.status();
  if (absl::Status s = CompareTokens(measurement.tokens, reference->tokens,
                                     absl::StrCat("with ", name));
      !s.ok()) {
    return s;
  }
  const size_t tokens = measurement.tokens.size();
  return absl::StrFormat("same %d token%s: %d launches, %s", tokens,
                         tokens == 1 ? "" : "s", measurement.launches, name);
}

Summary Summarize(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1
                            ? values[middle]
                            : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

}  // namespace mkvm::cli
