// Who last wrote and who has since read every element of one buffer, kept by
// intervals: the memory of the checking machine.
#ifndef MKVM_VM_ACCESS_HISTORY_H_
#define MKVM_VM_ACCESS_HISTORY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace mkvm::vm {

// The `step`-th instruction that a worker starts, counted from 1 through all
// passes. Step 0 is nobody.
struct Actor {
  uint32_t worker = 0;
  uint64_t step = 0;
};

// A vector clock: element w is the last step of worker w that is known to have
// finished.
using VectorClock = std::vector<uint64_t>;

inline bool HappensBefore(const Actor& earlier, const VectorClock& clock) {
  return earlier.step <= clock[earlier.worker];
}

inline void Join(const VectorClock& other, VectorClock& clock) {
  for (size_t w = 0; w < clock.size(); ++w) {
    if (other[w] > clock[w]) clock[w] = other[w];
  }
}

class AccessHistory {
 public:
  // Elements [begin, end) that `other` touched without any order between it
  // and the access at hand.
  struct Race {
    uint64_t begin = 0;
    uint64_t end = 0;
    Actor other;
    bool other_writes = false;
  };
  // Elements [begin, end) and who wrote them last.
  struct Written {
    uint64_t begin = 0;
    uint64_t end = 0;
    Actor writer;
  };

  // `workers` bounds the number of readers remembered per interval.
  AccessHistory(uint64_t elements, uint32_t workers);

  // Record an access to [begin, end) by `actor`, whose clock covers its own
  // step. The first race with an earlier access, if there is one.
  // REQUIRES: begin < end <= elements.
  std::optional<Race> Read(uint64_t begin, uint64_t end, const Actor& actor,
                           const VectorClock& clock);
  std::optional<Race> Write(uint64_t begin, uint64_t end, const Actor& actor,
                            const VectorClock& clock);

  // The last writers of [begin, end), in order of the elements.
  std::vector<Written> Writers(uint64_t begin, uint64_t end) const;

 private:
  struct Interval {
    uint64_t end = 0;
    Actor writer;
    std::vector<Actor> readers;  // since that write, in no order
  };
  using Map = std::map<uint64_t, Interval>;  // by begin; covers all elements

  // The interval that begins at `at`, split off if need be.
  Map::iterator SplitAt(uint64_t at);
  void AddReader(const Actor& actor, std::vector<Actor>& readers) const;

  const uint64_t elements_;
  const uint32_t workers_;
  Map intervals_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_ACCESS_HISTORY_H_
