// Files of the command line: "-" is stdin or stdout, errors name the file.
#ifndef MKVM_CLI_IO_H_
#define MKVM_CLI_IO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"

namespace mkvm::cli {

// Errors: NotFound, PermissionDenied, FailedPrecondition for a directory;
// each one names `path`.
absl::StatusOr<std::string> ReadFile(absl::string_view path);
absl::Status WriteFile(absl::string_view path, absl::string_view bytes);

// OK if `path` is "-" or a file that can be opened for reading.
absl::Status CheckReadable(absl::string_view path);

// Either form of a program, told apart by content; `path` in every error.
absl::StatusOr<isa::Program> ReadProgram(absl::string_view path);
// Text if `path` ends in .mkasm, else binary.
absl::Status WriteProgram(absl::string_view path, const isa::Program& program);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_IO_H_
