#include <algorithm>
#include <memory>
#include <vector>

#include "vm/cuda_memory.h"
#include "vm/gpu_machine.h"
#include "vm/launch.h"
#include "vm/stream_probe.h"

namespace mkvm::vm {
namespace {

struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using OwnedEvent = std::unique_ptr<CUevent_st, DestroyEvent>;

absl::StatusOr<OwnedEvent> MakeEvent() {
  cudaEvent_t event = nullptr;
  const absl::Status status =
      CudaStatus(cudaEventCreate(&event), "creating an event");
  if (!status.ok()) return status;
  return OwnedEvent(event);
}

}  // namespace

absl::StatusOr<double> ProbeGpuStream(int device, uint32_t workers,
                                      uint32_t stages, uint64_t bytes,
                                      int repeats) {
  if (absl::Status s = QueryGpu(device).status(); !s.ok()) return s;
  absl::Status status = CudaStatus(cudaSetDevice(device), "selecting the GPU");
  if (!status.ok()) return status;
  absl::StatusOr<DevicePointer<char>> data =
      AllocateDevice<char>(bytes, "the stream probe's buffer");
  if (!data.ok()) return data.status();
  status = CudaStatus(cudaMemset(data->get(), 1, bytes), "filling the buffer");
  if (!status.ok()) return status;
  absl::StatusOr<OwnedEvent> begin = MakeEvent();
  if (!begin.ok()) return begin.status();
  absl::StatusOr<OwnedEvent> end = MakeEvent();
  if (!end.ok()) return end.status();
  std::vector<float> times;
  constexpr int kWarmUps = 3;
  for (int i = 0; i < kWarmUps + repeats; ++i) {
    float milliseconds = 0;
    int error = cudaEventRecord(begin->get(), nullptr);
    if (error == cudaSuccess) {
      error = LaunchStream(data->get(), bytes, workers, stages, nullptr);
    }
    if (error == cudaSuccess) error = cudaEventRecord(end->get(), nullptr);
    if (error == cudaSuccess) error = cudaEventSynchronize(end->get());
    if (error == cudaSuccess) {
      error = cudaEventElapsedTime(&milliseconds, begin->get(), end->get());
    }
    status = CudaStatus(error, "running the stream probe");
    if (!status.ok()) return status;
    if (i >= kWarmUps) times.push_back(milliseconds);
  }
  std::sort(times.begin(), times.end());
  return static_cast<double>(bytes) / times[times.size() / 2] / 1e6;
}

}  // namespace mkvm::vm
