// The measuring of `mkvm bench`: repeats launches, takes times, compares
// tokens. Knows no machine: a launch is a function.
#ifndef MKVM_CLI_BENCH_MEASURE_H_
#define MKVM_CLI_BENCH_MEASURE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::cli {

enum class BenchKind {
  kPrompt,      // tokens of a prompt, one after the other
  kGenerate,    // tokens generated
  kFirstToken,  // from a prompt's ids to the token after it
};

struct BenchTest {
  BenchKind kind = BenchKind::kGenerate;
  int64_t tokens = 1;  // of the prompt, or generated
  int64_t depth = 0;   // positions before them
};
// "pp512", "tg128", "ttft32"; with a depth "tg128 @ d4096".
std::string BenchTestName(const BenchTest& test);

// One launch.
struct Launched {
  double seconds = 0;              // of all its passes, launching counted
  double first_token_seconds = 0;  // from handing over the ids to a token
  std::vector<int32_t> tokens;     // generated
};
// Does the first `passes` passes of a test; all of them are test.tokens.
using Launcher = std::function<absl::StatusOr<Launched>(const BenchTest& test,
                                                        int64_t passes)>;

struct Measurement {
  // Per repetition, microseconds: a token's share of the launch; of
  // kFirstToken the whole.
  std::vector<double> us;
  // The same without the cost of launching, by the difference to a launch of
  // fewer passes. Empty for kFirstToken and for a single pass.
  std::vector<double> steady_us;
  std::vector<int32_t> tokens;  // every launch gave these
  int launches = 0;             // compared
};

// `repetitions` timed launches, after one that is not timed with `warm_up`.
// Errors: a launch's own; DataLoss, saying where, when two launches gave
// different tokens.
absl::StatusOr<Measurement> Measure(const BenchTest& test, int repetitions,
                                    bool warm_up, const Launcher& launch);

// DataLoss naming the first place where the tokens differ, e.g. "with counters
// token 3 is 17, not 5".
absl::Status CompareTokens(absl::Span<const int32_t> expected,
                           absl::Span<const int32_t> seen,
                           absl::string_view with_what);

// The tokens of one launch elsewhere, a machine described by `name`, against
// those measured. Says what was compared, e.g. "same 128 tokens: 11 launches,
// counters"; the launch's own error, or DataLoss.
absl::StatusOr<std::string> CheckAgainst(
    const Measurement& measurement, const absl::StatusOr<Launched>& reference,
    absl::string_view name);

struct Summary {
  double median = 0;  // of an even number the mean of the two in the middle
  double min = 0;
  double max = 0;
};
// REQUIRES: values is not empty.
Summary Summarize(std::vector<double> values);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_MEASURE_H_
