// rms_norm: every worker that writes a part of y reads the whole of x.
#ifndef MKVM_OPS_RMS_NORM_CUH_
#define MKVM_OPS_RMS_NORM_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"

namespace mkvm::ops {

__device__ inline void DeviceRmsNorm(const isa::RmsNormOperands& op,
                                     const RmsNormAddresses& at,
                                     DeviceContext& context) {
  const bool polled = context.IsPolled(RmsNormIndex::x);
  float squares = 0;
  for (uint32_t i = context.thread(); i < op.k; i += kComputeThreads) {
    const float x = context.Load(at.x, i, polled, op.x);
    squares += x * x;
  }
  const float scale = 1.0f / sqrtf(BlockSum(context, squares) / op.k + op.eps);
  const uint16_t* g = static_cast<const uint16_t*>(at.g);
  for (uint32_t i = context.thread(); i < op.count; i += kComputeThreads) {
    const uint64_t index = uint64_t{op.begin} + i;
    // Already seen to be there by the loop above, by some thread of the block.
    const float x = context.Load(at.x, index, polled, op.x);
    context.Store(at.y, index, x * scale * isa::FloatOfBf16Bits(g[index]));
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_RMS_NORM_CUH_
