// The GPU machine: one persistent thread block per worker, which interprets
// that worker's queue; one cooperative launch runs many passes.
#ifndef MKVM_VM_GPU_MACHINE_H_
#define MKVM_VM_GPU_MACHINE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "vm/machine.h"

namespace mkvm::vm {

struct GpuMachineOptions {
  int device = 0;
};

struct GpuInfo {
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  int multiprocessors = 0;
  uint64_t memory_bytes = 0;
  uint64_t shared_memory_bytes = 0;  // per block, opt-in
  std::string pci_bus_id;            // "0000:3b:00.0"
};

// Unavailable when built without CUDA, when there is no driver or no device,
// or when the driver is too old; the message says which and the mend.
absl::StatusOr<GpuInfo> QueryGpu(int device);

// FailedPrecondition when the program has more workers than the GPU can hold
// at once; ResourceExhausted when the buffers don't fit its memory.
absl::StatusOr<std::unique_ptr<Machine>> CreateGpuMachine(
    isa::Program program, const GpuMachineOptions& options = {});

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_MACHINE_H_
