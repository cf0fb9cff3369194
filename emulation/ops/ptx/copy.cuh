// ops/ptx/copy.cuh of the emulated GPU, which copies as sm_90 does.
#ifndef MKVM_OPS_PTX_COPY_CUH_
#define MKVM_OPS_PTX_COPY_CUH_

#include <cstdint>

#include "ops/ptx/barrier.cuh"

namespace mkvm::ptx {

inline constexpr uint32_t CopyLanes(int /*architecture*/) { return 1; }

inline uint64_t PolicyEvictFirst() { return 0; }

inline void ExpectCopies(uint64_t* barrier, uint32_t bytes) {
  emulation::BarrierExpect(barrier, bytes);
}

inline void ForgoCopies(uint64_t* barrier, uint32_t bytes) {
  emulation::BarrierForgo(barrier, bytes);
}

inline void CopyToShared(void* destination, const void* source, uint32_t bytes,
                         uint64_t* barrier, uint64_t /*policy*/) {
  emulation::CopyToShared(destination, source, bytes, barrier);
}

inline void FenceProxyAsync() { emulation::FenceProxyAsync(); }

inline void EndCopies(uint64_t* barrier) { BarrierArrive(barrier); }

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_COPY_CUH_
