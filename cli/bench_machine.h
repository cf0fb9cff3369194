// What `mkvm bench` measures: a decode program on a machine, launched from any
// position.
#ifndef MKVM_CLI_BENCH_MACHINE_H_
#define MKVM_CLI_BENCH_MACHINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/bench_measure.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "isa/program.h"
#include "model/weights.h"
#include "scheduler/compile.h"

namespace mkvm::cli {

class BenchMachine {
 public:
  // `weights` may be in use by other machines too. `threads`: as
  // CreateMachine.
  static absl::StatusOr<BenchMachine> Create(
      const Device& device, isa::Program program,
      std::shared_ptr<model::Weights> weights, int threads);
  // On a machine of the caller's, with nothing bound.
  static absl::StatusOr<BenchMachine> Create(
      std::unique_ptr<vm::Machine> machine,
      std::shared_ptr<model::Weights> weights);

  // The first `passes` of the test. The ids are fixed ones; what lies in the
  // KV cache before the test's depth is not: zeros, or what earlier launches
  // left. Internal when the program did not run all passes.
  absl::StatusOr<Launched> Launch(const BenchTest& test, int64_t passes);

  vm::Machine& machine() { return decoder_->machine(); }

 private:
  BenchMachine() = default;

  std::unique_ptr<Decoder> decoder_;
  double watchdog_seconds_ = 60;
};

// Bytes that a pass reads, in the mean over the test's positions: weights and
// KV cache.
double BytesPerToken(const isa::Program& program, const BenchTest& test);
uint64_t WeightBytesPerToken(const isa::Program& program);

// The other way to run `program`, whose tokens a measured one must give: with
// the other transport, on the CPU with another number of threads, and with
// nothing left out by the machine.
struct Reference {
  isa::Program program;
  Device device;
  int threads = 0;
  std::string name;  // "counters", "1 thread"
};
// `compiled`: before `transport` was applied to it.
absl::StatusOr<Reference> MakeReference(const isa::Program& compiled,
                                        const std::string& transport,
                                        const Device& device, int threads);

// Decodes with the smallest built-in geometry, compiled for `device`, there and
// on the checking CPU machine, which runs the reference ops in an order of its
// own: DataLoss when the tokens differ.
absl::Status CompareWithCheckingMachine(const Device& device,
                                        const std::string& transport,
                                        int threads,
                                        scheduler::CompileOptions options = {});

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_MACHINE_H_
