// A library with NVML's names that knows one GPU, for gpu_state_test. Its power
// fails, as it does on GPUs that don't measure it.
#include <cstdio>
#include <cstring>

namespace {
int device;
constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
}  // namespace

extern "C" {

int nvmlInit_v2() { return kSuccess; }
int nvmlShutdown() { return kSuccess; }

int nvmlSystemGetDriverVersion(char* version, unsigned length) {
  std::snprintf(version, length, "580.1.2");
  return kSuccess;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** handle) {
  if (std::strcmp(id, "0000:3b:00.0") != 0) return kNotFound;
  *handle = &device;
  return kSuccess;
}

int nvmlDeviceGetClockInfo(void* handle, int type, unsigned* mhz) {
  if (handle != &device) return kNotFound;
  *mhz = type == 1 ? 1755 : 3201;
  return kSuccess;
}

int nvmlDeviceGetPowerUsage(void*, unsigned*) { return kNotSupported; }

int nvmlDeviceGetTemperature(void* handle, int sensor, unsigned* celsius) {
  if (handle != &device || sensor != 0) return kNotFound;
  *celsius = 41;
  return kSuccess;
}

}  // extern "C"
