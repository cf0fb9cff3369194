#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "model/snapshot_files.h"
#include "model/weights.h"

namespace mkvm::model {
namespace {

constexpr char kLmHead[] = "lm_head.weight";

struct Located {
  const StoredTensor* tensor = nullptr;
  const SafetensorsFile* file = nullptr;
};

// By canonical name.
using Directory = absl::flat_hash_map<std::string, Located>;

// Snapshots of the bare model (embedding models among them) leave out "model.".
std::string CanonicalName(absl::string_view stored) {
  if (absl::StartsWith(stored, "model.") || stored == kLmHead) {
    return std::string(stored);
  }
  return absl::StrCat("model.", stored);
}

std::string ShapeText(const std::vector<uint64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string AndMore(size_t count) {
  return count > 1 ? absl::StrFormat(" (and %d more)", count - 1) : "";
}

absl::StatusOr<Directory> IndexTensors(
    const std::vector<SafetensorsFile>& files) {
  Directory directory;
  for (const SafetensorsFile& file : files) {
    for (const StoredTensor& tensor : file.tensors()) {
      const auto [it, inserted] = directory.insert(
          {CanonicalName(tensor.name), Located{&tensor, &file}});
      if (!inserted) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s: tensor \"%s\" is also there as \"%s\" in %s",
                            file.path(), absl::CHexEscape(tensor.name),
                            absl::CHexEscape(it->second.tensor->name),
                            it->second.file->path()));
      }
    }
  }
  return directory;
}

absl::Status CheckTensor(const Located& at, const TensorSpec& spec,
                         const Config& config) {
  if (at.tensor->dtype != "BF16") {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: tensor \"%s\" is %s; supported: BF16 (convert the model with "
        "transformers: from_pretrained(..., dtype=torch.bfloat16), "
        "save_pretrained)",
        at.file->path(), at.tensor->name, at.tensor->dtype));
  }
  if (at.tensor->shape != spec.shape) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: tensor \"%s\" has the shape %s, config.json makes it %s (%s); the "
        "files are of different models",
        at.file->path(), at.tensor->name, ShapeText(at.tensor->shape),
        ShapeText(spec.shape), Describe(config)));
  }
  return absl::OkStatus();
}

// Every tensor of `specs` is there as it should be, and no other is but a
// stored copy of the tied lm_head, which transformers ignores as well.
absl::Status CheckTensors(absl::string_view folder, const Config& config,
                          const std::vector<TensorSpec>& specs,
                          const Directory& directory) {
  std::vector<const TensorSpec*> missing;
  Directory unused = directory;
  for (const TensorSpec& spec : specs) {
    const auto it = unused.find(spec.name);
    if (it == unused.end()) {
      missing.push_back(&spec);
      continue;
    }
    if (absl::Status s = CheckTensor(it->second, spec, config); !s.ok()) {
      return s;
    }
    unused.erase(it);
  }
  if (!missing.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: tensor \"%s\" %s%s is missing, which config.json asks for (%s); "
        "download the snapshot again",
        folder, missing[0]->name, ShapeText(missing[0]->shape),
        AndMore(missing.size()), Describe(config)));
  }
  if (const auto it = unused.find(kLmHead);
      it != unused.end() && config.tie_word_embeddings) {
    const TensorSpec head = {kLmHead, {config.vocab_size, config.hidden_size}};
    if (absl::Status s = CheckTensor(it->second, head, config); !s.ok()) {
      return s;
    }
    unused.erase(it);
  }
  if (unused.empty()) return absl::OkStatus();
  const auto first = std::min_element(
      unused.begin(), unused.end(),
      [](const auto& a, const auto& b) { return a.first < b.first; });
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: tensor \"%s\" %s%s is no part of what config.json describes (%s); "
      "the files are of different models",
      first->second.file->path(), absl::CHexEscape(first->second.tensor->name),
      ShapeText(first->second.tensor->shape), AndMore(unused.size()),
      Describe(config)));
}

class Snapshot : public Weights {
 public:
  Snapshot(absl::string_view folder, Config config,
           std::vector<SafetensorsFile> files, Directory directory,
           const std::vector<TensorSpec>& specs)
      : folder_(folder),
        config_(std::move(config)),
        files_(std::move(files)),
        directory_(std::move(directory)) {
    for (const TensorSpec& spec : specs) {
      names_.push_back(spec.name);
      total_bytes_ += directory_.at(spec.name).tensor->size_bytes;
    }
    if (config_.tie_word_embeddings) directory_.erase(kLmHead);
  }

  const Config& config() const override { return config_; }
  const std::vector<std::string>& names() const override { return names_; }
  uint64_t total_bytes() const override { return total_bytes_; }
  std::string description() const override {
    return absl::StrFormat("%s (%s), %s", config_.name, folder_,
                           Describe(config_));
  }

  absl::StatusOr<Tensor> Get(absl::string_view name) override {
    const auto it = directory_.find(name);
    if (it == directory_.end()) {
      return absl::NotFoundError(
          absl::StrFormat("no tensor \"%s\" in %s", name, description()));
    }
    const StoredTensor& stored = *it->second.tensor;
    return Tensor{TensorType::kBf16, stored.shape, Aligned(stored)};
  }

 private:
  // The tensor's bytes where they lie, or a copy where an odd header length
  // makes that no place for 2-byte elements.
  const void* Aligned(const StoredTensor& stored) {
    if (reinterpret_cast<uintptr_t>(stored.data) % alignof(uint16_t) == 0) {
      return stored.data;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<uint16_t>& copy = copies_[&stored];
    if (copy.empty()) {
      copy.resize(stored.size_bytes / sizeof(uint16_t));
      std::memcpy(copy.data(), stored.data, stored.size_bytes);
    }
    return copy.data();
  }

  const std::string folder_;
  const Config config_;
  const std::vector<SafetensorsFile> files_;
  Directory directory_;  // into files_
  std::vector<std::string> names_;
  uint64_t total_bytes_ = 0;
  std::mutex mutex_;
  std::map<const StoredTensor*, std::vector<uint16_t>> copies_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Weights>> OpenSnapshot(
    absl::string_view directory) {
  absl::StatusOr<Config> config = LoadConfig(directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::vector<SafetensorsFile>> files =
      OpenSnapshotFiles(directory);
  if (!files.ok()) return files.status();
  absl::StatusOr<Directory> tensors = IndexTensors(*files);
  if (!tensors.ok()) return tensors.status();
  const std::vector<TensorSpec> specs = RequiredTensors(*config);
  if (absl::Status s = CheckTensors(directory, *config, specs, *tensors);
      !s.ok()) {
    return s;
  }
  // Pointers into the files stay good: moving the vector moves no element.
  return std::make_unique<Snapshot>(directory, *std::move(config),
                                    *std::move(files), *std::move(tensors),
                                    specs);
}

}  // namespace mkvm::model
