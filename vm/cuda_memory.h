// Owned CUDA memory and errors as statuses. Host code only.
#ifndef MKVM_VM_CUDA_MEMORY_H_
#define MKVM_VM_CUDA_MEMORY_H_

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace mkvm::vm {

// OK, or Internal "WHAT: CUDA error NAME: text".
inline absl::Status CudaStatus(int error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  // Told once: a later call must not find it as its own.
  cudaGetLastError();
  const auto code = static_cast<cudaError_t>(error);
  return absl::InternalError(absl::StrCat(what, ": CUDA error ",
                                          cudaGetErrorName(code), ": ",
                                          cudaGetErrorString(code)));
}

struct FreeDevice {
  void operator()(void* p) const { cudaFree(p); }
};
struct FreePinned {
  void operator()(void* p) const { cudaFreeHost(p); }
};
template <typename T>
using DevicePointer = std::unique_ptr<T, FreeDevice>;
template <typename T>
using PinnedPointer = std::unique_ptr<T, FreePinned>;
struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using EventPointer = std::unique_ptr<CUevent_st, DestroyEvent>;

// `count` elements, not initialised.
template <typename T>
absl::StatusOr<DevicePointer<T>> AllocateDevice(uint64_t count,
                                                absl::string_view what) {
  void* p = nullptr;
  const absl::Status status =
      CudaStatus(cudaMalloc(&p, count * sizeof(T)), what);
  if (!status.ok()) return status;
  return DevicePointer<T>(static_cast<T*>(p));
}

// `count` elements of page-locked host memory that the GPU can address at the
// same pointer, not initialised.
template <typename T>
absl::StatusOr<PinnedPointer<T>> AllocatePinned(uint64_t count,
                                                absl::string_view what) {
  void* p = nullptr;
  const absl::Status status = CudaStatus(
      cudaHostAlloc(&p, count * sizeof(T), cudaHostAllocMapped), what);
  if (!status.ok()) return status;
  return PinnedPointer<T>(static_cast<T*>(p));
}

// A word of such memory that a kernel may be writing.
inline uint64_t LoadMapped(uint64_t* word) {
  return std::atomic_ref<uint64_t>(*word).load(std::memory_order_relaxed);
}

// An event to wait for; nothing is recorded in it yet.
inline absl::StatusOr<EventPointer> CreateEvent(absl::string_view what) {
  cudaEvent_t event = nullptr;
  const absl::Status status = CudaStatus(
      cudaEventCreateWithFlags(&event, cudaEventDisableTiming), what);
  if (!status.ok()) return status;
  return EventPointer(event);
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_CUDA_MEMORY_H_
