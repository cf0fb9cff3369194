// The interpreter's weight stream without an interpreter.
#include <cuda_runtime.h>

#include "isa/opcode.h"
#include "ops/ptx/barrier.cuh"
#include "ops/ptx/copy.cuh"
#include "vm/launch.h"

namespace mkvm::vm {
namespace {

#if defined(__CUDA_ARCH__)
constexpr int kArchitecture = __CUDA_ARCH__;
#else
constexpr int kArchitecture = 0;
#endif

constexpr uint32_t kProbeStages = 16;  // at most
constexpr uint32_t kStagesAt = 128;    // after the barriers

// One warp per block: stage after stage of its share, the ring always full.
// Nothing reads what arrives, so a stage is free as soon as it is full. Ends
// without a budget: the copy engine waits for nobody.
__global__ void __launch_bounds__(32, 1)
    Stream(const char* data, uint64_t stages_in_all, uint32_t num_stages) {
  extern __shared__ __align__(128) char memory[];
  auto* full = reinterpret_cast<uint64_t*>(memory);
  if (threadIdx.x == 0) {
    for (uint32_t i = 0; i < num_stages; ++i) {
      ptx::BarrierInit(&full[i], ptx::CopyArrivals(kArchitecture));
    }
    ptx::FenceBarrierInit();
  }
  __syncwarp();
  const uint64_t begin = stages_in_all * blockIdx.x / gridDim.x;
  const uint64_t end = stages_in_all * (blockIdx.x + 1) / gridDim.x;
  const uint64_t policy = ptx::PolicyEvictFirst();
  const auto issue = [&](uint64_t i) {
    const uint32_t stage = static_cast<uint32_t>((i - begin) % num_stages);
    ptx::CopyToShared(memory + kStagesAt + stage * isa::kStageBytes,
                      data + i * isa::kStageBytes, isa::kStageBytes,
                      &full[stage], policy);
    ptx::EndCopies(&full[stage]);
  };
  for (uint64_t i = begin; i < end && i < begin + num_stages; ++i) issue(i);
  for (uint64_t i = begin; i < end; ++i) {
    const uint32_t stage = static_cast<uint32_t>((i - begin) % num_stages);
    const auto parity = static_cast<uint32_t>((i - begin) / num_stages % 2);
    while (!ptx::BarrierTestWait(&full[stage], parity)) {
    }
    __syncwarp();
    if (i + num_stages < end) issue(i + num_stages);
  }
}

}  // namespace

int LaunchStream(const char* data, uint64_t bytes, uint32_t workers,
                 uint32_t num_stages, CUstream_st* stream) {
  if (num_stages > kProbeStages) num_stages = kProbeStages;
  const uint32_t shared_bytes = kStagesAt + num_stages * isa::kStageBytes;
  const cudaError_t error =
      cudaFuncSetAttribute(Stream, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  Stream<<<workers, 32, shared_bytes, stream>>>(data, bytes / isa::kStageBytes,
                                                num_stages);
  return cudaGetLastError();
}

}  // namespace mkvm::vm
