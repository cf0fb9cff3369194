// docs/isa.md, from the ISA table. `mkvm isa` prints it; a test compares it
// with the file.
#ifndef MKVM_ISA_ISA_DOCS_H_
#define MKVM_ISA_ISA_DOCS_H_

#include <string>

#include "isa/opcode_table.h"

namespace mkvm::isa {

// The whole document.
std::string IsaMarkdown();

// The section of one opcode.
std::string OpcodeMarkdown(const OpcodeInfo& info);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_ISA_DOCS_H_
