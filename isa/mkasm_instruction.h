// One instruction of the text form. Grammar: assembler.cc.
#ifndef MKVM_ISA_MKASM_INSTRUCTION_H_
#define MKVM_ISA_MKASM_INSTRUCTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "isa/instruction.h"
#include "isa/mkasm_cursor.h"

namespace mkvm::isa {

// Names declared so far, by index.
using NameMap = absl::flat_hash_map<std::string, uint32_t>;

// "; did you mean 'x'?" among the keys.
std::string DidYouMean(absl::string_view word, const NameMap& names);

// A word of the encoding set by raw(...).
struct RawWord {
  uint32_t index;
  uint32_t value;
};

struct ParsedInstruction {
  Instruction instruction;
  // Bit i: wait i gives no threshold; it is the counter's producers, known at
  // the end of the text.
  uint32_t open_thresholds = 0;
  // To be applied last.
  std::vector<RawWord> raw;
};

// Parses from the opcode to the end of the line. Fails at the cursor.
ParsedInstruction ParseInstruction(Cursor& cursor, const NameMap& buffers,
                                   const NameMap& counters);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_MKASM_INSTRUCTION_H_
