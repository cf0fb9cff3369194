#include "cli/stream.h"

#include "vm/stream_probe.h"

namespace mkvm::cli {

absl::StatusOr<double> MeasureStream(const Device& device, int threads,
                                     int repeats) {
  constexpr uint64_t kGpuBytes = uint64_t{1} << 30;
  constexpr uint64_t kCpuBytes = uint64_t{256} << 20;
  if (!device.gpu) return vm::ProbeCpuStream(threads, kCpuBytes, repeats);
  const absl::StatusOr<scheduler::Target> target = TargetOf(device);
  if (!target.ok()) return target.status();
  return vm::ProbeGpuStream(*device.gpu, target->workers, target->stages,
                            kGpuBytes, repeats);
}

}  // namespace mkvm::cli
