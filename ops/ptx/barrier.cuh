// Barriers inside a block: named barriers and mbarriers in shared memory.
// Source: PTX ISA, "barrier", "mbarrier".
#ifndef MKVM_OPS_PTX_BARRIER_CUH_
#define MKVM_OPS_PTX_BARRIER_CUH_

#include <cstdint>

namespace mkvm::ptx {

// The block's dynamic shared memory.
__device__ __forceinline__ char* DynamicSharedMemory() {
  extern __shared__ __align__(128) char memory[];
  return memory;
}

__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// The same place in shared memory, kept in a register from here on. Where the
// compiler can see what an address is made of, it makes it anew at every use,
// out of a special register that is slow to read.
template <typename T>
__device__ __forceinline__ T* InRegister(T* pointer) {
  uint32_t address = SharedAddress(pointer);
  asm volatile("" : "+r"(address));
  return static_cast<T*>(__cvta_shared_to_generic(address));
}

// Waits for `threads` threads at named barrier `id` (1..15) and orders their
// shared and global accesses before it against those after it.
__device__ inline void SyncNamed(uint32_t id, uint32_t threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The same, and tells every thread whether `value` was true in any of them.
__device__ inline bool SyncNamedOr(uint32_t id, uint32_t threads, bool value) {
  uint32_t any;
  asm volatile(
      "{\n\t.reg .pred p, q;\n\t"
      "setp.ne.u32 p, %1, 0;\n\t"
      "barrier.red.or.pred q, %2, %3, p;\n\t"
      "selp.u32 %0, 1, 0, q;\n\t}"
      : "=r"(any)
      : "r"(static_cast<uint32_t>(value)), "r"(id), "r"(threads)
      : "memory");
  return any != 0;
}

__device__ inline void BarrierInit(uint64_t* barrier, uint32_t arrivals) {
  asm volatile(
      "mbarrier.init.shared.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(arrivals)
      : "memory");
}

// Makes initialised barriers visible to the bulk copy engine.
__device__ inline void FenceBarrierInit() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// Release at block scope; acquired by BarrierTestWait of the same phase.
__device__ inline void BarrierArrive(uint64_t* barrier) {
  asm volatile(
      "{\n\t.reg .b64 state;\n\t"
      "mbarrier.arrive.shared.b64 state, [%0];\n\t}" ::"r"(
          SharedAddress(barrier))
      : "memory");
}

// The same, but not before `zero`, which is 0, has been computed: if it is made
// of what loads return, not before these have read. An arrival by itself
// doesn't wait for loads that are under way. (For the memory model they come
// before it; but a bulk copy that it allows is of another proxy.) The compiler
// must not be able to tell that it is 0.
__device__ inline void BarrierArriveAfter(uint64_t* barrier, uint32_t zero) {
  asm volatile(
      "{\n\t.reg .b64 state;\n\t"
      "mbarrier.arrive.shared.b64 state, [%0];\n\t}" ::"r"(
          SharedAddress(barrier) + zero)
      : "memory");
}

// True once the phase of that parity has completed; acquires what its arrivals
// released.
__device__ inline bool BarrierIsComplete(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(SharedAddress(barrier)), "r"(parity)
      : "memory");
  return done != 0;
}

// The same, but may suspend the thread for a short, bounded time first.
__device__ inline bool BarrierTestWait(uint64_t* barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
  uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(SharedAddress(barrier)), "r"(parity)
      : "memory");
  return done != 0;
#else
  return BarrierIsComplete(barrier, parity);
#endif
}

// Waits as with BarrierTestWait until the phase of that parity of `barrier` has
// completed, which it acquires, or phase 0 of `leave`. Returns whether
// `barrier`'s has. In one piece, since of the same loop in C++ the compiler
// makes more instructions on the way out.
__device__ inline bool BarrierWaitUnless(uint64_t* barrier, uint32_t parity,
                                         uint64_t* leave) {
#if __CUDA_ARCH__ >= 900
#define MKVM_WAIT "mbarrier.try_wait.parity.shared.b64"
#else
#define MKVM_WAIT "mbarrier.test_wait.parity.shared.b64"
#endif
  uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p, q;\n"
      "wait:\n\t" MKVM_WAIT
      " p, [%1], %2;\n\t"
      "@p bra done;\n\t"
      "mbarrier.test_wait.parity.shared.b64 q, [%3], 0;\n\t"
      "@!q bra wait;\n\t"
      "mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
      "done:\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(SharedAddress(barrier)), "r"(parity), "r"(SharedAddress(leave))
      : "memory");
#undef MKVM_WAIT
  return done != 0;
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_BARRIER_CUH_
