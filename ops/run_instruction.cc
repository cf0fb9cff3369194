#include "absl/strings/str_format.h"
#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunInstruction(const isa::Instruction& instruction,
                            OpContext& context) {
  switch (static_cast<isa::Opcode>(instruction.opcode)) {
#define MKVM_OP(code, Name, name, synopsis)                                 \
  case isa::Opcode::k##Name:                                                \
    return Run##Name(isa::DecodeOperands<isa::Name##Operands>(instruction), \
                     context);
#include "isa/opcodes.def"
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("unknown opcode 0x%02x", instruction.opcode));
}

}  // namespace mkvm::ops
