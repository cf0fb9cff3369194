// What a shape costs on a machine: the measuring of `mkvm tune`.
#ifndef MKVM_CLI_TUNE_MEASURE_H_
#define MKVM_CLI_TUNE_MEASURE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/bench_measure.h"
#include "cli/device.h"
#include "isa/program.h"
#include "model/weights.h"
#include "scheduler/target.h"
#include "scheduler/tune.h"

namespace mkvm::cli {

struct TunePlan {
  Device device;
  int threads = 1;                       // of the CPU machine
  std::vector<int64_t> positions;        // of the first token of a launch
  int64_t tokens = 64;                   // of a launch, at least 2
  int repetitions = 5;                   // launches whose median counts
  std::vector<scheduler::TuneKey> keys;  // that tell the targets apart
};

// Two programs of one model with the same string add up in the same order, so
// that they give the same tokens: the parts that attention splits the
// positions into, the opcodes, and how activations are stored.
std::string Arithmetic(const isa::Program& program);

// Whether shapes that must give the same tokens do.
class TokenCheck {
 public:
  // `tokens`: from each position, as many positions every time. The first with
  // an `arithmetic` is what later ones are held against: DataLoss, naming it
  // and the place, when they differ.
  absl::Status Check(absl::string_view shape, const std::string& arithmetic,
                     std::vector<std::vector<int32_t>> tokens);

 private:
  struct Expected {
    std::string shape;
    std::vector<std::vector<int32_t>> tokens;
  };
  std::map<std::string, Expected> expected_;  // by arithmetic
};

// Measure with a warm-up, until the median of the steady times is positive.
// Errors: the launches'; Unavailable when it is not after some tries.
absl::StatusOr<Measurement> MeasureSteady(const BenchTest& test,
                                          int repetitions,
                                          const Launcher& launch);

// Measures targets one after the other. Each gets a machine of its own, the
// only one at the time; the weights are shared.
class TuneMeasurer {
 public:
  TuneMeasurer(TunePlan plan, std::shared_ptr<model::Weights> weights)
      : plan_(std::move(plan)), weights_(std::move(weights)) {}

  // Microseconds per token from each of the positions on, without launching.
  // Errors: the compiler's, the verifier's, the machine's, in one line;
  // DataLoss when the tokens are not those of the first target of the same
  // Arithmetic.
  absl::StatusOr<std::vector<double>> Measure(const scheduler::Target& target);

  // The program as bytes: targets that have it in common need only be measured
  // once. "" when there is none.
  std::string ProgramOf(const scheduler::Target& target) const;

 private:
  absl::StatusOr<isa::Program> Compile(const scheduler::Target& target) const;
  absl::StatusOr<std::vector<double>> Run(const std::string& shape,
                                          isa::Program program);

  TunePlan plan_;
  std::shared_ptr<model::Weights> weights_;
  TokenCheck check_;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_TUNE_MEASURE_H_
