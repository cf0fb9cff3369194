// Asynchronous copies from global to shared memory that complete on an
// mbarrier. Source: PTX ISA, "cp.async.bulk" (sm_90), "cp.async" (sm_80).
#ifndef MKVM_OPS_PTX_COPY_CUH_
#define MKVM_OPS_PTX_COPY_CUH_

#include <cstdint>

#include "ops/ptx/barrier.cuh"

namespace mkvm::ptx {

// The lanes of a warp that copy, all of them or, on sm_90, the first one; and
// so the arrivals that EndCopies makes at its barrier.
__host__ __device__ inline constexpr uint32_t CopyLanes(int architecture) {
  return architecture >= 900 ? 1 : 32;
}

// An L2 policy for data that is read once.
__device__ inline uint64_t PolicyEvictFirst() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// Announces `bytes` bytes of copies in this phase of `barrier`.
__device__ inline void ExpectCopies(uint64_t* barrier, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(
                   SharedAddress(barrier)),
               "r"(bytes)
               : "memory");
#else
  (void)barrier;
  (void)bytes;
#endif
}

// Takes back what was announced of copies that won't be made.
__device__ inline void ForgoCopies(uint64_t* barrier, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(
          SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
#else
  (void)barrier;
  (void)bytes;
#endif
}

// Copies `bytes` from `source` to `destination` (shared memory). The phase of
// `barrier`, which was initialised with CopyLanes arrivals, completes when all
// that was announced has landed and EndCopies has been called. By CopyLanes
// lanes. REQUIRES: 16-byte alignment of both addresses and of bytes.
__device__ inline void CopyToShared(void* destination, const void* source,
                                    uint32_t bytes, uint64_t* barrier,
                                    uint64_t policy) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
          SharedAddress(destination)),
      "l"(source), "r"(bytes), "r"(SharedAddress(barrier)), "l"(policy)
      : "memory");
#else
  (void)barrier;
  (void)policy;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t target = SharedAddress(destination);
  const char* from = static_cast<const char*>(source);
  for (uint32_t i = lane * 16; i < bytes; i += 32 * 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target + i),
                 "l"(from + i)
                 : "memory");
  }
#endif
}

// Global memory that this thread's generic accesses before it have seen or
// written is so for its asynchronous copies after it.
__device__ inline void FenceProxyAsync() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.global;" ::: "memory");
#endif
}

// No more copies in this phase of `barrier`. By the lanes that made them.
__device__ inline void EndCopies(uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  BarrierArrive(barrier);
#else
  // Each lane's copies complete, then its arrival happens.
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(
                   SharedAddress(barrier))
               : "memory");
#endif
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_COPY_CUH_
