// add: two vectors.
#ifndef MKVM_OPS_ADD_CUH_
#define MKVM_OPS_ADD_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline void DeviceAdd(const isa::AddOperands& op,
                                 const AddAddresses& at,
                                 DeviceContext& context) {
  const bool poll_a = context.IsPolled(AddIndex::a);
  const bool poll_b = context.IsPolled(AddIndex::b);
  for (uint32_t i = context.thread(); i < op.count; i += kComputeThreads) {
    const uint64_t index = uint64_t{op.begin} + i;
    const float a = context.Load(at.a, index, poll_a, op.a);
    const float b = context.Load(at.b, index, poll_b, op.b);
    context.Store(at.y, index, a + b);
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ADD_CUH_
