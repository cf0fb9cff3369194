#include "cli/io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "isa/disassembler.h"

namespace mkvm::cli {
namespace {

absl::Status FileError(absl::string_view doing, absl::string_view path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", doing, " ", path));
}

absl::StatusOr<std::string> ReadAll(std::FILE* file, absl::string_view path) {
  std::string bytes;
  char block[1 << 16];
  size_t count;
  while ((count = std::fread(block, 1, sizeof(block), file)) > 0) {
    bytes.append(block, count);
  }
  if (std::ferror(file) != 0) return FileError("read", path);
  return bytes;
}

absl::Status WriteAll(std::FILE* file, absl::string_view path,
                      absl::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() ||
      std::fflush(file) != 0) {
    return FileError("write", path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckReadable(absl::string_view path) {
  if (path == "-") return absl::OkStatus();
  const std::string name(path);
  struct stat info;
  if (::stat(name.c_str(), &info) != 0) return FileError("open", path);
  if (S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is a directory, not a file"));
  }
  if (::access(name.c_str(), R_OK) != 0) return FileError("open", path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(absl::string_view path) {
  if (path == "-") return ReadAll(stdin, "stdin");
  if (absl::Status s = CheckReadable(path); !s.ok()) return s;
  std::FILE* file = std::fopen(std::string(path).c_str(), "rb");
  if (file == nullptr) return FileError("open", path);
  absl::StatusOr<std::string> bytes = ReadAll(file, path);
  std::fclose(file);
  return bytes;
}

absl::Status WriteFile(absl::string_view path, absl::string_view bytes) {
  if (path == "-") return WriteAll(stdout, "stdout", bytes);
  std::FILE* file = std::fopen(std::string(path).c_str(), "wb");
  if (file == nullptr) return FileError("create", path);
  absl::Status status = WriteAll(file, path, bytes);
  if (std::fclose(file) != 0 && status.ok()) status = FileError("write", path);
  return status;
}

absl::StatusOr<isa::Program> ReadProgram(absl::string_view path) {
  if (absl::Status s = CheckReadable(path); !s.ok()) return s;
  absl::StatusOr<isa::Program> program = isa::ReadProgramFile(path);
  if (program.ok() || absl::StrContains(program.status().message(), path)) {
    return program;
  }
  return absl::Status(program.status().code(),
                      absl::StrCat(path, ": ", program.status().message()));
}

absl::Status WriteProgram(absl::string_view path, const isa::Program& program) {
  return WriteFile(path, absl::EndsWith(path, ".mkasm")
                             ? isa::Disassemble(program)
                             : isa::SerializeProgram(program));
}

}  // namespace mkvm::cli
