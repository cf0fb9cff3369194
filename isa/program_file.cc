// Programs as files, in either form.
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "isa/assembler.h"
#include "isa/program.h"

namespace mkvm::isa {
namespace {

absl::Status FileError(absl::string_view path, absl::string_view verb,
                       int error) {
  const std::string what =
      absl::StrCat(verb, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(what);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(what);
    case EISDIR:
      return absl::InvalidArgumentError(what);
    default:
      return absl::UnavailableError(what);
  }
}

// All of an open file; 0 or errno.
int ReadAll(std::FILE* file, std::string& bytes) {
  char chunk[1 << 16];
  size_t count;
  while ((count = std::fread(chunk, 1, sizeof(chunk), file)) > 0) {
    bytes.append(chunk, count);
  }
  return std::ferror(file) ? errno : 0;
}

absl::StatusOr<std::string> ReadFile(absl::string_view path) {
  std::string bytes;
  if (path == "-") {
    const int error = ReadAll(stdin, bytes);
    if (error != 0) return FileError("standard input", "can't read", error);
    return bytes;
  }
  std::FILE* file = std::fopen(std::string(path).c_str(), "rb");
  if (file == nullptr) return FileError(path, "can't open", errno);
  // A folder opens, and fails here.
  const int error = ReadAll(file, bytes);
  std::fclose(file);
  if (error != 0) return FileError(path, "can't read", error);
  return bytes;
}

}  // namespace

absl::Status WriteProgramFile(const Program& program, absl::string_view path) {
  const std::string bytes = SerializeProgram(program);
  const bool to_stdout = path == "-";
  std::FILE* file =
      to_stdout ? stdout : std::fopen(std::string(path).c_str(), "wb");
  if (file == nullptr) return FileError(path, "can't create", errno);
  errno = 0;
  bool written =
      std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = std::fflush(file) == 0 && written;
  const int error = errno;
  if (!to_stdout) written = std::fclose(file) == 0 && written;
  if (!written) return FileError(path, "can't write", error);
  return absl::OkStatus();
}

absl::StatusOr<Program> ReadProgramFile(absl::string_view path) {
  const absl::string_view shown = path == "-" ? "<stdin>" : path;
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  if (bytes->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(shown, " is empty"));
  }
  // The first bytes of the magic: also of a damaged binary file.
  if (absl::StartsWith(*bytes, "mkvm")) {
    absl::StatusOr<Program> program = ParseProgram(*bytes);
    if (program.ok()) return program;
    return absl::Status(program.status().code(),
                        absl::StrCat(shown, ": ", program.status().message()));
  }
  if (absl::StrContains(*bytes, '\0')) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown, " is no program: neither its binary form nor its text"));
  }
  return Assemble(*bytes, shown);
}

}  // namespace mkvm::isa
