// How the passes of a run become launches: all of them one, or one each, or a
// CUDA graph of launches each.
#ifndef MKVM_VM_GPU_LAUNCHER_H_
#define MKVM_VM_GPU_LAUNCHER_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "isa/program.h"
#include "vm/cuda_memory.h"
#include "vm/gpu_machine.h"
#include "vm/launch.h"

namespace mkvm::vm {

class GpuLauncher {
 public:
  // InvalidArgument naming the ablation that can't be, or not with another.
  static absl::StatusOr<GpuLauncher> Create(const isa::Program& program,
                                            const GpuAblations& ablations);

  // For one run with these arguments; not timed. `traced`: Unimplemented with
  // any ablation.
  absl::Status Prepare(const LaunchArguments& arguments, bool traced,
                       cudaStream_t stream);
  // Returns once the run is over. Calls `meanwhile` again and again until
  // then. REQUIRES: Prepare, for this run.
  absl::Status Run(cudaStream_t stream, const std::function<void()>& meanwhile);

 private:
  struct DestroyGraph {
    void operator()(cudaGraphExec_t graph) const {
      cudaGraphExecDestroy(graph);
    }
  };

  absl::Status UploadParts(const isa::Program& program);
  absl::Status Capture(cudaStream_t stream);
  absl::Status LaunchPass(uint32_t pass, cudaStream_t stream);
  absl::Status RunByPass(cudaStream_t stream,
                         const std::function<void()>& meanwhile);

  GpuAblations ablations_;
  uint32_t num_workers_ = 0;
  LaunchArguments arguments_ = {};
  bool traced_ = false;
  // Of a run in several launches: LaunchArguments::stopped, then
  // AblationArguments::pass.
  DevicePointer<uint32_t> words_;
  // GpuAblations::launch_per_op: AblationArguments::part of level l begins at
  // parts_ + l * workers.
  uint32_t num_levels_ = 0;
  DevicePointer<uint32_t> parts_;
  std::unique_ptr<CUgraphExec_st, DestroyGraph> graph_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_LAUNCHER_H_
