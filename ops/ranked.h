// Candidates of an argmax, on the host (isa/f24.h has their format).
#ifndef MKVM_OPS_RANKED_H_
#define MKVM_OPS_RANKED_H_

#include <cstdint>

#include "isa/f24.h"

namespace mkvm::ops {

// The first of words[0..n) in the order of argmax. REQUIRES: n > 0.
inline uint64_t BestRanked(const uint64_t* words, uint64_t n) {
  uint64_t best = words[0];
  for (uint64_t i = 1; i < n; ++i) {
    if (isa::RanksBefore(isa::ScoreOfRanked(words[i]),
                         isa::IndexOfRanked(words[i]), isa::ScoreOfRanked(best),
                         isa::IndexOfRanked(best))) {
      best = words[i];
    }
  }
  return best;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_RANKED_H_
