// Run-time tables over the ISA: operand names and kinds, requirements and
// access regions of an instruction. All expanded from isa/opcodes.def.
#ifndef MKVM_ISA_OPCODE_TABLE_H_
#define MKVM_ISA_OPCODE_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"

namespace mkvm::isa {

enum class OperandKind : uint8_t { kBuffer, kU32, kF32, kEnum };
enum class AccessKind : uint8_t { kRead, kWeight, kWrite, kUpdate };

struct OperandInfo {
  absl::string_view name;
  OperandKind kind;
  AccessKind access;  // buffers
  bool optional;      // buffers
  // Buffers: only some elements of the region are read, perhaps none.
  bool reads_some;
  // Assembly may leave the operand out: `default_bits` is put there then.
  bool has_default;
  uint32_t default_bits;
  uint32_t dtypes;          // buffers: bit 1 << DType set when allowed
  absl::string_view shape;  // buffers: for the documentation
  absl::string_view doc;    // immediates
  // Enums: the names of the values 0, 1, ..., as in assembly.
  absl::Span<const absl::string_view> values;
};

struct OpcodeInfo {
  Opcode opcode;
  absl::string_view name;  // "gemv"
  absl::string_view synopsis;
  // In encoding order: operand i is word i of the payload.
  absl::Span<const OperandInfo> operands;
  // The message of every MKVM_REQUIRE: what is wrong where it does not hold.
  absl::Span<const absl::string_view> requirements;
};

// All opcodes, ascending by number.
absl::Span<const OpcodeInfo> AllOpcodes();
// nullptr if unknown.
const OpcodeInfo* FindOpcode(uint16_t opcode);
const OpcodeInfo* FindOpcode(absl::string_view name);

// One access of an instruction: elements [begin, begin + count) of `buffer`, in
// passes whose position is in [first_position, end_position).
struct Access {
  static constexpr uint64_t kNoEnd = ~uint64_t{0};

  uint8_t operand;  // index into OpcodeInfo::operands
  AccessKind kind;
  uint32_t buffer;
  uint64_t begin;
  uint64_t count;
  uint64_t first_position = 0;
  uint64_t end_position = kNoEnd;
  // A part of MKVM_PARTS, which is touched in every pass in which there is one.
  bool is_part = false;

  bool HappensAt(uint64_t position) const {
    return position >= first_position && position < end_position;
  }
};
// Appends the accesses of `instruction`. REQUIRES: a known opcode and buffer
// operands that are kNoBuffer or below program.buffers.size().
void AppendAccesses(const Program& program, const Instruction& instruction,
                    std::vector<Access>& accesses);

// Appends the message of every MKVM_REQUIRE that does not hold. REQUIRES: as
// above.
void AppendBrokenRequirements(const Program& program,
                              const Instruction& instruction,
                              std::vector<absl::string_view>& messages);

// "L03.qkv[17], gemv": label and opcode, the label left out if there is none.
std::string LabelAndOpcode(const Program& program, uint32_t worker, uint32_t pc,
                           uint32_t opcode);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_OPCODE_TABLE_H_
