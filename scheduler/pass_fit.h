// The time between instructions, from how long whole passes take.
#ifndef MKVM_SCHEDULER_PASS_FIT_H_
#define MKVM_SCHEDULER_PASS_FIT_H_

#include <vector>

#include "absl/types/span.h"
#include "scheduler/target.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

// Being traced costs every instruction some time. Shortens instruction_us of
// `target`, everything else of which is fitted, until the predicted times of
// the passes are no longer too long in the mean. Where 0 is too long, the hops
// are shortened as well: a CPU's threads look less and less often the longer
// they wait, so that their hops are no constant. pass_us as of Fit
// (scheduler/calibrate.h).
void TakeOffTracing(const std::vector<trace::Trace>& traces,
                    absl::Span<const double> pass_us, Target& target);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_PASS_FIT_H_
