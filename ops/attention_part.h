// How attention with heads of 128 elements cuts the rows of a split into parts,
// and which heads it does: host and device.
#ifndef MKVM_OPS_ATTENTION_PART_H_
#define MKVM_OPS_ATTENTION_PART_H_

#include <cstdint>

#include "ops/gemv_shape.h"
#include "ops/kv_layout.h"

namespace mkvm::ops::head128 {

inline constexpr uint32_t kDim = kPermutedHeadDim;
inline constexpr uint32_t kRowBytes = kDim * 2;
inline constexpr uint32_t kPartRows = 64;
inline constexpr uint32_t kPartStages = 2;  // one of K and one of V
static_assert(kPartRows * kRowBytes == isa::kStageBytes);
// Heads at most: one product does them all.
inline constexpr uint32_t kMaxHeads = 8;

// The order of the stages, which is that of a gemv with two matrices of one
// panel each: rows of K and of V, in slabs of kPartRows.
MKVM_HOST_DEVICE inline GemvShape MakeRowsShape(uint32_t streamed) {
  GemvShape shape = {};
  shape.panels = streamed == 0 ? 0 : 1;
  shape.matrices = kPartStages;
  shape.slabs = (streamed + kPartRows - 1) / kPartRows;
  shape.chunk = 1;
  shape.group = 1;
  return shape;
}

}  // namespace mkvm::ops::head128

#endif  // MKVM_OPS_ATTENTION_PART_H_
