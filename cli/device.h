// Which machine runs a program, and which target a program is compiled for.
#ifndef MKVM_CLI_DEVICE_H_
#define MKVM_CLI_DEVICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"
#include "scheduler/target.h"
#include "vm/gpu_machine.h"
#include "vm/machine.h"

namespace mkvm::cli {

struct Device {
  std::optional<int> gpu;  // its index; none: the CPU
  vm::GpuInfo gpu_info;    // when `gpu`
  // What the machines created for it leave out, when `gpu`.
  vm::GpuAblations ablations;
};

// `flag`: "auto", "cpu", "cuda" or "cuda:K". auto takes GPU 0 if there is one
// that works, else the CPU, and says so on stderr.
absl::StatusOr<Device> ChooseDevice(absl::string_view flag);

// The built-in geometry that suits a device when nothing else says one:
// "qwen3-0.6b" on a GPU, "qwen3-tiny" on the CPU.
std::string DefaultConfig(const Device& device);

// "NVIDIA H200", or the processor's name.
std::string HardwareName(const Device& device);

// Of the CPU machine: `flag`, or one per core. A usage error when it is below
// 1 or above what an int holds.
absl::StatusOr<int> ThreadCount(const std::optional<int64_t>& flag);

// `threads`: of the CPU machine, 0: one per core.
absl::StatusOr<std::unique_ptr<vm::Machine>> CreateMachine(const Device& device,
                                                           isa::Program program,
                                                           int threads);

// The target that describes `device`: the built-in one with the GPU's name, cut
// to the processors and the shared memory that are there; else one worker per
// core.
absl::StatusOr<scheduler::Target> TargetOf(const Device& device);

// `flag`: "auto" (the GPU found, else the CPU), a name, or a .json file.
absl::StatusOr<scheduler::Target> ChooseTarget(absl::string_view flag);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_DEVICE_H_
