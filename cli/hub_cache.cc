#include "cli/hub_cache.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mkvm::cli {
namespace {

namespace fs = std::filesystem;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The commit that refs/main names, or "".
std::string CommitOfMain(const fs::path& repository) {
  std::ifstream file(repository / "refs" / "main");
  std::string commit;
  std::getline(file, commit);
  return std::string(absl::StripAsciiWhitespace(commit));
}

// A download of one commit by its hash leaves no refs/main.
std::string NewestSnapshot(const fs::path& repository) {
  std::error_code error;
  std::string newest;
  fs::file_time_type newest_time;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(repository / "snapshots", error)) {
    if (!fs::exists(entry.path() / "config.json", error)) continue;
    const fs::file_time_type time = fs::last_write_time(entry.path(), error);
    if (newest.empty() || time > newest_time) {
      newest = entry.path().string();
      newest_time = time;
    }
  }
  return newest;
}

}  // namespace

std::string HubCacheFolder() {
  if (std::string s = Environment("HF_HUB_CACHE"); !s.empty()) return s;
  if (std::string s = Environment("HF_HOME"); !s.empty()) {
    return fs::path(s) / "hub";
  }
  return fs::path(Environment("HOME")) / ".cache" / "huggingface" / "hub";
}

bool IsRepositoryName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 2) return false;
  for (const absl::string_view part : parts) {
    // "./x" and "../x" are folders, "~/x" is one that no shell has expanded.
    if (part.empty() || !absl::ascii_isalnum(part[0])) return false;
    for (const char c : part) {
      if (!absl::ascii_isalnum(c) && !absl::StrContains("-_.", c)) return false;
    }
  }
  return true;
}

absl::StatusOr<std::string> FindInHubCache(absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  const fs::path repository =
      fs::path(HubCacheFolder()) /
      absl::StrCat("models--", parts.front(), "--", parts.back());
  std::error_code error;
  if (const std::string commit = CommitOfMain(repository); !commit.empty()) {
    const fs::path snapshot = repository / "snapshots" / commit;
    if (fs::is_directory(snapshot, error)) return snapshot.string();
  }
  const std::string newest = NewestSnapshot(repository);
  if (!newest.empty()) return newest;
  return absl::NotFoundError(absl::StrCat(
      "--model ", name, ": no folder of that name, and no snapshot in the ",
      "HuggingFace cache (", repository.string(), "); `hf download ", name,
      "` fetches it, or give --model DIR"));
}

}  // namespace mkvm::cli
