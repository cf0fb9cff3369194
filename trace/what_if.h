// What-if: the recorded tokens again, with some cost taken away.
#ifndef MKVM_TRACE_WHAT_IF_H_
#define MKVM_TRACE_WHAT_IF_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trace/dependencies.h"

namespace mkvm::trace {

// What a replay leaves out.
struct Assumptions {
  // Publishing, propagation, detection and the load of activations take no
  // time, nor do looks at what is there already.
  bool hops_free = false;
  // Every weight stage is there when it is wanted.
  bool bandwidth_infinite = false;
  // In each phase of each pass, all workers with a part in it compute, and
  // stream, as much as their mean.
  bool balance_perfect = false;
};

struct WhatIfResult {
  std::string name;
  Assumptions assumptions;
  double us_per_token = 0;
};

struct WhatIf {
  double measured_us_per_token = 0;
  // The recording replayed with nothing left out: the model's error shows in
  // its difference from the measured time.
  double replayed_us_per_token = 0;
  uint32_t num_tokens = 0;  // that the times are means of
  // The weight stream was recorded. Without it (a CPU reads weights while it
  // computes) infinite bandwidth is not among the results.
  bool has_stream = false;
  double stream_gb_per_s = 0;  // of all workers that stream, as observed
  std::vector<WhatIfResult> results;
};

// Runs the recorded events as a schedule: each begins after its worker's
// previous one and its producers, and lasts as long as recorded, except that
// waits for weight stages come from a ring of program.target.stages stages
// per worker, filled at the observed rate. FailedPrecondition when events
// are missing, or the waits of the program form a circle.
absl::StatusOr<WhatIf> AskWhatIf(const Dependencies& dependencies);

std::string WhatIfText(const WhatIf& what_if);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_WHAT_IF_H_
