// The read-only stream of a device, in the shape that its programs have.
#ifndef MKVM_CLI_STREAM_H_
#define MKVM_CLI_STREAM_H_

#include "absl/status/statusor.h"
#include "cli/device.h"

namespace mkvm::cli {

// GB/s (1e9 bytes), the median of `repeats` (vm/stream_probe.h) over a buffer
// far larger than any cache. `threads`: of the CPU, at least 1.
absl::StatusOr<double> MeasureStream(const Device& device, int threads,
                                     int repeats);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_STREAM_H_
