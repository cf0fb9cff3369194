#include "vm/gpu_launcher.h"

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "vm/levels.h"
#include "vm/profiler_range.h"

namespace mkvm::vm {
namespace {

// Passes that are launched before the first of them is over, so that the GPU
// does not wait for the host between passes.
constexpr uint64_t kPassesAhead = 4;

// The plain kernel can't leave anything out.
bool NeedsAblatedKernel(const GpuAblations& ablations) {
  return ablations.no_prefetch || ablations.fetch_depth.has_value() ||
         ablations.launch_per_op;
}

bool HasLaunchesPerPass(const GpuAblations& ablations) {
  return ablations.launch_per_pass || ablations.launch_per_op;
}

absl::Status Check(const GpuAblations& ablations) {
  if (ablations.launch_per_pass && ablations.launch_per_op) {
    return absl::InvalidArgumentError(
        "launch_per_pass and launch_per_op: a run has one of them at most");
  }
  const uint32_t depth = ablations.fetch_depth.value_or(1);
  if (depth < 1 || depth > MaxFetchDepth()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "fetch_depth is %d, it must be in [1, %d]", depth, MaxFetchDepth()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GpuLauncher> GpuLauncher::Create(const isa::Program& program,
                                                const GpuAblations& ablations) {
  absl::Status status = Check(ablations);
  if (!status.ok()) return status;
  GpuLauncher launcher;
  launcher.ablations_ = ablations;
  launcher.num_workers_ = program.num_workers();
  if (NeedsAblatedKernel(ablations)) {
    status = CudaStatus(LoadAblatedInterpreter(),
                        "preparing the interpreter of the ablations");
    if (!status.ok()) return status;
  }
  if (HasLaunchesPerPass(ablations)) {
    absl::StatusOr<DevicePointer<uint32_t>> words =
        AllocateDevice<uint32_t>(2, "launch state");
    if (!words.ok()) return words.status();
    launcher.words_ = *std::move(words);
  }
  if (ablations.launch_per_op) status = launcher.UploadParts(program);
  if (!status.ok()) return status;
  return launcher;
}

absl::Status GpuLauncher::UploadParts(const isa::Program& program) {
  const absl::StatusOr<Levels> levels = CutIntoLevels(program);
  if (!levels.ok()) return levels.status();
  num_levels_ = static_cast<uint32_t>(levels->size());
  std::vector<uint32_t> parts(num_workers_, 0);
  for (const std::vector<uint32_t>& ends : *levels) {
    parts.insert(parts.end(), ends.begin(), ends.end());
  }
  absl::StatusOr<DevicePointer<uint32_t>> memory =
      AllocateDevice<uint32_t>(parts.size(), "levels");
  if (!memory.ok()) return memory.status();
  parts_ = *std::move(memory);
  return CudaStatus(
      cudaMemcpy(parts_.get(), parts.data(), parts.size() * sizeof(uint32_t),
                 cudaMemcpyHostToDevice),
      "uploading the levels");
}

absl::Status GpuLauncher::Prepare(const LaunchArguments& arguments, bool traced,
                                  cudaStream_t stream) {
  if (traced &&
      (NeedsAblatedKernel(ablations_) || HasLaunchesPerPass(ablations_))) {
    return absl::UnimplementedError(
        "a trace is of one launch of the kernel as it is; record it without "
        "no_prefetch, fetch_depth, launch_per_pass and launch_per_op");
  }
  traced_ = traced;
  arguments_ = arguments;
  arguments_.ablation.no_prefetch = ablations_.no_prefetch;
  arguments_.ablation.fetch_depth =
      ablations_.fetch_depth.value_or(MaxFetchDepth());
  if (!HasLaunchesPerPass(ablations_)) return absl::OkStatus();
  arguments_.stopped = words_.get();
  arguments_.ablation.pass = words_.get() + 1;
  absl::Status status =
      CudaStatus(cudaMemsetAsync(words_.get(), 0, 2 * sizeof(uint32_t), stream),
                 "clearing the launch state");
  if (status.ok() && ablations_.launch_per_op) status = Capture(stream);
  return status;
}

// One pass: its levels one after the other, then the next pass's number.
absl::Status GpuLauncher::Capture(cudaStream_t stream) {
  absl::Status status = CudaStatus(
      cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
      "beginning the graph of a pass");
  if (!status.ok()) return status;
  int error = cudaSuccess;
  LaunchArguments arguments = arguments_;
  for (uint32_t level = 0; level < num_levels_ && error == cudaSuccess;
       ++level) {
    arguments.ablation.part = parts_.get() + uint64_t{level} * num_workers_;
    error = LaunchAblatedInterpreter(arguments, num_workers_, stream);
  }
  if (error == cudaSuccess) error = LaunchIncrement(words_.get() + 1, stream);
  cudaGraph_t graph = nullptr;
  // Also after an error, so that the stream is itself again.
  const int end_error = cudaStreamEndCapture(stream, &graph);
  status = CudaStatus(error != cudaSuccess ? error : end_error,
                      "capturing the graph of a pass");
  cudaGraphExec_t executable = nullptr;
  if (status.ok()) {
    status = CudaStatus(cudaGraphInstantiate(&executable, graph, 0),
                        "instantiating the graph of a pass");
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (!status.ok()) return status;
  graph_.reset(executable);
  return CudaStatus(cudaGraphUpload(executable, stream),
                    "uploading the graph of a pass");
}

absl::Status GpuLauncher::LaunchPass(uint32_t pass, cudaStream_t stream) {
  if (ablations_.launch_per_op) {
    return CudaStatus(cudaGraphLaunch(graph_.get(), stream),
                      "launching the graph of a pass");
  }
  LaunchArguments arguments = arguments_;
  arguments.first_pass = pass;
  arguments.max_passes = pass + 1;
  return CudaStatus((NeedsAblatedKernel(ablations_)
                         ? LaunchAblatedInterpreter
                         : LaunchInterpreter)(arguments, num_workers_, stream),
                    "launching the interpreter");
}

// Ends as well when the program does: launches that were ahead of it then do
// nothing.
absl::Status GpuLauncher::RunByPass(cudaStream_t stream,
                                    const std::function<void()>& meanwhile) {
  uint64_t* const passes = arguments_.passes;
  for (uint32_t pass = 0; pass < arguments_.max_passes; ++pass) {
    while (LoadMapped(passes) + kPassesAhead <= pass) {
      const cudaError_t error = cudaStreamQuery(stream);
      meanwhile();
      if (error == cudaErrorNotReady) continue;
      if (error != cudaSuccess) {
        return CudaStatus(error, "running the program");
      }
      // All has run that was launched, so what is missing never comes.
      if (LoadMapped(passes) < pass) return absl::OkStatus();
    }
    if (absl::Status s = LaunchPass(pass, stream); !s.ok()) return s;
    meanwhile();
  }
  return absl::OkStatus();
}

absl::Status GpuLauncher::Run(cudaStream_t stream,
                              const std::function<void()>& meanwhile) {
  absl::Status status;
  if (HasLaunchesPerPass(ablations_)) {
    status = RunByPass(stream, meanwhile);
  } else {
    const ProfilerRange range("launch");
    const auto launch = traced_ ? LaunchTracedInterpreter
                        : NeedsAblatedKernel(ablations_)
                            ? LaunchAblatedInterpreter
                            : LaunchInterpreter;
    status = CudaStatus(launch(arguments_, num_workers_, stream),
                        "launching the interpreter");
  }
  if (!status.ok()) return status;
  cudaError_t error;
  while ((error = cudaStreamQuery(stream)) == cudaErrorNotReady) {
    meanwhile();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return CudaStatus(error, "running the program");
}

}  // namespace mkvm::vm
