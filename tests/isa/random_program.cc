#include "tests/isa/random_program.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Program Generate();

 private:
  // Not std::uniform_int_distribution, which differs between libraries.
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  uint32_t Bits() { return static_cast<uint32_t>(random_()); }

  std::string Text(size_t max_size);
  std::string Name(size_t i);
  Buffer RandomBuffer(size_t i);
  Instruction RandomInstruction(const Program& program);
  uint32_t RandomIndex(size_t size);
  uint32_t RandomOperand(const Program& program, const OperandInfo& operand);
  void Disturb(Instruction& instruction);

  std::mt19937_64 random_;
};

// Any bytes, with a weakness for those that a text form stumbles over.
std::string Generator::Text(size_t max_size) {
  static constexpr char kSpecial[] = "\"\\#:,[]()%=\n\t\r '\x01\x7f\xc3\xa9";
  std::string text;
  const size_t size = Below(max_size + 1);
  while (text.size() < size) {
    switch (Below(4)) {
      case 0:
        text += kSpecial[Below(sizeof(kSpecial))];  // the 0 at its end, too
        break;
      case 1:
        text += static_cast<char>(Below(256));
        break;
      default:
        text += static_cast<char>('0' + Below(10));
    }
  }
  return text;
}

std::string Generator::Name(size_t i) {
  static constexpr const char* kOdd[] = {"-",    "wait", "lag",  "1e5", "0x10",
                                         "none", "isa",  "halt", "...", "_"};
  if (i < std::size(kOdd) && OneIn(3)) return kOdd[i];
  return absl::StrCat("n", i, OneIn(2) ? ".weight" : "");
}

Buffer Generator::RandomBuffer(size_t i) {
  Buffer buffer;
  buffer.name = Name(i);
  buffer.dtype = static_cast<DType>(Below(5));
  buffer.kind = static_cast<BufferKind>(Below(4));
  buffer.layout = static_cast<Layout>(Below(2));
  const size_t dimensions = 1 + Below(4);
  for (size_t d = 0; d < dimensions; ++d) {
    buffer.shape.push_back(1 + Below(OneIn(4) ? 2000 : 8));
  }
  return buffer;
}

uint32_t Generator::RandomIndex(size_t size) {
  if (size == 0 || OneIn(20)) return Bits();
  if (OneIn(20)) return 0xffffffffu;
  return static_cast<uint32_t>(Below(size));
}

uint32_t Generator::RandomOperand(const Program& program,
                                  const OperandInfo& operand) {
  if (operand.has_default && OneIn(3)) return operand.default_bits;
  switch (operand.kind) {
    case OperandKind::kBuffer:
      return RandomIndex(program.buffers.size());
    case OperandKind::kEnum:
      return OneIn(8) ? Bits()
                      : static_cast<uint32_t>(Below(operand.values.size()));
    case OperandKind::kF32:
      // Every kind of float: any bits, infinities and NaNs, short decimals.
      if (OneIn(4)) return 0x7f800000u | (Bits() & 0x80ffffffu);
      return OneIn(2) ? Bits() : BitsOfFloat(0.001f * (Bits() % 1000));
    case OperandKind::kU32:
      return OneIn(2) ? Bits() : static_cast<uint32_t>(Below(300));
  }
  return 0;
}

// What no operand, wait or flag stands for.
void Generator::Disturb(Instruction& instruction) {
  switch (Below(5)) {
    case 0:
      instruction.flags = static_cast<uint16_t>(Bits());
      break;
    case 1:
      instruction.lags = static_cast<uint8_t>(Bits());
      instruction.tagged = static_cast<uint16_t>(Bits());
      break;
    case 2:
      instruction.polled = Bits();
      break;
    case 3:
      instruction.waits[Below(kMaxWaits)] = {Bits(), Bits()};
      break;
    case 4:
      instruction.operands[Below(kOperandWords)] = Bits();
      break;
  }
}

Instruction Generator::RandomInstruction(const Program& program) {
  const OpcodeInfo& info = AllOpcodes()[Below(AllOpcodes().size())];
  Instruction instruction;
  instruction.opcode = static_cast<uint16_t>(info.opcode);
  for (size_t i = 0; i < info.operands.size(); ++i) {
    instruction.operands[i] = RandomOperand(program, info.operands[i]);
    if (info.operands[i].kind == OperandKind::kBuffer && OneIn(5)) {
      instruction.polled |= 1u << i;
    }
  }
  const uint64_t waits = Below(kMaxWaits + 1);
  for (uint64_t i = 0; i < waits; ++i) {
    const uint32_t counter = RandomIndex(program.counters.size());
    const uint32_t threshold = counter < program.counters.size() && !OneIn(3)
                                   ? program.counters[counter].producers
                                   : Bits();
    AddWait(instruction, counter, threshold, OneIn(3), OneIn(3));
  }
  if (OneIn(2)) {
    instruction.signal = RandomIndex(program.counters.size());
    if (OneIn(3)) instruction.flags &= ~kFlagRelease;
  }
  if (OneIn(10)) Disturb(instruction);
  return instruction;
}

Program Generator::Generate() {
  Program program;
  program.name = Text(20);
  program.model = Text(40);
  program.model_fingerprint = OneIn(3) ? 0 : random_();
  program.target.name = OneIn(2) ? "h200" : Text(10);
  program.target.stages = Bits();
  program.target.stage_bytes = Bits();
  program.target.shared_memory_bytes = Bits();
  const size_t buffers = Below(15);
  for (size_t i = 0; i < buffers; ++i) {
    program.buffers.push_back(RandomBuffer(i));
  }
  const size_t counters = Below(15);
  for (size_t i = 0; i < counters; ++i) {
    program.counters.push_back({Name(i), Bits() % 200});
  }
  program.queues.resize(Below(5));
  program.labels.resize(program.queues.size());
  for (size_t worker = 0; worker < program.queues.size(); ++worker) {
    const size_t size = Below(12);
    for (size_t pc = 0; pc < size; ++pc) {
      program.queues[worker].push_back(RandomInstruction(program));
      program.labels[worker].push_back(OneIn(3)   ? ""
                                       : OneIn(2) ? Text(12)
                                                  : "L03.qkv[17]");
    }
  }
  return program;
}

}  // namespace

Program RandomProgram(uint64_t seed) { return Generator(seed).Generate(); }

}  // namespace mkvm::isa
