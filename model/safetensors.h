// The safetensors file format, read-only and memory-mapped.
//
//   file   := length header data
//   length := u64, little-endian: bytes of header, at most 100 MB
//   header := JSON object, space-padded: { "__metadata__": {string: string}?,
//             NAME: {"dtype": D, "shape": [n...], "data_offsets": [b, e]} ... }
//   data   := the tensors' bytes, row-major, little-endian; offsets count from
//             its start, and the tensors cover it without overlap or hole
#ifndef MKVM_MODEL_SAFETENSORS_H_
#define MKVM_MODEL_SAFETENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/file.h"

namespace mkvm::model {

struct StoredTensor {
  std::string name;
  std::string dtype;            // as the header spells it: "BF16", "F32", ...
  std::vector<uint64_t> shape;  // empty: a scalar
  // Alive as long as the file object. Aligned to no more than one byte: the
  // format asks writers for alignment, but not every writer listens.
  const uint8_t* data = nullptr;
  uint64_t size_bytes = 0;
};

class SafetensorsFile {
 public:
  // Checks the whole header, and that the data is all there: after that, every
  // tensor's bytes may be read. Errors: InvalidArgument naming the file, the
  // tensor and what is wrong with it; or those of opening the file.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

  const std::string& path() const { return path_; }
  // In the order of their data.
  absl::Span<const StoredTensor> tensors() const { return tensors_; }
  // Null where there is none.
  const StoredTensor* Find(absl::string_view name) const;

 private:
  SafetensorsFile() = default;
  absl::Status ParseHeader();

  std::string path_;
  MappedFile file_;
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_SAFETENSORS_H_
