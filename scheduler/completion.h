// When a counter is complete, as different workers see it.
#ifndef MKVM_SCHEDULER_COMPLETION_H_
#define MKVM_SCHEDULER_COMPLETION_H_

#include <algorithm>
#include <cstdint>

namespace mkvm::scheduler {

// The two latest publications by different workers. Two suffice to know, for
// any worker, the latest one by another.
struct Completion {
  double us[2] = {0, 0};
  int64_t worker[2] = {-1, -1};  // -1: none

  void Publish(double time, uint32_t by) {
    if (worker[0] < 0 || worker[0] == by) {
      us[0] = worker[0] < 0 ? time : std::max(us[0], time);
      worker[0] = by;
    } else if (time > us[0]) {
      us[1] = us[0];
      worker[1] = worker[0];
      us[0] = time;
      worker[0] = by;
    } else if (worker[1] < 0 || time > us[1]) {
      us[1] = time;
      worker[1] = by;
    }
  }

  // When `reader` can have seen all; 0 when nothing was published.
  double SeenBy(uint32_t reader, double hop_us) const {
    double seen = 0;
    for (int i = 0; i < 2; ++i) {
      if (worker[i] < 0) continue;
      seen = std::max(seen, us[i] + (worker[i] == reader ? 0 : hop_us));
    }
    return seen;
  }
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COMPLETION_H_
