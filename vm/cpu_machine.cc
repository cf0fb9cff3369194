#include "vm/cpu_machine.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/check_program.h"
#include "ops/dot.h"
#include "vm/cpu_checker.h"
#include "vm/cpu_trace.h"
#include "vm/host_memory.h"
#include "vm/parallel_run.h"
#include "vm/run_checks.h"

namespace mkvm::vm {
namespace {

class CpuMachine : public Machine {
 public:
  // In two steps: the memory refers to the program where it finally lies.
  CpuMachine(isa::Program program, const CpuMachineOptions& options)
      : program_(std::move(program)), options_(options) {
    const int cores =
        static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const int threads = options.threads > 0 ? options.threads : cores;
    threads_ = std::min<int64_t>(threads, program_.num_workers());
  }

  absl::Status Allocate() {
    auto memory = HostMemory::Create(program_, options_.alias_weights);
    if (!memory.ok()) return memory.status();
    memory_ = std::make_unique<HostMemory>(*std::move(memory));
    return absl::OkStatus();
  }

  absl::Status Bind(absl::string_view buffer,
                    const HostTensor& tensor) override {
    return memory_->Bind(buffer, tensor);
  }

  absl::Status Read(absl::string_view buffer, absl::Span<char> out) override {
    return memory_->Read(buffer, out);
  }

  absl::StatusOr<RunResult> Run(const RunOptions& options) override {
    absl::Status status = CheckRunOptions(options);
    if (!status.ok()) return status;
    status = memory_->CheckAllBound();
    if (!status.ok()) return status;
    if (options.max_passes == 0) return RunResult{};
    if (options.trace && options_.check_races) {
      return absl::InvalidArgumentError(
          "the checking machine records no trace: its order is made up");
    }
    std::unique_ptr<CpuTrace> trace;
    if (options.trace) {
      trace = std::make_unique<CpuTrace>(program_, *options.trace);
    }
    const auto start = std::chrono::steady_clock::now();
    const absl::StatusOr<LaunchEnd> end =
        options_.check_races
            ? RunChecked(program_, memory_->buffers(), options, options_.seed)
            : RunParallel(program_, memory_->buffers(), options, threads_,
                          trace.get());
    if (!end.ok()) return end.status();
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    RunResult result = {.passes = end->passes,
                        .seconds = seconds.count(),
                        .trace = std::nullopt};
    if (trace != nullptr) {
      result.trace = trace->Collect(options.first_position);
      CompleteTrace(*this, options, *result.trace);
    }
    return result;
  }

  const isa::Program& program() const override { return program_; }

  std::string description() const override {
    if (options_.check_races) {
      return absl::StrCat("CPU (checking, seed ", options_.seed, ")");
    }
    return absl::StrFormat("CPU (%d thread%s, %s)", threads_,
                           threads_ == 1 ? "" : "s", ops::DotKernelName());
  }

 private:
  const isa::Program program_;
  const CpuMachineOptions options_;
  int threads_ = 1;
  std::unique_ptr<HostMemory> memory_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Machine>> CreateCpuMachine(
    isa::Program program, const CpuMachineOptions& options) {
  absl::Status status = isa::CheckRunnable(program);
  if (!status.ok()) return status;
  // To measure one binary's kernels, or to compare them.
  if (const char* name = std::getenv("MKVM_CPU_KERNEL"); name != nullptr) {
    status = ops::SelectDotKernel(name);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("MKVM_CPU_KERNEL: ", status.message()));
    }
  }
  auto machine = std::make_unique<CpuMachine>(std::move(program), options);
  status = machine->Allocate();
  if (!status.ok()) return status;
  return machine;
}

}  // namespace mkvm::vm
