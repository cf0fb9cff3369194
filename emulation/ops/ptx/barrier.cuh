// ops/ptx/barrier.cuh of the emulated GPU: the same functions, with the same
// orderings.
#ifndef MKVM_OPS_PTX_BARRIER_CUH_
#define MKVM_OPS_PTX_BARRIER_CUH_

#include <cstdint>

#include "emulation/device.h"

namespace mkvm::ptx {

inline char* DynamicSharedMemory() { return emulation::DynamicSharedMemory(); }

template <typename T>
T* InRegister(T* pointer) {
  return pointer;
}

inline void SyncNamed(uint32_t id, uint32_t threads) {
  emulation::SyncNamed(id, threads, false);
}

inline bool SyncNamedOr(uint32_t id, uint32_t threads, bool value) {
  return emulation::SyncNamed(id, threads, value);
}

inline void BarrierInit(uint64_t* barrier, uint32_t arrivals) {
  emulation::BarrierInit(barrier, arrivals);
}

inline void FenceBarrierInit() {}

inline void BarrierArrive(uint64_t* barrier) {
  emulation::BarrierArrive(barrier);
}

inline void BarrierArriveAfter(uint64_t* barrier, uint32_t zero) {
  if (zero != 0) emulation::Trap("what an arrival waits for is not 0");
  emulation::BarrierArrive(barrier);
}

inline bool BarrierIsComplete(uint64_t* barrier, uint32_t parity) {
  return emulation::BarrierIsComplete(barrier, parity);
}

inline bool BarrierTestWait(uint64_t* barrier, uint32_t parity) {
  return emulation::BarrierIsComplete(barrier, parity);
}

inline bool BarrierWaitUnless(uint64_t* barrier, uint32_t parity,
                              uint64_t* leave) {
  while (!emulation::BarrierIsComplete(barrier, parity)) {
    if (emulation::BarrierIsComplete(leave, 0)) {
      return emulation::BarrierIsComplete(barrier, parity);
    }
  }
  return true;
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_BARRIER_CUH_
