// Where the GPU keeps the elements of a KV cache. Host and device.
//
// Rows of 128 elements, which is what models have, are stored with their
// 16-byte chunks permuted: chunk c of row r is at c ^ r % 8. The rows of a
// split are copied to shared memory as they are, and there a warp reads the
// same chunk of several rows at once: unpermuted, those would be in the same
// banks. The row is counted within its split.
#ifndef MKVM_OPS_KV_LAYOUT_H_
#define MKVM_OPS_KV_LAYOUT_H_

#include <cstdint>

#include "isa/f24.h"

namespace mkvm::ops {

inline constexpr uint32_t kPermutedHeadDim = 128;
// bf16 elements.
inline constexpr uint32_t kCacheChunk = 8;

// Where in a permuted row its element `element` is.
MKVM_HOST_DEVICE inline uint32_t PermutedElement(uint32_t row,
                                                 uint32_t element) {
  return element ^ row % 8 * kCacheChunk;
}
// The same for rows of any size.
MKVM_HOST_DEVICE inline uint32_t CacheElement(uint32_t head_dim, uint32_t row,
                                              uint32_t element) {
  return head_dim == kPermutedHeadDim ? PermutedElement(row, element) : element;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_KV_LAYOUT_H_
