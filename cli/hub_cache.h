// HuggingFace's cache of downloaded snapshots, read by its own rules and never
// written: no network.
#ifndef MKVM_CLI_HUB_CACHE_H_
#define MKVM_CLI_HUB_CACHE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::cli {

// $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub.
std::string HubCacheFolder();

// Whether `name` has the form ORG/NAME, as "Qwen/Qwen3-0.6B".
bool IsRepositoryName(absl::string_view name);

// The folder of the snapshot of ORG/NAME that the cache's branch main names,
// or the newest one where it names none. NotFound saying where it looked and
// how to get it. REQUIRES: IsRepositoryName(name).
absl::StatusOr<std::string> FindInHubCache(absl::string_view name);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_HUB_CACHE_H_
