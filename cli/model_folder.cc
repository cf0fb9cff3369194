#include "cli/model_folder.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/flags.h"
#include "cli/model_source.h"

namespace mkvm::cli {

absl::StatusOr<std::string> FindModelFolder(absl::string_view flag) {
  std::string folder(flag);
  if (folder.empty()) {
    const char* set = std::getenv("MKVM_MODEL");
    folder = set == nullptr ? "" : set;
  }
  if (folder.empty()) folder = FindCachedSnapshot();
  if (folder.empty()) {
    return UsageError(
        "no tokenizer: give --model DIR, set $MKVM_MODEL, or download "
        "Qwen3-0.6B into the HuggingFace cache");
  }
  if (folder == "synthetic" || absl::StartsWith(folder, "synthetic:")) {
    return absl::InvalidArgumentError(absl::StrCat(
        folder, " are weights without a tokenizer; give --model DIR"));
  }
  return folder;
}

}  // namespace mkvm::cli
