// A program as text that Assemble() reads back.
#ifndef MKVM_ISA_DISASSEMBLER_H_
#define MKVM_ISA_DISASSEMBLER_H_

#include <string>

#include "isa/program.h"

namespace mkvm::isa {

std::string Disassemble(const Program& program);

// One instruction on one line, as in the text form, without its label.
std::string Disassemble(const Program& program, const Instruction& instruction);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_DISASSEMBLER_H_
