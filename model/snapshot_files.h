// Which files of a snapshot's folder hold which tensors. Private to model/.
#ifndef MKVM_MODEL_SNAPSHOT_FILES_H_
#define MKVM_MODEL_SNAPSHOT_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/safetensors.h"

namespace mkvm::model {

// Opens model.safetensors, or every shard that model.safetensors.index.json
// names. In the latter case the index and the shards must agree on where each
// tensor is, so that the tensors of all files together have distinct names.
// Errors: NotFound where the folder has neither, saying what it has instead, or
// a shard is missing; InvalidArgument naming file and tensor.
absl::StatusOr<std::vector<SafetensorsFile>> OpenSnapshotFiles(
    absl::string_view directory);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_SNAPSHOT_FILES_H_
