#include "vm/gpu_state.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <utility>

namespace mkvm::vm {
namespace {

// NVML's C interface, as far as it is used, from its documentation: no header
// of it is needed to build.
using NvmlDevice = void*;
constexpr int kSuccess = 0;
constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;
constexpr int kTemperatureGpu = 0;

std::optional<double> Median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

template <typename Function>
bool Find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  return function != nullptr;
}

}  // namespace

GpuState Medians(absl::Span<const GpuState> states) {
  const auto median = [&](std::optional<double> GpuState::*field) {
    std::vector<double> known;
    for (const GpuState& state : states) {
      if (state.*field) known.push_back(*(state.*field));
    }
    return Median(std::move(known));
  };
  return {.sm_clock_mhz = median(&GpuState::sm_clock_mhz),
          .memory_clock_mhz = median(&GpuState::memory_clock_mhz),
          .power_w = median(&GpuState::power_w),
          .temperature_c = median(&GpuState::temperature_c)};
}

struct GpuMonitor::Nvml {
  Nvml() = default;
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  ~Nvml() {
    if (initialized) shutdown();
    if (library != nullptr) ::dlclose(library);
  }

  bool Load(const std::string& name) {
    library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    return library != nullptr && Find(library, "nvmlInit_v2", init) &&
           Find(library, "nvmlShutdown", shutdown) &&
           Find(library, "nvmlSystemGetDriverVersion", driver_version) &&
           Find(library, "nvmlDeviceGetHandleByPciBusId_v2", by_pci_bus_id) &&
           Find(library, "nvmlDeviceGetClockInfo", clock) &&
           Find(library, "nvmlDeviceGetPowerUsage", power) &&
           Find(library, "nvmlDeviceGetTemperature", temperature);
  }

  std::optional<double> Clock(int type) const {
    unsigned mhz = 0;
    if (clock(device, type, &mhz) != kSuccess) return std::nullopt;
    return mhz;
  }

  void* library = nullptr;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*by_pci_bus_id)(const char*, NvmlDevice*) = nullptr;
  int (*clock)(NvmlDevice, int, unsigned*) = nullptr;
  int (*power)(NvmlDevice, unsigned*) = nullptr;
  int (*temperature)(NvmlDevice, int, unsigned*) = nullptr;
  bool initialized = false;
  NvmlDevice device = nullptr;
};

GpuMonitor GpuMonitor::Open(const std::string& pci_bus_id,
                            const std::string& library) {
  GpuMonitor monitor;
  auto nvml = std::make_shared<Nvml>();
  if (pci_bus_id.empty() || !nvml->Load(library)) return monitor;
  nvml->initialized = nvml->init() == kSuccess;
  if (nvml->initialized &&
      nvml->by_pci_bus_id(pci_bus_id.c_str(), &nvml->device) == kSuccess) {
    monitor.nvml_ = std::move(nvml);
  }
  return monitor;
}

std::optional<std::string> GpuMonitor::driver_version() const {
  std::array<char, 80> text = {};  // NVML's own bound
  if (nvml_ == nullptr ||
      nvml_->driver_version(text.data(), text.size()) != kSuccess) {
    return std::nullopt;
  }
  return std::string(text.data());
}

GpuState GpuMonitor::Read() const {
  GpuState state;
  if (nvml_ == nullptr) return state;
  state.sm_clock_mhz = nvml_->Clock(kClockSm);
  state.memory_clock_mhz = nvml_->Clock(kClockMemory);
  unsigned value = 0;
  if (nvml_->power(nvml_->device, &value) == kSuccess) {
    state.power_w = value / 1e3;  // given in milliwatts
  }
  if (nvml_->temperature(nvml_->device, kTemperatureGpu, &value) == kSuccess) {
    state.temperature_c = value;
  }
  return state;
}

GpuSampler::GpuSampler(std::function<GpuState()> read,
                       std::chrono::milliseconds interval)
    : read_(std::move(read)), thread_([this, interval] { Sample(interval); }) {}

GpuSampler::~GpuSampler() { Join(); }

void GpuSampler::Sample(std::chrono::milliseconds interval) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_.wait_for(lock, interval, [this] { return stop_; })) {
    lock.unlock();
    samples_.push_back(read_());
    lock.lock();
  }
}

void GpuSampler::Join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

GpuState GpuSampler::Stop() {
  Join();
  if (samples_.empty()) samples_.push_back(read_());
  return Medians(samples_);
}

}  // namespace mkvm::vm
