// ops/ptx/registers.cuh of the emulated GPU, whose threads need not share
// registers out.
#ifndef MKVM_OPS_PTX_REGISTERS_CUH_
#define MKVM_OPS_PTX_REGISTERS_CUH_

#include <cstdint>

#include "emulation/device.h"

namespace mkvm::ptx {

inline uint32_t ThreadIndex() { return emulation::ThreadIndex().x; }
inline void ClaimRegisters() {}
inline void ReleaseRegisters() {}
inline uint32_t Kept(uint32_t value) { return value; }

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_REGISTERS_CUH_
