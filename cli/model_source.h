// Where the weights come from: --model, $MKVM_MODEL, the HuggingFace cache or
// a seed.
#ifndef MKVM_CLI_MODEL_SOURCE_H_
#define MKVM_CLI_MODEL_SOURCE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"
#include "model/config.h"
#include "model/weights.h"

namespace mkvm::cli {

// What synthetic weights need to know when nothing else says it.
struct Geometry {
  // Must match when given: the weights are for this program.
  const isa::Program* program = nullptr;
  std::string program_path;
  // Without a program: the built-in geometry (model::ConfigNames()) of
  // synthetic weights when one was asked for, and when not.
  std::string config;
  std::string default_config;
};

// Opens `flag` (what ResolveModel takes, or synthetic:SEED). When it is empty:
// $MKVM_MODEL, else Qwen3-0.6B in the HuggingFace cache if that is what the
// program wants, else synthetic:1; says on stderr which it took. A snapshot of
// another geometry than the program's is refused with both descriptions.
absl::StatusOr<std::unique_ptr<model::Weights>> OpenModel(
    absl::string_view flag, const Geometry& geometry);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_MODEL_SOURCE_H_
