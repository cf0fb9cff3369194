// Registers that some warps of a block give to others.
// Source: PTX ISA, "setmaxnreg" (sm_90a and later architectures' own targets).
#ifndef MKVM_OPS_PTX_REGISTERS_CUH_
#define MKVM_OPS_PTX_REGISTERS_CUH_

#include <cstdint>

namespace mkvm::ptx {

// The thread's index, as a value that stays in a register: the compiler reads
// threadIdx anew wherever it likes, which takes longer.
__device__ inline uint32_t ThreadIndex() {
  uint32_t index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

// A block of 12 warps has 168 registers per thread. Eight warps claim 224, once
// the others have come down to 56: 8 * 224 + 4 * 56 = 12 * 168. Whole warps,
// once; all of a block's. Where there is no such instruction, nothing happens.
__device__ inline void ClaimRegisters() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
#endif
}
__device__ inline void ReleaseRegisters() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
#endif
}

// `value`, computed here and kept in a register: the compiler may not compute
// it again where it is used.
__device__ __forceinline__ uint32_t Kept(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_REGISTERS_CUH_
