// mkvm verify: the proof, or why there is none.
#include "isa/verifier.h"

#include <chrono>
#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"

namespace mkvm::cli {

absl::Status VerifyVerb(Args args) {
  std::optional<int64_t> limit;
  Flags flags("verify PROGRAM",
              "Proves that a program is safe to run: bounds, coverage, order "
              "of every access,\ncounters, progress, budgets. Prints OK, or "
              "what is wrong.");
  flags.Add("max_errors", &limit, "N", "stop after so many (20)");
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 1, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  if (limit.value_or(1) < 1) return UsageError("--max_errors is below 1");
  absl::StatusOr<isa::Program> program = ReadProgram(files->front());
  if (!program.ok()) return program.status();

  isa::VerifyOptions options;
  if (limit) options.max_diagnostics = static_cast<size_t>(*limit);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<isa::Diagnostic> diagnostics =
      isa::Verify(*program, options);
  const std::chrono::duration<double, std::milli> took =
      std::chrono::steady_clock::now() - start;
  for (const isa::Diagnostic& diagnostic : diagnostics) {
    absl::PrintF("%s\n", diagnostic.message);
  }
  if (!diagnostics.empty()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s does not verify: %d error%s%s", files->front(), diagnostics.size(),
        diagnostics.size() == 1 ? "" : "s",
        diagnostics.size() == options.max_diagnostics ? " (stopped there)"
                                                      : ""));
  }
  absl::PrintF(
      "OK: %d instructions, %d workers, %d buffers, %d counters, "
      "%.1f ms\n",
      isa::NumInstructions(*program), program->num_workers(),
      program->buffers.size(), program->counters.size(), took.count());
  return absl::OkStatus();
}

}  // namespace mkvm::cli
