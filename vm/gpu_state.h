// What a GPU's driver says of it while it works: clocks, power, temperature.
//
// The source is NVML, looked up at run time: a machine without it (no driver,
// or another vendor's) has a monitor that knows nothing, and that is no error.
#ifndef MKVM_VM_GPU_STATE_H_
#define MKVM_VM_GPU_STATE_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/span.h"

namespace mkvm::vm {

// Unset: not known.
struct GpuState {
  std::optional<double> sm_clock_mhz;
  std::optional<double> memory_clock_mhz;
  // NVML averages power over a second on recent GPUs.
  std::optional<double> power_w;
  std::optional<double> temperature_c;
};

// Of each field by itself, over the states in which it is known; of an even
// number the mean of the two in the middle.
GpuState Medians(absl::Span<const GpuState> states);

class GpuMonitor {
 public:
  // The GPU at `pci_bus_id` (GpuInfo::pci_bus_id): CUDA and NVML number GPUs
  // differently. `library`: what dlopen is given.
  static GpuMonitor Open(const std::string& pci_bus_id,
                         const std::string& library = "libnvidia-ml.so.1");

  // "580.159.04".
  std::optional<std::string> driver_version() const;
  GpuState Read() const;

 private:
  struct Nvml;
  std::shared_ptr<const Nvml> nvml_;  // null: nothing is known
};

// Reads a state every `interval` on a thread of its own, from construction on.
class GpuSampler {
 public:
  GpuSampler(std::function<GpuState()> read,
             std::chrono::milliseconds interval);
  ~GpuSampler();
  GpuSampler(const GpuSampler&) = delete;
  GpuSampler& operator=(const GpuSampler&) = delete;

  // Ends sampling and gives the medians. What took less than an interval is
  // read once, now.
  GpuState Stop();

 private:
  void Sample(std::chrono::milliseconds interval);
  void Join();

  const std::function<GpuState()> read_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;              // guarded by mutex_
  std::vector<GpuState> samples_;  // the thread's, until it has ended
  std::thread thread_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_STATE_H_
