// The interpreter with design choices that can be switched off, to measure what
// each is worth (GpuAblations).
#define MKVM_ABLATED 1
#include "vm/interpreter_kernel.cuh"

namespace mkvm::vm {
namespace {

__global__ void Increment(uint32_t* word) { ++*word; }

}  // namespace

int LoadAblatedInterpreter() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, Increment);
  if (error != cudaSuccess) return error;
  return cudaFuncGetAttributes(&attributes, Interpret);
}

uint32_t MaxFetchDepth() { return ops::kInstructionSlots; }

int LaunchAblatedInterpreter(const LaunchArguments& arguments, uint32_t workers,
                             CUstream_st* stream) {
  return LaunchThis(arguments, workers, stream);
}

int LaunchIncrement(uint32_t* word, CUstream_st* stream) {
  void* parameters[] = {&word};
  return cudaLaunchKernel(Increment, dim3(1), dim3(1), parameters, 0, stream);
}

}  // namespace mkvm::vm
