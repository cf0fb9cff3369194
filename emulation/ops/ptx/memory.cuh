// ops/ptx/memory.cuh of the emulated GPU: atomic accesses of the host, of the
// order that the name says; all else are plain ones.
#ifndef MKVM_OPS_PTX_MEMORY_CUH_
#define MKVM_OPS_PTX_MEMORY_CUH_

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

#include "emulation/device.h"

namespace mkvm::ptx {

template <typename T>
T LoadRelaxed(const T* address) {
  emulation::CheckAligned(address, sizeof(T));
  return std::atomic_ref<T>(*const_cast<T*>(address))
      .load(std::memory_order_relaxed);
}
template <typename T>
void StoreRelaxed(T* address, T value) {
  emulation::CheckAligned(address, sizeof(T));
  std::atomic_ref<T>(*address).store(value, std::memory_order_relaxed);
}

inline uint32_t LoadRelaxedGpu(const uint32_t* address) {
  const uint32_t value = LoadRelaxed(address);
  emulation::AfterLoad(address, value);
  return value;
}

inline uint64_t LoadRelaxedGpu(const uint64_t* address) {
  const uint64_t value = LoadRelaxed(address);
  emulation::AfterLoad(address, value);
  return value;
}

inline uint4 LoadRelaxedGpu4(const uint32_t* address) {
  emulation::CheckAligned(address, sizeof(uint4));
  const uint4 v = {LoadRelaxed(address), LoadRelaxed(address + 1),
                   LoadRelaxed(address + 2), LoadRelaxed(address + 3)};
  emulation::AfterLoad(address, v.x ^ v.y ^ v.z ^ v.w);
  return v;
}

inline uint2 LoadRelaxedGpu2(const uint32_t* address) {
  emulation::CheckAligned(address, sizeof(uint2));
  const uint2 v = {LoadRelaxed(address), LoadRelaxed(address + 1)};
  emulation::AfterLoad(address, v.x ^ v.y);
  return v;
}

inline uint4 LoadGlobal16(const void* address) {
  emulation::CheckAligned(address, sizeof(uint4));
  return *static_cast<const uint4*>(address);
}

inline uint4 LoadSharedInOrder(const uint4* address) {
  emulation::CheckShared(address, sizeof(uint4), sizeof(uint4));
  return *address;
}

// Lane 8m + r has row r of matrix m; matrix m's element of row 2q (and 2q + 1)
// and column g goes to lane 4g + q.
inline uint4 LoadSharedColumnsInOrder(
    const uint4* row, emulation::Where where = emulation::Where::Current()) {
  emulation::CheckShared(row, sizeof(uint4), sizeof(uint4));
  const emulation::FromLanes<const uint4*> rows(row, where);
  const uint32_t lane = emulation::LaneIndex();
  uint32_t words[4];
  for (uint32_t m = 0; m < 4; ++m) {
    const uint32_t first = 8 * m + lane % 4 * 2;
    const auto* low = reinterpret_cast<const uint16_t*>(rows[first]);
    const auto* high = reinterpret_cast<const uint16_t*>(rows[first + 1]);
    words[m] = low[lane / 4] | uint32_t{high[lane / 4]} << 16;
  }
  return {words[0], words[1], words[2], words[3]};
}

inline uint32_t LoadAcquireGpu(const uint32_t* address) {
  const uint32_t value =
      std::atomic_ref<uint32_t>(*const_cast<uint32_t*>(address))
          .load(std::memory_order_acquire);
  emulation::AfterLoad(address, value);
  return value;
}

inline void StoreRelaxedGpu(uint32_t* address, uint32_t value) {
  StoreRelaxed(address, value);
  emulation::AfterStore();
}

inline void StoreRelaxedGpu(uint64_t* address, uint64_t value) {
  StoreRelaxed(address, value);
  emulation::AfterStore();
}

// (Each element is atomic by itself: others may see some of them.)
inline void StoreRelaxedGpu4(uint32_t* address, const uint4& v) {
  emulation::CheckAligned(address, sizeof(uint4));
  StoreRelaxedGpu(address, v.x);
  StoreRelaxedGpu(address + 1, v.y);
  StoreRelaxedGpu(address + 2, v.z);
  StoreRelaxedGpu(address + 3, v.w);
}

inline void StoreRelaxedGpu2(uint32_t* address, const uint2& v) {
  emulation::CheckAligned(address, sizeof(uint2));
  StoreRelaxedGpu(address, v.x);
  StoreRelaxedGpu(address + 1, v.y);
}

inline void StoreRelaxedSystem(uint64_t* address, uint64_t value) {
  StoreRelaxedGpu(address, value);
}

inline void FenceSystem() {}

inline void AddReleaseGpu(uint32_t* address, uint32_t value) {
  std::atomic_ref<uint32_t>(*address).fetch_add(value,
                                                std::memory_order_release);
  emulation::AfterStore();
}

inline void AddRelaxedGpu(uint32_t* address, uint32_t value) {
  std::atomic_ref<uint32_t>(*address).fetch_add(value,
                                                std::memory_order_relaxed);
  emulation::AfterStore();
}

inline uint32_t ExchangeRelaxedGpu(uint32_t* address, uint32_t value) {
  return std::atomic_ref<uint32_t>(*address).exchange(
      value, std::memory_order_relaxed);
}

inline uint32_t IncrementShared(uint32_t* address) {
  emulation::CheckShared(address, sizeof(*address), sizeof(*address));
  return std::atomic_ref<uint32_t>(*address).fetch_add(
      1, std::memory_order_relaxed);
}

inline uint32_t LoadConstant(const uint32_t* address) { return *address; }

inline uint2 LoadConstant2(const uint32_t* address) {
  emulation::CheckAligned(address, sizeof(uint2));
  return {address[0], address[1]};
}

inline uint4 LoadConstant4(const uint4* address) {
  emulation::CheckAligned(address, sizeof(uint4));
  return *address;
}

inline float4 LoadConstant4(const float* address) {
  emulation::CheckAligned(address, sizeof(float4));
  return {address[0], address[1], address[2], address[3]};
}

inline uint64_t ClockCycles() { return emulation::Cycles(); }
inline uint32_t ClockCyclesLow() {
  return static_cast<uint32_t>(emulation::Cycles());
}

inline void SleepNs(uint32_t /*ns*/) { emulation::FailedPoll(); }

inline uint64_t GlobalTimerNs() { return emulation::Nanoseconds(); }

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MEMORY_CUH_
