// halt: the pass is over; leave when told so, or at the pass limit.
#ifndef MKVM_OPS_HALT_CUH_
#define MKVM_OPS_HALT_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline void DeviceHalt(const isa::HaltOperands&,
                                  const HaltAddresses& at,
                                  DeviceContext& context) {
  if (context.thread() == 0) {
    const bool limit = context.pass() + 1 == context.shared->max_passes;
    const bool program =
        at.stop != nullptr &&
        ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at.stop)) != 0;
    context.shared->stop[context.pass() % 2] =
        (limit ? kStopLimit : 0) | (program ? kStopProgram : 0);
  }
  // The interpreter's barrier after the body makes `stop` known to all.
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_HALT_CUH_
