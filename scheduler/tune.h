// The search for the best shape of a target. Knows no machine: what a shape
// costs is a function's answer.
#ifndef MKVM_SCHEDULER_TUNE_H_
#define MKVM_SCHEDULER_TUNE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

// A key of a target's shape and the values that it is tried with, of a boolean
// 0 and 1, beside the base's own.
struct TuneKey {
  absl::string_view name;  // as in the target's file
  std::variant<uint32_t Target::*, bool Target::*> field;
  std::vector<uint32_t> values;  // none: it stays as it is
};

// The keys that are searched, most decisive first. `processors`: what a worker
// occupies one of (a GPU's SMs, a CPU's threads).
std::vector<TuneKey> TuneKeys(const Target& base, uint32_t processors);

// "workers 128, tagged 1, max_kv_splits 16, stages 6"
std::string DescribeShape(const Target& target, absl::Span<const TuneKey> keys);

// Microseconds per token at every position, each above 0; or why a program for
// this target can't run, which takes the shape out of the search.
using TuneMeasure =
    std::function<absl::StatusOr<std::vector<double>>(const Target& target)>;

struct TuneCandidate {
  Target target;
  std::vector<uint32_t> shape;  // values by key
  absl::Status status;          // why it is out of the search, if it is
  std::vector<std::vector<double>> samples;  // measurements, us by position
  std::vector<double> us;                    // by position: their medians
  // The geometric mean of `us`: what the search makes small.
  double mean_us = std::numeric_limits<double>::infinity();
};

struct TuneOptions {
  // Within this part of each other two candidates are the same; the smaller
  // one (by the keys in their order) is taken.
  double tolerance = 0.005;
  // Candidates that are the same as the best, or nearly so (twice the
  // tolerance), are measured again, one after the other, this many times;
  // that many of them at most.
  int final_rounds = 2;
  size_t finalists = 6;
  // No measurement begins when `elapsed_seconds` says as much, but the first.
  double budget_seconds = std::numeric_limits<double>::infinity();
  std::function<double()> elapsed_seconds;  // left out: always 0
  // Targets with the same text, unless it is empty, are one candidate: the
  // first of them that was tried. Left out: every shape is one of its own.
  std::function<std::string(const Target& target)> identity;
  // After each measurement, failed ones too.
  std::function<void(const TuneCandidate& candidate)> on_measured;
};

struct TuneResult {
  std::vector<TuneCandidate> candidates;  // as they were first measured
  size_t best = 0;                        // index
  bool out_of_budget = false;             // ended before it was done
};

// Coordinate search: from the base on, the values of one key are tried with
// the others held, key after key, until no key's value is better than the one
// held by more than the tolerance; before a move both are measured thrice.
// Then the finals. With a function that
// always gives the same answers the result is always the same. Errors:
// InvalidArgument when the tolerance is negative; when no candidate could be
// measured, the first one's.
absl::StatusOr<TuneResult> Tune(const Target& base,
                                absl::Span<const TuneKey> keys,
                                const TuneMeasure& measure,
                                const TuneOptions& options);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_TUNE_H_
