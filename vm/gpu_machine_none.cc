// Stands in for gpu_machine.cc in a build without CUDA.
#include "vm/gpu_machine.h"
#include "vm/stream_probe.h"

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

absl::StatusOr<double> ProbeGpuStream(int, uint32_t, uint32_t, uint64_t, int) {
  return QueryGpu(0).status();
}

}  // namespace mkvm::vm
