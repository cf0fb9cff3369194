// Hops, from how long whole passes take.
#ifndef MKVM_SCHEDULER_HOP_FIT_H_
#define MKVM_SCHEDULER_HOP_FIT_H_

#include <vector>

#include "absl/types/span.h"
#include "scheduler/target.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

// Sets hop_us and counter_hop_us of `target`, everything else of which is
// fitted, such that the predicted times of the traced passes are right in the
// mean. pass_us as of Fit (scheduler/calibrate.h).
void FitHops(const std::vector<trace::Trace>& traces,
             absl::Span<const double> pass_us, Target& target);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_HOP_FIT_H_
