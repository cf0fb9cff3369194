#include "model/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::model {
namespace {

constexpr uint64_t kSmallFileBytes = uint64_t{64} << 20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Size of the regular file behind `fd`.
absl::StatusOr<uint64_t> RegularFileSize(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("can't stat ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file"));
  }
  return static_cast<uint64_t>(info.st_size);
}

// O_NONBLOCK keeps a pipe in the file's place from hanging the open.
int OpenForReading(const std::string& path) {
  return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

}  // namespace

PathKind KindOfPath(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return PathKind::kNone;
  return S_ISDIR(info.st_mode) ? PathKind::kDirectory : PathKind::kFile;
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  if (directory.empty() || directory.back() == '/') {
    return absl::StrCat(directory, name);
  }
  return absl::StrCat(directory, "/", name);
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const Descriptor fd(OpenForReading(path));
  if (fd.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("can't open ", path));
  }
  const absl::StatusOr<uint64_t> size = RegularFileSize(fd.get(), path);
  if (!size.ok()) return size.status();
  if (*size > kSmallFileBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has %d bytes; at most %d are expected of such a file", path, *size,
        kSmallFileBytes));
  }
  std::string text(*size, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(fd.get(), &text[done], text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("can't read ", path));
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const Descriptor fd(OpenForReading(path));
  if (fd.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("can't open ", path));
  }
  const absl::StatusOr<uint64_t> size = RegularFileSize(fd.get(), path);
  if (!size.ok()) return size.status();
  MappedFile file;
  if (*size == 0) return file;
  void* data = mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) {
    return absl::ErrnoToStatus(
        errno, absl::StrFormat("can't map the %d bytes of %s", *size, path));
  }
  file.data_ = static_cast<const uint8_t*>(data);
  file.size_bytes_ = *size;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_bytes_);
}

}  // namespace mkvm::model
