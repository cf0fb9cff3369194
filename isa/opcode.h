// What isa/opcodes.def expands to: the opcode enum, one typed operand struct
// per opcode, and the tables that the assembler, the disassembler, the
// verifier and the documentation read. Host and device.
#ifndef MKVM_ISA_OPCODE_H_
#define MKVM_ISA_OPCODE_H_

#include <cstddef>
#include <cstdint>

#include "isa/f24.h"

namespace mkvm::isa {

// Raised when the meaning of an encoded program changes.
inline constexpr uint32_t kIsaVersion = 2;

// Operand value of an optional buffer that is not given.
inline constexpr uint32_t kNoBuffer = 0xffffffffu;

// Shape of a packed weight panel; see Layout::kPanels in isa/program.h.
inline constexpr uint32_t kPanelRows = 8;
inline constexpr uint32_t kPanelTileColumns = 32;
// A stage of the weight stream holds at most this many columns of one panel.
inline constexpr uint32_t kStageColumns = 1024;
inline constexpr uint32_t kStageBytes = kPanelRows * kStageColumns * 2;
// Shared memory that a GPU worker needs besides its stages. As little as can
// be: so 227 KiB hold 13 of them, 163 KiB 9 and 99 KiB 5.
inline constexpr uint32_t kWorkerReserveBytes = 19 * 1024;

enum class Opcode : uint16_t {
#define MKVM_OP(code, Name, name, synopsis) k##Name = code,
#include "isa/opcodes.def"
};

// Whether an instruction writes nothing before it has seen all that it polls:
// all that advance writes hangs on the best of all candidates. Of others one
// element may be published while the inputs of another are still to come.
constexpr bool WritesLast(Opcode opcode) { return opcode == Opcode::kAdvance; }

inline constexpr int kNumOpcodes = 0
#define MKVM_OP(code, Name, name, synopsis) +1
#include "isa/opcodes.def"
    ;

// Of an operand whose parts are touched from different positions on.
inline constexpr uint32_t kMaxParts = 256;
// How many of `parts` there are at a position: the first ones, part s from
// position s * tokens on; all where tokens is 0.
template <typename Position>
MKVM_HOST_DEVICE constexpr uint32_t PartsAt(Position position, uint32_t tokens,
                                            uint32_t parts) {
  if (tokens == 0 || position / tokens >= parts) return parts;
  return static_cast<uint32_t>(position / tokens) + 1;
}

enum class Prologue : uint32_t { kNone = 0, kRmsNorm = 1 };
enum class Epilogue : uint32_t {
  kStore = 0,
  kAdd = 1,
  kSiluMul = 2,
  kArgmax = 3,
};
enum class AttentionPrologue : uint32_t { kNone = 0, kQkNormRope = 1 };

// Typed operands, e.g. GemvOperands. Plain structs of 32-bit fields in the
// order of the table; they are the payload of an encoded instruction.
#define MKVM_OP(code, Name, name, synopsis) \
  struct Name##Operands {                   \
    static constexpr Opcode kOpcode = Opcode::k##Name;
#define MKVM_READ(field, dtypes, shape, begin, count) \
  uint32_t field = kNoBuffer;
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_U32(field, doc) uint32_t field = 0;
#define MKVM_F32(field, doc) float field = 0;
#define MKVM_OPT_U32(field, value, doc) uint32_t field = value;
#define MKVM_OPT_F32(field, value, doc) float field = value;
#define MKVM_ENUM(field, Type, doc) Type field = Type{};
#define MKVM_END(Name) \
  }                    \
  ;
#include "isa/opcodes.def"

}  // namespace mkvm::isa

#endif  // MKVM_ISA_OPCODE_H_
