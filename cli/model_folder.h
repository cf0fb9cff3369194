// Which folder --model means, and which one is taken without it.
#ifndef MKVM_CLI_MODEL_FOLDER_H_
#define MKVM_CLI_MODEL_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::cli {

// What --model NAME stands for: the built-in model if that is its name (a
// folder of that name is ./NAME); else a path that is there; else the snapshot
// of ORG/NAME in the HuggingFace cache. Any other name comes back as it is,
// "synthetic:SEED" among them: who opens it says what is wrong with it.
// NotFound when the cache lacks ORG/NAME, or this installation its built-in
// model.
absl::StatusOr<std::string> ResolveModel(absl::string_view name);

// The folder of a model with text: `flag`, else $MKVM_MODEL, else Qwen3-0.6B in
// the HuggingFace cache, else the built-in model, which it says on stderr.
// InvalidArgument for synthetic weights, which come without text.
absl::StatusOr<std::string> FindModelFolder(absl::string_view flag);

// The snapshot of Qwen/Qwen3-0.6B in the HuggingFace cache, or "".
std::string FindCachedSnapshot();

}  // namespace mkvm::cli

#endif  // MKVM_CLI_MODEL_FOLDER_H_
