// Stands in for gpu_machine.cc in a build without CUDA.
#include "vm/gpu_machine.h"

namespace mkvm::vm {
namespace {

absl::Status NotBuilt() {
  return absl::UnavailableError(
      "this mkvm was built without CUDA; install the CUDA toolkit (nvcc) and "
      "build again with -DMKVM_CUDA=ON, or run with --device cpu");
}

}  // namespace

absl::StatusOr<GpuInfo> QueryGpu(int /*device*/) { return NotBuilt(); }

absl::StatusOr<std::unique_ptr<Machine>> CreateGpuMachine(
    isa::Program /*program*/, const GpuMachineOptions& /*options*/) {
  return NotBuilt();
}

}  // namespace mkvm::vm
