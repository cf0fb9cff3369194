// mkvm isa: the instruction set's documentation, from its table.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "cli/flags.h"
#include "cli/verbs.h"
#include "isa/isa_docs.h"
#include "isa/opcode_table.h"

namespace mkvm::cli {

absl::Status IsaVerb(Args args) {
  Flags flags("isa [OPCODE]",
              "Prints the instruction set's documentation, or one opcode's.");
  absl::StatusOr<std::vector<std::string>> names = flags.Parse(args, 0, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!names.ok()) return names.status();
  if (names->empty()) {
    std::fputs(isa::IsaMarkdown().c_str(), stdout);
    return absl::OkStatus();
  }
  const std::string& name = names->front();
  const isa::OpcodeInfo* opcode = isa::FindOpcode(absl::string_view(name));
  if (opcode == nullptr) {
    std::vector<std::string> known;
    for (const isa::OpcodeInfo& info : isa::AllOpcodes()) {
      known.emplace_back(info.name);
    }
    const std::string nearest = NearestName(name, known);
    return UsageError(absl::StrCat(
        "unknown opcode \"", name, "\"",
        nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
  }
  std::fputs(isa::OpcodeMarkdown(*opcode).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace mkvm::cli
