#include "cli/builtin_model.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mkvm::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Candidates() {
  const fs::path model = fs::path("models") / std::string(kBuiltinModel);
  std::vector<std::string> folders;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const fs::path beside = self.parent_path();
    folders.push_back(beside / model);
    // bin/mkvm and share/mkvm, as CMake installs them.
    folders.push_back(beside.parent_path() / "share" / "mkvm" / model);
  }
  folders.push_back(fs::path(MKVM_SOURCE_DIR) / model);
  return folders;
}

}  // namespace

bool IsBuiltinName(absl::string_view name) {
  return name == "tiny" || name == kBuiltinModel;
}

absl::StatusOr<std::string> FindBuiltinModel() {
  const std::vector<std::string> folders = Candidates();
  std::error_code error;
  for (const std::string& folder : folders) {
    if (fs::exists(fs::path(folder) / "config.json", error)) return folder;
  }
  return absl::NotFoundError(absl::StrCat(
      "the built-in model ", kBuiltinModel, " is in none of ",
      absl::StrJoin(folders, ", "), "; give --model DIR or set $MKVM_MODEL"));
}

}  // namespace mkvm::cli
