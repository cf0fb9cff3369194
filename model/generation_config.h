// How a snapshot wants its tokens chosen: generation_config.json.
#ifndef MKVM_MODEL_GENERATION_CONFIG_H_
#define MKVM_MODEL_GENERATION_CONFIG_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

// The defaults are those of transformers, for keys and files that are missing.
// The ids that end a text are in Config.
struct GenerationConfig {
  bool do_sample = false;  // false: the most probable token
  double temperature = 1;
  int64_t top_k = 50;  // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
};

// InvalidArgument naming the key and what it holds, where that is no number (no
// boolean, for do_sample); whether a number makes sense is the sampler's to
// say.
absl::StatusOr<GenerationConfig> ParseGenerationConfig(absl::string_view json,
                                                       absl::string_view name);
// `folder`/generation_config.json, or the defaults where there is none.
absl::StatusOr<GenerationConfig> LoadGenerationConfig(absl::string_view folder);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_GENERATION_CONFIG_H_
