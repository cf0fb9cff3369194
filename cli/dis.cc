// mkvm dis: program -> text.
#include <cstdio>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"
#include "isa/disassembler.h"

namespace mkvm::cli {

absl::Status DisVerb(Args args) {
  std::string out = "-";
  Flags flags("dis PROGRAM [-o FILE.mkasm]",
              "Prints a program as the text that `mkvm asm` reads back.");
  flags.Add("output,o", &out, "FILE", "where the text goes (stdout)");
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 1, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  absl::StatusOr<isa::Program> program = ReadProgram(files->front());
  if (!program.ok()) return program.status();
  return WriteFile(out, isa::Disassemble(*program));
}

}  // namespace mkvm::cli
