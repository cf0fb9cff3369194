// The flags of verbs that record a trace while they run something.
#ifndef MKVM_CLI_TRACE_FLAGS_H_
#define MKVM_CLI_TRACE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/flags.h"
#include "vm/machine.h"

namespace mkvm::cli {

// "A..B": [begin, end), either side may be left out.
struct Range {
  int64_t begin = 0;
  std::optional<int64_t> end;
};
// `what`: the flag, for the error.
absl::StatusOr<Range> ParseRange(absl::string_view text,
                                 absl::string_view what);

struct TraceFlags {
  std::string file;
  std::string tokens;
  std::optional<int64_t> buffer_mb;

  void AddTo(Flags& flags);
  // Usage errors: flags that need --trace, numbers out of range.
  absl::Status Check() const;
  // What RunOptions::trace is to be; nothing without --trace. REQUIRES: Check.
  std::optional<vm::TraceOptions> Options() const;
  // Writes the file of --trace and says on stderr what it holds. Does nothing
  // without --trace.
  absl::Status Save(vm::RunResult& result, absl::string_view command) const;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_TRACE_FLAGS_H_
