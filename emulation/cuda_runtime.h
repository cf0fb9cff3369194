// CUDA C++ of the emulated GPU: the words, types and functions that device code
// and launches use. Compiled by clang, as C++: each source has device functions
// of its own (internal linkage), as the kernel's variants must.
#ifndef MKVM_EMULATION_CUDA_RUNTIME_H_
#define MKVM_EMULATION_CUDA_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulation/device.h"
#include "emulation/grid.h"

#define __host__
#define __device__ __attribute__((internal_linkage))
#define __global__ __attribute__((internal_linkage))
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (::mkvm::emulation::ThreadIndex())
#define blockIdx (::mkvm::emulation::BlockIndex())
#define blockDim (::mkvm::emulation::BlockSize())
#define gridDim (::mkvm::emulation::GridSize())

// ---- vectors
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
  return {x, y, z, w};
}
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

// ---- arithmetic
using std::isfinite;
using std::isnan;
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline int __ffs(int x) {
  return std::countr_zero(static_cast<uint32_t>(x)) + 1;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

// ---- atomics, relaxed
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  std::atomic_ref<T> word(*address);
  T old = word.load(std::memory_order_relaxed);
  while (old < value &&
         !word.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).exchange(value,
                                               std::memory_order_relaxed);
}
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value,
                                                std::memory_order_relaxed);
}

// ---- warps. Whole ones: a mask that leaves lanes out is not emulated.
#define MKVM_WHERE \
  ::mkvm::emulation::Where where = ::mkvm::emulation::Where::Current()
inline constexpr uint32_t kMkvmWholeWarp = 0xffffffffu;
inline void MkvmCheckMask(uint32_t mask) {
  if (mask != kMkvmWholeWarp) {
    ::mkvm::emulation::Trap("a warp's function with a part of the warp");
  }
}
template <typename T>
T __shfl_sync(uint32_t mask, T value, uint32_t lane, MKVM_WHERE) {
  MkvmCheckMask(mask);
  return ::mkvm::emulation::FromLanes<T>(value, where)[lane];
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, uint32_t lanes, MKVM_WHERE) {
  MkvmCheckMask(mask);
  const ::mkvm::emulation::FromLanes<T> all(value, where);
  return all[::mkvm::emulation::LaneIndex() ^ lanes];
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, uint32_t lanes, MKVM_WHERE) {
  MkvmCheckMask(mask);
  const ::mkvm::emulation::FromLanes<T> all(value, where);
  const uint32_t lane = ::mkvm::emulation::LaneIndex();
  return lane < lanes ? value : all[lane - lanes];
}
inline uint32_t __ballot_sync(uint32_t mask, bool value, MKVM_WHERE) {
  MkvmCheckMask(mask);
  const ::mkvm::emulation::FromLanes<uint32_t> all(value ? 1 : 0, where);
  uint32_t bits = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) bits |= all[lane] << lane;
  return bits;
}
inline bool __any_sync(uint32_t mask, bool value, MKVM_WHERE) {
  return __ballot_sync(mask, value, where) != 0;
}
inline bool __all_sync(uint32_t mask, bool value, MKVM_WHERE) {
  return __ballot_sync(mask, value, where) == kMkvmWholeWarp;
}
template <typename T, typename Better>
T MkvmReduce(uint32_t mask, T value, Better&& better,
             const ::mkvm::emulation::Where& where) {
  MkvmCheckMask(mask);
  const ::mkvm::emulation::FromLanes<T> all(value, where);
  T result = all[0];
  for (uint32_t lane = 1; lane < 32; ++lane) result = better(result, all[lane]);
  return result;
}
template <typename T>
T __reduce_max_sync(uint32_t mask, T value, MKVM_WHERE) {
  return MkvmReduce(mask, value, max<T, T>, where);
}
template <typename T>
T __reduce_min_sync(uint32_t mask, T value, MKVM_WHERE) {
  return MkvmReduce(mask, value, min<T, T>, where);
}
template <typename T>
T __reduce_add_sync(uint32_t mask, T value, MKVM_WHERE) {
  return MkvmReduce(mask, value, std::plus<T>(), where);
}
inline void __syncwarp(MKVM_WHERE) { ::mkvm::emulation::SyncWarp(where); }
inline bool __syncthreads_or(bool value) {
  return ::mkvm::emulation::SyncNamed(0, blockDim.x, value);
}
#undef MKVM_WHERE

// ---- launches
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned count) : x(count) {}
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
struct cudaFuncAttributes {
  int numRegs = 0;
  size_t localSizeBytes = 0;
};
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  *attributes = {};
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*,
                                                          int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}

namespace mkvm::emulation {

// Puts a launch into the stream.
cudaError_t Enqueue(const Launch& launch, cudaStream_t stream);

template <typename... Arguments, size_t... kIndex>
std::function<void()> Bind(void (*kernel)(Arguments...), void** arguments,
                           std::index_sequence<kIndex...>) {
  auto values = std::make_tuple(
      *static_cast<std::remove_cv_t<Arguments>*>(arguments[kIndex])...);
  return [kernel, values] { std::apply(kernel, values); };
}

}  // namespace mkvm::emulation

template <typename... Arguments>
cudaError_t cudaLaunchKernel(void (*kernel)(Arguments...), dim3 grid,
                             dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t stream, bool together = false) {
  return mkvm::emulation::Enqueue(
      {.grid = {grid.x, 1, 1},
       .block = {block.x, 1, 1},
       .shared_bytes = static_cast<uint32_t>(shared_bytes),
       .together = together,
       .kernel = mkvm::emulation::Bind(
           kernel, arguments, std::index_sequence_for<Arguments...>())},
      stream);
}
template <typename... Arguments>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(Arguments...), dim3 grid,
                                        dim3 block, void** arguments,
                                        size_t shared_bytes,
                                        cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream,
                          /*together=*/true);
}

#endif  // MKVM_EMULATION_CUDA_RUNTIME_H_
