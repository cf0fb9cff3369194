// The interpreter without trace points: the one that runs unless a trace is
// asked for.
#include "vm/interpreter_kernel.cuh"

namespace mkvm::vm {

static_assert(kMaxGroupElements == ops::kMaxGroupElements);

uint32_t StagesThatFit(uint64_t bytes) { return StagesOfThis(bytes); }

int QueryKernelLimits(uint32_t num_stages, int multiprocessors,
                      KernelLimits& limits) {
  limits.shared_memory_bytes = SharedBytes(num_stages);
  cudaError_t error = cudaFuncSetAttribute(
      Interpret, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(limits.shared_memory_bytes));
  if (error != cudaSuccess) return error;
  int blocks = 0;
  error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &blocks, Interpret, kBlockThreads, limits.shared_memory_bytes);
  if (error != cudaSuccess) return error;
  limits.workers = static_cast<uint32_t>(blocks * multiprocessors);
  cudaFuncAttributes attributes;
  error = cudaFuncGetAttributes(&attributes, Interpret);
  if (error != cudaSuccess) return error;
  limits.registers = attributes.numRegs;
  limits.local_bytes = static_cast<int>(attributes.localSizeBytes);
  return cudaSuccess;
}

int LaunchInterpreter(const LaunchArguments& arguments, uint32_t workers,
                      CUstream_st* stream) {
  return LaunchThis(arguments, workers, stream);
}

}  // namespace mkvm::vm
