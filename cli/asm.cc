// mkvm asm: text -> program.
#include <cstdio>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"
#include "isa/assembler.h"

namespace mkvm::cli {

absl::Status AsmVerb(Args args) {
  std::string out;
  Flags flags("asm FILE.mkasm -o FILE.bin",
              "Assembles a program. \"-\" is stdin or stdout.");
  flags.Add("output,o", &out, "FILE", "where the program goes");
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 1, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  if (out.empty()) return UsageError("asm needs -o FILE");
  const std::string& path = files->front();
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<isa::Program> program =
      isa::Assemble(*text, path == "-" ? "<stdin>" : path);
  if (!program.ok()) return program.status();
  return WriteFile(out, isa::SerializeProgram(*program));
}

}  // namespace mkvm::cli
