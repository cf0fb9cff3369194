// Carries a plan out: machines, weights, rows, references.
#ifndef MKVM_CLI_BENCH_RUN_H_
#define MKVM_CLI_BENCH_RUN_H_

#include <string>

#include "absl/status/status.h"
#include "cli/bench_plan.h"
#include "cli/bench_report.h"
#include "cli/device.h"
#include "vm/gpu_state.h"

namespace mkvm::cli {

struct BenchRun {
  const BenchFlags& flags;
  const BenchPlan& plan;
  const Device& device;
  const vm::GpuMonitor& monitor;
  BenchReport& report;  // filled in
  AblationFlags ablations = {};
};

// Every setup's rows, with the stream before and after each. A row that fails
// is refused; what keeps all of a setup's rows from being measured is an error.
absl::Status RunBench(const BenchRun& bench);

// Programs of nops on every number of threads (cli/bench_interpretation.h).
absl::Status RunInterpretation(const BenchRun& bench);

// The stream alone, plan.repetitions times.
absl::Status RunRoofline(const BenchRun& bench);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_RUN_H_
