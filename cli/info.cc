// mkvm info: what a program does and what it should cost.
#include "scheduler/info.h"

#include <cstdio>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"

namespace mkvm::cli {

absl::Status InfoVerb(Args args) {
  Flags flags("info PROGRAM",
              "Instructions per opcode, bytes streamed per token, counters, "
              "critical path,\nload balance over the workers, and the cost "
              "model's time.");
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 1, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  absl::StatusOr<isa::Program> program = ReadProgram(files->front());
  if (!program.ok()) return program.status();
  std::fputs(scheduler::InfoText(*program).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace mkvm::cli
