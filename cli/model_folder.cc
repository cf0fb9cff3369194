#include "cli/model_folder.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/builtin_model.h"
#include "cli/hub_cache.h"

namespace mkvm::cli {

absl::StatusOr<std::string> ResolveModel(absl::string_view name) {
  if (IsBuiltinName(name)) return FindBuiltinModel();
  std::error_code error;
  if (std::filesystem::exists(std::string(name), error)) {
    return std::string(name);
  }
  if (IsRepositoryName(name)) return FindInHubCache(name);
  return std::string(name);
}

absl::StatusOr<std::string> FindModelFolder(absl::string_view flag) {
  std::string name(flag);
  if (name.empty()) {
    const char* set = std::getenv("MKVM_MODEL");
    name = set == nullptr ? "" : set;
  }
  if (name == "synthetic" || absl::StartsWith(name, "synthetic:")) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " are weights without a tokenizer; give --model DIR"));
  }
  if (!name.empty()) return ResolveModel(name);
  if (std::string cached = FindCachedSnapshot(); !cached.empty()) return cached;
  absl::StatusOr<std::string> builtin = FindBuiltinModel();
  if (builtin.ok()) {
    absl::FPrintF(stderr,
                  "%s, the built-in model: no --model, no $MKVM_MODEL, no "
                  "Qwen3-0.6B in the HuggingFace cache\n",
                  kBuiltinModel);
  }
  return builtin;
}

std::string FindCachedSnapshot() {
  absl::StatusOr<std::string> folder = FindInHubCache("Qwen/Qwen3-0.6B");
  return folder.ok() ? *std::move(folder) : "";
}

}  // namespace mkvm::cli
