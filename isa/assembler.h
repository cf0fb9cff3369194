// The readable text form of a program (.mkasm). Grammar at the head of
// assembler.cc. Disassemble is its inverse: for every program p that parses,
// Assemble(Disassemble(p)) serialises to the same bytes as p.
#ifndef MKVM_ISA_ASSEMBLER_H_
#define MKVM_ISA_ASSEMBLER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"

namespace mkvm::isa {

// Errors: InvalidArgument, "FILE:LINE:COLUMN: error: what", followed by the
// source line and a caret.
absl::StatusOr<Program> Assemble(absl::string_view text,
                                 absl::string_view file_name = "<text>");

}  // namespace mkvm::isa

#endif  // MKVM_ISA_ASSEMBLER_H_
