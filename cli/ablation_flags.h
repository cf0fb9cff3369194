// The flags that switch a design choice off, to measure what it is worth
// (docs/benchmarking.md): some of the machine, some of the compiler.
#ifndef MKVM_CLI_ABLATION_FLAGS_H_
#define MKVM_CLI_ABLATION_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "scheduler/compile.h"

namespace mkvm::cli {

struct AblationFlags {
  // Of the GPU machine; vm::GpuAblations says what they do.
  bool no_prefetch = false;
  std::optional<int64_t> fetch_depth = std::nullopt;
  bool launch_per_pass = false;
  bool launch_per_op = false;
  // Of the compiler.
  bool no_fuse = false;
  bool no_split_kv = false;
  bool no_attend_alone = false;
  bool nops = false;

  void AddTo(Flags& flags);
  // Usage errors: numbers out of range, two that exclude each other, one of the
  // compiler with a program that is compiled already (`program`: its file, or
  // "").
  absl::Status Check(absl::string_view program) const;
  // Usage error naming the flag when `device` is a CPU and has no such thing.
  absl::Status ApplyTo(Device& device) const;
  void ApplyTo(scheduler::CompileOptions& options) const;
  // Something is off in the machine.
  bool OfMachine() const;
  // "no_prefetch+fetch_depth=1", or "none".
  std::string Name() const;
};

// The reverse of Name. Usage error naming `flag`.
absl::StatusOr<AblationFlags> ParseAblation(absl::string_view name,
                                            absl::string_view flag);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_ABLATION_FLAGS_H_
