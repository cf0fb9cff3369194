// Files of a snapshot: small ones read, large ones mapped. Private to model/.
#ifndef MKVM_MODEL_FILE_H_
#define MKVM_MODEL_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

enum class PathKind { kNone, kFile, kDirectory };
// Follows links. kFile is anything that exists and is no directory.
PathKind KindOfPath(const std::string& path);

// "directory/name", whether or not `directory` ends in a slash.
std::string JoinPath(absl::string_view directory, absl::string_view name);

// The whole file. Errors: NotFound, PermissionDenied, ... naming the path;
// InvalidArgument where it is no regular file or larger than 64 MiB.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

// A file mapped read-only for as long as the object lives. Whoever cuts the
// file short meanwhile makes a later read of it fail with SIGBUS, as with every
// memory-mapped model.
class MappedFile {
 public:
  // Errors: as ReadSmallFile, without the limit on size.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const uint8_t* data() const { return data_; }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  const uint8_t* data_ = nullptr;  // null where the file is empty
  uint64_t size_bytes_ = 0;
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_FILE_H_
