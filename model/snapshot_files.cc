#include "model/snapshot_files.h"

#include <dirent.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/file.h"
#include "model/json.h"

namespace mkvm::model {
namespace {

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

std::vector<std::string> FileNames(const std::string& directory) {
  std::vector<std::string> names;
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir)) names.push_back(entry->d_name);
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

// No weights under the names that transformers writes: say what there is.
absl::Status NoWeightsError(const std::string& directory) {
  struct Other {
    absl::string_view suffix;
    absl::string_view advice;
  };
  const Other others[] = {
      {".safetensors",
       "shards without their index; download model.safetensors.index.json too"},
      {".bin",
       "PyTorch weights; load them with transformers and call "
       "save_pretrained(..., safe_serialization=True)"},
      {".gguf", "a GGUF file; take the model's original snapshot"},
  };
  const std::vector<std::string> names = FileNames(directory);
  for (const Other& other : others) {
    for (const std::string& name : names) {
      if (!absl::EndsWith(name, other.suffix)) continue;
      return absl::NotFoundError(
          absl::StrFormat("%s has no %s, only %s: %s", directory, kSingle,
                          absl::CHexEscape(name), other.advice));
    }
  }
  return absl::NotFoundError(
      absl::StrFormat("%s has neither %s nor %s: the download is incomplete",
                      directory, kSingle, kIndex));
}

// Shard name -> the tensors that the index puts there. "total_size" is left
// alone: it says nothing that the shards' own headers don't, and tools disagree
// on whether it counts tied tensors twice.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ReadIndex(
    const std::string& path) {
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> json = ParseJson(*text, path);
  if (!json.ok()) return json.status();
  const auto it = json->is_object() ? json->find("weight_map") : json->end();
  if (!json->is_object() || it == json->end() || !it->is_object() ||
      it->empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: no \"weight_map\" from tensors to shards; download it again",
        path));
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : it->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    // A plain name: an index must not reach outside its folder.
    if (!absl::EndsWith(name, ".safetensors") || absl::StrContains(name, '/')) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: tensor \"%s\" is said to be in %s, which is not the name of a "
          ".safetensors file",
          path, absl::CHexEscape(tensor), Brief(shard)));
    }
    shards[name].push_back(tensor);
  }
  return shards;
}

// What the index says of one shard against what the shard holds.
absl::Status CheckShard(
    const std::string& index_path, const SafetensorsFile& file,
    const std::vector<std::string>& listed,
    const absl::flat_hash_map<std::string, std::string>& shard_of) {
  for (const std::string& name : listed) {
    if (file.Find(name) == nullptr) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: tensor \"%s\" is missing, but %s says it is here; the files "
          "are of different downloads",
          file.path(), absl::CHexEscape(name), index_path));
    }
  }
  if (file.tensors().size() == listed.size()) return absl::OkStatus();
  for (const StoredTensor& tensor : file.tensors()) {
    if (std::binary_search(listed.begin(), listed.end(), tensor.name)) continue;
    const auto other = shard_of.find(tensor.name);
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: tensor \"%s\" is %s; the files are of different downloads",
        file.path(), absl::CHexEscape(tensor.name),
        other == shard_of.end() ? absl::StrCat("not in ", index_path)
                                : absl::StrCat("also in ", other->second)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SafetensorsFile>> OpenShards(
    const std::string& directory, const std::string& index_path) {
  const auto shards = ReadIndex(index_path);
  if (!shards.ok()) return shards.status();
  absl::flat_hash_map<std::string, std::string> shard_of;
  for (const auto& [shard, tensors] : *shards) {
    for (const std::string& tensor : tensors) shard_of[tensor] = shard;
  }
  std::vector<SafetensorsFile> files;
  for (const auto& [shard, tensors] : *shards) {
    const std::string path = JoinPath(directory, shard);
    if (KindOfPath(path) == PathKind::kNone) {
      return absl::NotFoundError(absl::StrFormat(
          "%s is missing, which %s names (%d shards in all); download it", path,
          index_path, shards->size()));
    }
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
    if (!file.ok()) return file.status();
    if (absl::Status s = CheckShard(index_path, *file, tensors, shard_of);
        !s.ok()) {
      return s;
    }
    files.push_back(*std::move(file));
  }
  return files;
}

}  // namespace

absl::StatusOr<std::vector<SafetensorsFile>> OpenSnapshotFiles(
    absl::string_view directory) {
  const std::string folder(directory);
  // Where both are, transformers takes the single file.
  const std::string single = JoinPath(folder, kSingle);
  if (KindOfPath(single) != PathKind::kNone) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(single);
    if (!file.ok()) return file.status();
    std::vector<SafetensorsFile> files;
    files.push_back(*std::move(file));
    return files;
  }
  const std::string index = JoinPath(folder, kIndex);
  if (KindOfPath(index) == PathKind::kNone) return NoWeightsError(folder);
  return OpenShards(folder, index);
}

}  // namespace mkvm::model
