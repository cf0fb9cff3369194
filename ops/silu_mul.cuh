// silu_mul: the gate of a gated MLP (Shazeer 2020, "GLU Variants").
#ifndef MKVM_OPS_SILU_MUL_CUH_
#define MKVM_OPS_SILU_MUL_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline float Silu(float t) {
  return __fdividef(t, 1.0f + __expf(-t));
}

__device__ inline void DeviceSiluMul(const isa::SiluMulOperands& op,
                                     const SiluMulAddresses& at,
                                     DeviceContext& context) {
  const bool poll_gate = context.IsPolled(SiluMulIndex::gate);
  const bool poll_up = context.IsPolled(SiluMulIndex::up);
  for (uint32_t i = context.thread(); i < op.count; i += kComputeThreads) {
    const uint64_t index = uint64_t{op.begin} + i;
    const float gate = context.Load(at.gate, index, poll_gate, op.gate);
    const float up = context.Load(at.up, index, poll_up, op.up);
    context.Store(at.y, index, Silu(gate) * up);
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SILU_MUL_CUH_
