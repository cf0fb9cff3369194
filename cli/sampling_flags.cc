#include "cli/sampling_flags.h"

#include <cmath>
#include <limits>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::cli {
namespace {

// 32 bits: short enough to type again.
uint64_t DrawSeed() { return std::random_device()(); }

}  // namespace

void SamplingFlags::AddTo(Flags& flags) {
  flags.Add("temperature,temp", &temperature, "T",
            "0: always the most probable token (the model's\n"
            "generation_config.json, as for the next four)");
  flags.Add("top_k", &top_k, "K", "choose among the K most probable; 0: all");
  flags.Add("top_p", &top_p, "P",
            "among the fewest that have this much of the probability");
  flags.Add("min_p", &min_p, "P",
            "among those at least P times as probable as the first");
  flags.Add("repetition_penalty,repeat_penalty", &repetition_penalty, "R",
            "above 1: against tokens of the prompt and the answer");
  flags.Add("presence_penalty", &presence_penalty, "X",
            "off the logits of tokens in the answer (0)");
  flags.Add("frequency_penalty", &frequency_penalty, "X",
            "the same, times how often they are in it (0)");
  flags.Add("seed,s", &seed, "N", "the same seed, the same text (drawn)");
}

absl::StatusOr<vm::SamplingOptions> SamplingFlags::Resolve(
    const model::GenerationConfig& defaults) const {
  const bool sample =
      defaults.do_sample || temperature || top_k || top_p || min_p;
  const int64_t k = top_k.value_or(defaults.top_k);
  if (k < 0 || k > std::numeric_limits<int32_t>::max()) {
    return UsageError(absl::StrFormat("--top_k: %d is not from 0 to %d", k,
                                      std::numeric_limits<int32_t>::max()));
  }
  if (seed && *seed < 0) return UsageError("--seed is below 0");
  vm::SamplingOptions options;
  options.temperature =
      sample ? static_cast<float>(temperature.value_or(defaults.temperature))
             : 0.0f;
  options.top_k = static_cast<int32_t>(k);
  options.top_p = static_cast<float>(top_p.value_or(defaults.top_p));
  options.min_p = static_cast<float>(min_p.value_or(defaults.min_p));
  options.repetition_penalty = static_cast<float>(
      repetition_penalty.value_or(defaults.repetition_penalty));
  options.presence_penalty = static_cast<float>(presence_penalty.value_or(0));
  options.frequency_penalty = static_cast<float>(frequency_penalty.value_or(0));
  options.seed = seed ? static_cast<uint64_t>(*seed) : DrawSeed();
  if (absl::Status s = vm::CheckSampling(options); !s.ok()) {
    return UsageError(absl::StrCat(
        s.message(), " (flags over the model's generation_config.json)"));
  }
  return options;
}

}  // namespace mkvm::cli
