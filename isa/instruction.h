// One encoded instruction: 128 bytes, 128-byte aligned, little-endian.
//
//    byte 0       2       4     5     6        8          12         16
//   +-----------+-------+-----+-----+--------+----------+----------+
//   | opcode    | flags |waits|lags |tagged  | signal   | polled   |
//   +-----------+-------+-----+-----+--------+----------+----------+
//   | wait[0]: counter, threshold   | wait[1]: counter, threshold  |  16
//   | wait[2]: counter, threshold   | wait[3]: counter, threshold  |  32
//   +-------------------------------+------------------------------+
//   | operands: up to 20 32-bit fields in the order of opcodes.def |  48..127
//   +---------------------------------------------------------------+
//
// waits   number of waits, 0..4
// lags    bit i: wait i is for the previous pass, not for this one
// tagged  bit i: wait i is carried by tagged data (see below)
// signal  counter to which 1 is added when the instruction's writes are
//         visible, or kNoCounter
// polled  bit i: operand i (buffer operands, in the order of the table) is read
//         by polling the tags of its elements
//
// Meaning of wait i in pass p (0-based): the instruction starts after counter
// `counter` has reached p * producers + threshold (lag 0), or
// (p - 1) * producers + threshold (lag 1; no wait in pass 0). Counters are
// monotone: nothing is reset between passes. The all-join rule makes
// threshold == producers the only valid value.
//
// A wait whose tagged bit is set may be carried out by the reader's polling
// instead: every element of the polled operands carries the tag of the pass
// that wrote it. It orders the polled data themselves, not other memory. The
// signal still ticks the counter, so that watchdog and trace see it.
#ifndef MKVM_ISA_INSTRUCTION_H_
#define MKVM_ISA_INSTRUCTION_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "isa/opcode.h"

namespace mkvm::isa {

inline constexpr uint32_t kNoCounter = 0xffffffffu;
inline constexpr int kMaxWaits = 4;
inline constexpr int kOperandWords = 20;

struct Wait {
  uint32_t counter;
  uint32_t threshold;
};

// Instruction::flags.
// The signal is a release: other workers acquire it with a counter wait. Clear
// when every waiter polls tagged data, so that no fence is paid for.
inline constexpr uint16_t kFlagRelease = 1;

struct alignas(128) Instruction {
  uint16_t opcode = 0;
  uint16_t flags = kFlagRelease;
  uint8_t num_waits = 0;
  uint8_t lags = 0;
  uint16_t tagged = 0;
  uint32_t signal = kNoCounter;
  uint32_t polled = 0;
  Wait waits[kMaxWaits] = {};
  uint32_t operands[kOperandWords] = {};

  MKVM_HOST_DEVICE bool WaitIsLagged(int i) const { return lags >> i & 1; }
  MKVM_HOST_DEVICE bool WaitIsTagged(int i) const { return tagged >> i & 1; }
  MKVM_HOST_DEVICE bool OperandIsPolled(int i) const { return polled >> i & 1; }
};
static_assert(sizeof(Instruction) == 128);
static_assert(std::is_trivially_copyable_v<Instruction>);

// Every operand struct is 32-bit fields only and fits the payload.
#define MKVM_OP(code, Name, name, synopsis)                                \
  static_assert(sizeof(Name##Operands) <= sizeof(Instruction::operands) || \
                std::is_empty_v<Name##Operands>);                          \
  static_assert(std::is_trivially_copyable_v<Name##Operands>);
#include "isa/opcodes.def"

// The typed view of the payload.
// REQUIRES: i.opcode == Operands::kOpcode.
template <typename Operands>
MKVM_HOST_DEVICE inline Operands DecodeOperands(const Instruction& i) {
  Operands op;
  if constexpr (!std::is_empty_v<Operands>) {
    std::memcpy(&op, i.operands, sizeof(op));
  }
  return op;
}

template <typename Operands>
inline Instruction Encode(const Operands& op) {
  Instruction i;
  i.opcode = static_cast<uint16_t>(Operands::kOpcode);
  if constexpr (!std::is_empty_v<Operands>) {
    std::memcpy(i.operands, &op, sizeof(op));
  }
  return i;
}

// REQUIRES: i.num_waits < kMaxWaits.
inline void AddWait(Instruction& i, uint32_t counter, uint32_t threshold,
                    bool lag = false, bool tagged = false) {
  i.waits[i.num_waits] = {counter, threshold};
  if (lag) i.lags |= 1u << i.num_waits;
  if (tagged) i.tagged |= 1u << i.num_waits;
  ++i.num_waits;
}

}  // namespace mkvm::isa

#endif  // MKVM_ISA_INSTRUCTION_H_
