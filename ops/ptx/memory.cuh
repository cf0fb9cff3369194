// Memory accesses, named by operation, ordering and scope.
// Source: PTX ISA, "ld", "ldmatrix", "st", "red", "atom" and "Memory
// Consistency Model".
#ifndef MKVM_OPS_PTX_MEMORY_CUH_
#define MKVM_OPS_PTX_MEMORY_CUH_

#include <cstdint>

namespace mkvm::ptx {

__device__ inline uint32_t LoadRelaxedGpu(const uint32_t* address) {
  uint32_t value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(address)
               : "memory");
  return value;
}

__device__ inline uint64_t LoadRelaxedGpu(const uint64_t* address) {
  uint64_t value;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];"
               : "=l"(value)
               : "l"(address)
               : "memory");
  return value;
}

// Four relaxed 32-bit loads in one instruction; each element is atomic by
// itself, nothing more is assumed. REQUIRES: 16-byte alignment.
__device__ inline uint4 LoadRelaxedGpu4(const uint32_t* address) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address)
               : "memory");
  return v;
}

// Two. REQUIRES: 8-byte alignment.
__device__ inline uint2 LoadRelaxedGpu2(const uint32_t* address) {
  uint2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(address)
               : "memory");
  return v;
}

// 16 bytes of global memory that this block's threads wrote or that were there
// before the kernel. REQUIRES: 16-byte alignment.
__device__ inline uint4 LoadGlobal16(const void* address) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address)
               : "memory");
  return v;
}

// 16 bytes of shared memory. These loads are made in the order in which they
// stand, and a warp's return in the order in which they are made: with the last
// one's words all others' are there. REQUIRES: 16-byte alignment.
__device__ __forceinline__ uint4 LoadSharedInOrder(const uint4* address) {
  uint4 v;
  asm volatile("ld.volatile.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(address)))
               : "memory");
  return v;
}

// Four matrices of 8x8 16-bit elements from shared memory: lane 8m + r gives
// the address of row r of matrix m, whose 16 bytes it needs not get itself.
// Lane 4g + q gets, of each matrix, column g of rows 2q and 2q + 1. Whole warp.
// Ordered among themselves as LoadSharedInOrder's are. REQUIRES: 16-byte
// alignment.
__device__ __forceinline__ uint4 LoadSharedColumnsInOrder(const uint4* row) {
  uint4 v;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
      : "memory");
  return v;
}

__device__ inline uint32_t LoadAcquireGpu(const uint32_t* address) {
  uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(address)
               : "memory");
  return value;
}

__device__ inline void StoreRelaxedGpu(uint32_t* address, uint32_t value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value)
               : "memory");
}

__device__ inline void StoreRelaxedGpu(uint64_t* address, uint64_t value) {
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(address), "l"(value)
               : "memory");
}

// Four in one instruction; each element is atomic by itself, nothing more is
// assumed. REQUIRES: 16-byte alignment.
__device__ inline void StoreRelaxedGpu4(uint32_t* address, const uint4& v) {
  asm volatile(
      "st.relaxed.gpu.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address),
      "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
      : "memory");
}

// Two. REQUIRES: 8-byte alignment.
__device__ inline void StoreRelaxedGpu2(uint32_t* address, const uint2& v) {
  asm volatile("st.relaxed.gpu.global.v2.u32 [%0], {%1, %2};" ::"l"(address),
               "r"(v.x), "r"(v.y)
               : "memory");
}

// For words that the host polls in mapped memory.
__device__ inline void StoreRelaxedSystem(uint64_t* address, uint64_t value) {
  asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(address), "l"(value)
               : "memory");
}

__device__ inline void FenceSystem() {
  asm volatile("fence.acq_rel.sys;" ::: "memory");
}

// Orders everything this thread has seen or written before the addition.
// Acquired by LoadAcquireGpu on the same counter.
__device__ inline void AddReleaseGpu(uint32_t* address, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(address),
               "r"(value)
               : "memory");
}

// Orders nothing: a tick for the watchdog and the trace.
__device__ inline void AddRelaxedGpu(uint32_t* address, uint32_t value) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(address),
               "r"(value)
               : "memory");
}

__device__ inline uint32_t ExchangeRelaxedGpu(uint32_t* address,
                                              uint32_t value) {
  uint32_t old;
  asm volatile("atom.relaxed.gpu.global.exch.b32 %0, [%1], %2;"
               : "=r"(old)
               : "l"(address), "r"(value)
               : "memory");
  return old;
}

// Adds 1 to a word of shared memory, which doesn't wrap, and returns what was
// there. For few lanes of a warp: an addition comes with code that adds up over
// the warp first.
__device__ inline uint32_t IncrementShared(uint32_t* address) {
  uint32_t old;
  asm volatile("atom.shared.inc.u32 %0, [%1], 0xffffffff;"
               : "=r"(old)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(address)))
               : "memory");
  return old;
}

// Data that no one writes while the kernel runs.
__device__ inline uint32_t LoadConstant(const uint32_t* address) {
  uint32_t value;
  asm("ld.global.nc.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}

__device__ inline uint2 LoadConstant2(const uint32_t* address) {
  uint2 v;
  asm("ld.global.nc.v2.u32 {%0, %1}, [%2];"
      : "=r"(v.x), "=r"(v.y)
      : "l"(address));
  return v;
}

__device__ inline uint4 LoadConstant4(const uint4* address) {
  uint4 v;
  asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(address));
  return v;
}

__device__ inline float4 LoadConstant4(const float* address) {
  float4 v;
  asm("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
      : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
      : "l"(address));
  return v;
}

// Cycles of this SM's clock; other SMs' start elsewhere.
__device__ inline uint64_t ClockCycles() {
  uint64_t cycles;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(cycles));
  return cycles;
}
__device__ inline uint32_t ClockCyclesLow() {
  uint32_t cycles;
  asm volatile("mov.u32 %0, %%clock;" : "=r"(cycles));
  return cycles;
}

// Suspends the thread for about that long, at most twice as long.
__device__ inline void SleepNs(uint32_t ns) {
  asm volatile("nanosleep.u32 %0;" ::"r"(ns));
}

// Nanoseconds on a clock shared by all SMs, in steps of its own (up to 1 us).
__device__ inline uint64_t GlobalTimerNs() {
  uint64_t ns;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
  return ns;
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MEMORY_CUH_
