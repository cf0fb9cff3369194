// The weight stream of a simulated machine: one memory, a ring of stages per
// worker.
#ifndef MKVM_SCHEDULER_WEIGHT_STREAM_H_
#define MKVM_SCHEDULER_WEIGHT_STREAM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mkvm::scheduler {

// The memory that all workers share: it serves requests one after the other,
// in the order of time. What one worker gets out of it is bound by the
// requests that it has under way.
class Memory {
 public:
  explicit Memory(double gb_per_s) : us_per_byte_(1 / (gb_per_s * 1e3)) {}

  // When `bytes` asked for at `now` have left the memory. `now` doesn't
  // decrease from call to call.
  double Serve(double now, double bytes) {
    free_us_ = std::max(free_us_, now) + bytes * us_per_byte_;
    return free_us_;
  }

 private:
  double us_per_byte_;
  double free_us_ = 0;
};

// The copies of one worker, first in first out.
class StageRing {
 public:
  explicit StageRing(uint32_t stages) : arrival_us_(stages, 0) {}

  bool HasRoom() const { return issued_ - freed_ < arrival_us_.size(); }
  // REQUIRES: HasRoom().
  void Issue(double arrival_us) {
    arrival_us_[issued_++ % arrival_us_.size()] = arrival_us;
  }
  // When the oldest copy arrives. REQUIRES: there is one.
  double Oldest() const { return arrival_us_[freed_ % arrival_us_.size()]; }
  void Free() { ++freed_; }

 private:
  std::vector<double> arrival_us_;
  uint64_t issued_ = 0;
  uint64_t freed_ = 0;
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_WEIGHT_STREAM_H_
