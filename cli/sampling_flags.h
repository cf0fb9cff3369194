// How tokens are chosen, as the command line and the model's defaults say it.
#ifndef MKVM_CLI_SAMPLING_FLAGS_H_
#define MKVM_CLI_SAMPLING_FLAGS_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "cli/flags.h"
#include "model/generation_config.h"
#include "vm/sampling.h"

namespace mkvm::cli {

struct SamplingFlags {
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<int64_t> seed;

  void AddTo(Flags& flags);
  // Flags over `defaults`. Greedy where these don't sample and no flag among
  // temperature, top_k, top_p and min_p asks for it. A seed is drawn when none
  // is given. Errors: usage errors naming the option and its range.
  absl::StatusOr<vm::SamplingOptions> Resolve(
      const model::GenerationConfig& defaults) const;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_SAMPLING_FLAGS_H_
