// halt: the pass is over; leave when told so. The interpreter knows the pass
// limit; this body adds the program's own stop flag.
#ifndef MKVM_OPS_HALT_CUH_
#define MKVM_OPS_HALT_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline void DeviceHalt(const isa::HaltOperands&,
                                  const HaltAddresses& at,
                                  DeviceContext& context) {
  if (context.thread() == 0) {
    context.shared->stop =
        at.stop == nullptr
            ? 0
            : ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at.stop));
  }
  // The interpreter's barrier after the body makes `stop` known to all.
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_HALT_CUH_
