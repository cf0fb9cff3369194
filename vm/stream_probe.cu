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
  char* memory = ptx::DynamicSharedMemory();
  auto* full = reinterpret_cast<uint64_t*>(memory);
  if (threadIdx.x == 0) {
    for (uint32_t i = 0; i < num_stages; ++i) {
      ptx::BarrierInit(&full[i], ptx::CopyLanes(kArchitecture));
    }
    ptx::FenceBarrierInit();
  }
  __syncwarp();
  if (threadIdx.x >= ptx::CopyLanes(kArchitecture)) return;
  const uint64_t begin = stages_in_all * blockIdx.x / gridDim.x;
  const uint64_t end = stages_in_all * (blockIdx.x + 1) / gridDim.x;
  const auto count = static_cast<uint32_t>(end - begin);
  const uint64_t policy = ptx::PolicyEvictFirst();
  const char* source = data + begin * isa::kStageBytes;
  const auto issue = [&](uint32_t stage) {
    ptx::ExpectCopies(&full[stage], isa::kStageBytes);
    ptx::CopyToShared(memory + kStagesAt + stage * isa::kStageBytes, source,
                      isa::kStageBytes, &full[stage], policy);
    ptx::EndCopies(&full[stage]);
    source += isa::kStageBytes;
  };
  for (uint32_t i = 0; i < count && i < num_stages; ++i) issue(i);
  uint32_t stage = 0;
  uint32_t parity = 0;
  for (uint32_t i = 0; i < count; ++i) {
    while (!ptx::BarrierTestWait(&full[stage], parity)) {
    }
    if (i + num_stages < count) issue(stage);
    if (++stage == num_stages) {
      stage = 0;
      parity ^= 1;
    }
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
  uint64_t stages = bytes / isa::kStageBytes;
  void* parameters[] = {&data, &stages, &num_stages};
  return cudaLaunchKernel(Stream, dim3(workers), dim3(32), parameters,
                          shared_bytes, stream);
}

}  // namespace mkvm::vm
