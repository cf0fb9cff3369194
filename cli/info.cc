// mkvm info: what a program does and what it should cost.
#include "scheduler/info.h"

#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"

namespace mkvm::cli {
namespace {

// The target whose costs predict the time: `flag`, else the one that the
// program names. None for a name without costs ("any").
absl::StatusOr<std::optional<scheduler::Target>> CostTarget(
    const isa::Program& program, const std::string& flag) {
  absl::StatusOr<scheduler::Target> target =
      flag.empty() ? scheduler::FindTarget(program.target.name)
                   : ChooseTarget(flag);
  if (!target.ok()) {
    if (flag.empty()) return std::nullopt;
    return target.status();
  }
  target->workers = program.num_workers();
  return *std::move(target);
}

}  // namespace

absl::Status InfoVerb(Args args) {
  std::string target_flag;
  bool json = false;
  Flags flags("info PROGRAM [FLAGS]",
              "Instructions per opcode, bytes streamed per token, counters, "
              "critical path,\nload balance over the workers, and the cost "
              "model's time.");
  flags.Add("target", &target_flag, "auto|NAME|FILE.json",
            "whose costs predict the time (the program's own target)");
  flags.Add("json", &json, "one JSON object");
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 1, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  absl::StatusOr<isa::Program> program = ReadProgram(files->front());
  if (!program.ok()) return program.status();
  // The figures of an invalid program mean nothing.
  if (absl::Status s = CheckProgram(*program, files->front()); !s.ok()) {
    return s;
  }
  absl::StatusOr<std::optional<scheduler::Target>> target =
      CostTarget(*program, target_flag);
  if (!target.ok()) return target.status();
  const scheduler::ProgramInfo info = scheduler::AnalyzeProgram(
      *program, target->has_value() ? &**target : nullptr);
  std::fputs((json ? absl::StrCat(scheduler::InfoJson(info), "\n")
                   : scheduler::InfoText(info))
                 .c_str(),
             stdout);
  return absl::OkStatus();
}

}  // namespace mkvm::cli
