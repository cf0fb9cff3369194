// The GPU machine: one persistent thread block per worker, which interprets
// that worker's queue; one cooperative launch runs many passes.
#ifndef MKVM_VM_GPU_MACHINE_H_
#define MKVM_VM_GPU_MACHINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "vm/machine.h"

namespace mkvm::vm {

// Design choices that can be switched off, to measure what each is worth
// (docs/benchmarking.md). Tokens are the same with any of them.
struct GpuAblations {
  // An instruction's weights are requested once the one before it is done,
  // rather than as early as stages are free.
  bool no_prefetch = false;
  // Instructions that are fetched before the oldest of them is done, 1 to the
  // number of slots (8); 1: each is fetched when the one before is done.
  // Weights are requested for fetched instructions only. Set to the number of
  // slots, it is the default's work by the kernel of the ablations.
  std::optional<uint32_t> fetch_depth = std::nullopt;
  // At most one of these, instead of one launch for all passes: one launch per
  // pass; one CUDA graph per pass, with a launch for each of its levels
  // (vm/levels.h).
  bool launch_per_pass = false;
  bool launch_per_op = false;

  bool operator==(const GpuAblations&) const = default;
};

struct GpuMachineOptions {
  int device = 0;
  GpuAblations ablations;
};

struct GpuInfo {
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  int multiprocessors = 0;
  uint64_t memory_bytes = 0;
  uint64_t shared_memory_bytes = 0;  // per block, opt-in
  // Nominal; 0 if the driver doesn't tell.
  double memory_bytes_per_s = 0;
  double clock_hz = 0;     // of a multiprocessor, the highest
  std::string pci_bus_id;  // "0000:3b:00.0"
};

// Unavailable when built without CUDA, when there is no driver or no device,
// or when the driver is too old; the message says which and the mend.
absl::StatusOr<GpuInfo> QueryGpu(int device);

// FailedPrecondition when the program has more workers than the GPU can hold
// at once; ResourceExhausted when the buffers don't fit its memory;
// InvalidArgument when the ablations can't be.
absl::StatusOr<std::unique_ptr<Machine>> CreateGpuMachine(
    isa::Program program, const GpuMachineOptions& options = {});

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_MACHINE_H_
