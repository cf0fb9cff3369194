#include "cli/device.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "vm/cpu_machine.h"

namespace mkvm::cli {
namespace {

// The built-in target whose name is part of the GPU's: "NVIDIA GeForce RTX
// 4090" holds "rtx4090" once the spaces are gone. "" if there is none.
std::string TargetNameOf(const vm::GpuInfo& gpu) {
  const std::string squeezed =
      absl::StrReplaceAll(absl::AsciiStrToLower(gpu.name), {{" ", ""}});
  for (const std::string& name : scheduler::TargetNames()) {
    if (absl::StrContains(squeezed, name)) return name;
  }
  return "";
}

std::string ProcessorName() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "CPU";
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::ConsumePrefix(&line, "model name")) continue;
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "CPU";
}

}  // namespace

absl::StatusOr<Device> ChooseDevice(absl::string_view flag) {
  Device device;
  if (flag == "cpu") return device;
  if (flag == "auto") {
    absl::StatusOr<vm::GpuInfo> gpu = vm::QueryGpu(0);
    if (gpu.ok()) {
      device.gpu = 0;
      device.gpu_info = *std::move(gpu);
    } else {
      absl::FPrintF(stderr, "no GPU (%s); running on the CPU\n",
                    gpu.status().message());
    }
    return device;
  }
  int index = 0;
  absl::string_view rest = flag;
  if (!absl::ConsumePrefix(&rest, "cuda") ||
      (!rest.empty() && (!absl::ConsumePrefix(&rest, ":") ||
                         !absl::SimpleAtoi(rest, &index) || index < 0))) {
    return UsageError(absl::StrCat("--device: \"", flag,
                                   "\" is not auto, cpu, cuda or cuda:K"));
  }
  absl::StatusOr<vm::GpuInfo> gpu = vm::QueryGpu(index);
  if (!gpu.ok()) {
    return absl::Status(
        gpu.status().code(),
        absl::StrCat("--device ", flag, ": ", gpu.status().message()));
  }
  device.gpu = index;
  device.gpu_info = *std::move(gpu);
  return device;
}

std::string DefaultConfig(const Device& device) {
  return device.gpu ? "qwen3-0.6b" : "qwen3-tiny";
}

std::string HardwareName(const Device& device) {
  return device.gpu ? device.gpu_info.name : ProcessorName();
}

absl::StatusOr<int> ThreadCount(const std::optional<int64_t>& flag) {
  const int64_t threads =
      flag.value_or(std::max(1u, std::thread::hardware_concurrency()));
  if (threads < 1) return UsageError("--threads is not above 0");
  if (threads > std::numeric_limits<int>::max()) {
    return UsageError("--threads is out of range");
  }
  return static_cast<int>(threads);
}

absl::StatusOr<std::unique_ptr<vm::Machine>> CreateMachine(const Device& device,
                                                           isa::Program program,
                                                           int threads) {
  if (device.gpu) {
    vm::GpuMachineOptions options;
    options.device = *device.gpu;
    options.ablations = device.ablations;
    return vm::CreateGpuMachine(std::move(program), options);
  }
  vm::CpuMachineOptions options;
  options.threads = threads;
  return vm::CreateCpuMachine(std::move(program), options);
}

absl::StatusOr<scheduler::Target> TargetOf(const Device& device) {
  if (!device.gpu) {
    return scheduler::CpuTarget(
        std::max(1u, std::thread::hardware_concurrency()));
  }
  const vm::GpuInfo& gpu = device.gpu_info;
  const std::string name = TargetNameOf(gpu);
  // An unknown GPU gets the leanest built-in shape: it needs only its sizes to
  // be right, and the cost model's figures only shade the placement.
  absl::StatusOr<scheduler::Target> target =
      scheduler::FindTarget(name.empty() ? "a100" : name);
  if (!target.ok()) return target.status();
  const auto processors = static_cast<uint32_t>(gpu.multiprocessors);
  if (name.empty()) {
    target->name =
        absl::StrReplaceAll(absl::AsciiStrToLower(gpu.name), {{" ", "-"}});
    target->workers = processors;
  }
  target->workers = std::min(target->workers, processors);
  if (gpu.shared_memory_bytes < target->shared_memory_bytes) {
    const uint64_t missing =
        target->shared_memory_bytes - gpu.shared_memory_bytes;
    const uint64_t stages = (missing + isa::kStageBytes - 1) / isa::kStageBytes;
    if (stages + 2 > target->stages) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "%s has %d bytes of shared memory per block, too few for two stages "
          "of the weight stream; use --device cpu",
          gpu.name, gpu.shared_memory_bytes));
    }
    target->stages -= static_cast<uint32_t>(stages);
    target->shared_memory_bytes = gpu.shared_memory_bytes;
  }
  return target;
}

absl::StatusOr<scheduler::Target> ChooseTarget(absl::string_view flag) {
  if (flag == "auto") {
    absl::StatusOr<Device> device = ChooseDevice("auto");
    if (!device.ok()) return device.status();
    return TargetOf(*device);
  }
  if (absl::EndsWith(flag, ".json")) {
    absl::StatusOr<std::string> json = ReadFile(flag);
    if (!json.ok()) return json.status();
    absl::StatusOr<scheduler::Target> target = scheduler::ParseTarget(*json);
    if (target.ok()) return target;
    return absl::Status(target.status().code(),
                        absl::StrCat(flag, ": ", target.status().message()));
  }
  // "cpu" is this machine, whatever its number of cores.
  if (flag == "cpu") return TargetOf(Device());
  return scheduler::FindTarget(flag);
}

}  // namespace mkvm::cli
