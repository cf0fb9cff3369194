// Where a model's tokenizer and chat template come from: --model, $MKVM_MODEL
// or the HuggingFace cache.
#ifndef MKVM_CLI_MODEL_FOLDER_H_
#define MKVM_CLI_MODEL_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::cli {

// `flag`, else $MKVM_MODEL, else Qwen3-0.6B in the HuggingFace cache. Errors: a
// usage error where there is none of them; InvalidArgument for synthetic
// weights, which come without text.
absl::StatusOr<std::string> FindModelFolder(absl::string_view flag);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_MODEL_FOLDER_H_
