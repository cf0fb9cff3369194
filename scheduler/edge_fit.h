// What lies between a producer's write and its consumer's having it.
#ifndef MKVM_SCHEDULER_EDGE_FIT_H_
#define MKVM_SCHEDULER_EDGE_FIT_H_

#include <vector>

#include "scheduler/recording.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

// Sets hop_us and counter_hop_us to the median of the edges that were waited
// for: two workers' clocks differ, but over edges in all directions that evens
// out. Sets load_us, the target's and the classes', to the median of those
// whose operands were there, where there are enough of them.
// REQUIRES: target.costs holds every class of the recordings, with a lower
// bound of its load_us if it has one; so does target.load_us.
void FitEdges(const std::vector<Recording>& recordings, Target& target);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_EDGE_FIT_H_
