// Where the GPU keeps the elements of an activation vector. Host and device.
//
// Eight f24 words, which is a sector, and a gap as long: 16 words. The readers
// of a vector all poll the same lines at the same time, which seems to make
// them wait for one another; so there are twice as many lines. (Larger
// gaps take a load more lines than pays: docs/performance.md.) Parts of
// attention, which few workers read, lie close together.
#ifndef MKVM_OPS_ACTIVATION_LAYOUT_H_
#define MKVM_OPS_ACTIVATION_LAYOUT_H_

#include <cstdint>

#include "isa/f24.h"

namespace mkvm::ops {

inline constexpr uint32_t kRunWords = 8;
inline constexpr uint32_t kRunDistance = 16;  // from run to run, words

// Which word has element `element`. Runs that begin with a multiple of
// kRunWords keep their distance: ActivationWord(a + b) is ActivationWord(a) +
// ActivationWord(b) if one of the two is such a multiple.
template <typename Index>
MKVM_HOST_DEVICE constexpr Index ActivationWord(Index element) {
  return element / kRunWords * kRunDistance + element % kRunWords;
}

// That a vector of `elements` takes.
MKVM_HOST_DEVICE constexpr uint64_t ActivationWords(uint64_t elements) {
  return (elements + kRunWords - 1) / kRunWords * kRunDistance;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ACTIVATION_LAYOUT_H_
