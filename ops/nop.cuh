#ifndef MKVM_OPS_NOP_CUH_
#define MKVM_OPS_NOP_CUH_

#include "ops/device_context.cuh"

namespace mkvm::ops {

__device__ inline void DeviceNop(const isa::NopOperands&, const NopAddresses&,
                                 DeviceContext&) {}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_NOP_CUH_
