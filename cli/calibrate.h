// Measuring a machine's costs: what `mkvm calibrate` does and `mkvm tune`
// begins with.
#ifndef MKVM_CLI_CALIBRATE_H_
#define MKVM_CLI_CALIBRATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "cli/device.h"
#include "scheduler/target.h"

namespace mkvm::cli {

struct Calibration {
  Device device;
  int threads = 1;         // of the CPU machine, at least 1
  scheduler::Target base;  // whose shape the programs have
  std::string traces;      // prefix of files to keep the traces in; "": none
};

// `base` with this machine's stream and costs, and notes that say so. Says on
// stderr what it measures. Errors: those of compiling for `base`, of its
// programs on the device, of writing traces.
absl::StatusOr<scheduler::Target> Calibrate(const Calibration& calibration);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_CALIBRATE_H_
