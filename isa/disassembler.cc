#include "isa/disassembler.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "isa/f24.h"
#include "isa/mkasm_lexer.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

constexpr size_t kWords = sizeof(Instruction) / sizeof(uint32_t);
// Names are padded to the longest one, within reason.
constexpr size_t kLongestPadding = 48;

std::string BufferText(const Program& program, const OperandInfo& operand,
                       uint32_t buffer) {
  if (buffer == kNoBuffer && operand.optional) return "-";
  if (buffer >= program.buffers.size()) return absl::StrCat("%", buffer);
  return QuoteUnlessName(program.buffers[buffer].name);
}

std::string CounterText(const Program& program, uint32_t counter) {
  if (counter >= program.counters.size()) return absl::StrCat("%", counter);
  return QuoteUnlessName(program.counters[counter].name);
}

// The shortest text that reads back as the same bits.
std::string FloatText(uint32_t bits) {
  const float value = FloatOfBits(bits);
  if (std::isnan(value)) {
    return bits == 0x7fc00000u ? "nan" : absl::StrFormat("nan(0x%08x)", bits);
  }
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

std::string OperandText(const Program& program, const OperandInfo& operand,
                        uint32_t bits) {
  switch (operand.kind) {
    case OperandKind::kBuffer:
      return BufferText(program, operand, bits);
    case OperandKind::kU32:
      return absl::StrCat(bits);
    case OperandKind::kF32:
      return FloatText(bits);
    case OperandKind::kEnum:
      return bits < operand.values.size() ? std::string(operand.values[bits])
                                          : absl::StrCat(bits);
  }
  return "";
}

// Writes the text of an instruction and, beside it, the instruction that this
// text stands for; where the two differ, raw(...) makes up for it.
class InstructionWriter {
 public:
  InstructionWriter(const Program& program, const Instruction& instruction)
      : program_(program), instruction_(instruction) {}

  std::string Write();

 private:
  void WriteOperands(const OpcodeInfo& info);
  void WriteWaits();
  void WriteSignal();
  void WritePolled(const OpcodeInfo& info);
  void WriteRaw();

  const Program& program_;
  const Instruction& instruction_;
  std::string text_;
  Instruction written_;
};

void InstructionWriter::WriteOperands(const OpcodeInfo& info) {
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const OperandInfo& operand = info.operands[i];
    const uint32_t bits = instruction_.operands[i];
    written_.operands[i] = bits;
    if (operand.has_default && bits == operand.default_bits) continue;
    absl::StrAppend(&text_, " ", operand.name, "=",
                    OperandText(program_, operand, bits));
  }
}

void InstructionWriter::WriteWaits() {
  const int count = std::min<int>(instruction_.num_waits, kMaxWaits);
  if (count == 0) return;
  for (int i = 0; i < count; ++i) {
    const Wait wait = instruction_.waits[i];
    const bool lag = instruction_.WaitIsLagged(i);
    const bool tagged = instruction_.WaitIsTagged(i);
    AddWait(written_, wait.counter, wait.threshold, lag, tagged);
    absl::StrAppend(&text_, i == 0 ? " wait(" : ", ",
                    CounterText(program_, wait.counter));
    if (wait.counter >= program_.counters.size() ||
        wait.threshold != program_.counters[wait.counter].producers) {
      absl::StrAppend(&text_, " >= ", wait.threshold);
    }
    absl::StrAppend(&text_, lag ? " lag" : "", tagged ? " tagged" : "");
  }
  absl::StrAppend(&text_, ")");
}

void InstructionWriter::WriteSignal() {
  if (instruction_.signal == kNoCounter) return;
  const bool release = (instruction_.flags & kFlagRelease) != 0;
  written_.signal = instruction_.signal;
  if (!release) written_.flags = 0;
  absl::StrAppend(&text_, " signal(",
                  CounterText(program_, instruction_.signal),
                  release ? ")" : " relaxed)");
}

void InstructionWriter::WritePolled(const OpcodeInfo& info) {
  std::vector<absl::string_view> names;
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!instruction_.OperandIsPolled(static_cast<int>(i))) continue;
    if (info.operands[i].kind != OperandKind::kBuffer) continue;
    names.push_back(info.operands[i].name);
    written_.polled |= 1u << i;
  }
  if (names.empty()) return;
  absl::StrAppend(&text_, " polled(", absl::StrJoin(names, ", "), ")");
}

void InstructionWriter::WriteRaw() {
  uint32_t wanted[kWords];
  uint32_t written[kWords];
  std::memcpy(wanted, &instruction_, sizeof(wanted));
  std::memcpy(written, &written_, sizeof(written));
  std::vector<std::string> words;
  for (size_t i = 0; i < kWords; ++i) {
    if (wanted[i] == written[i]) continue;
    words.push_back(absl::StrFormat("%u=0x%08x", i, wanted[i]));
  }
  if (words.empty()) return;
  absl::StrAppend(&text_, " raw(", absl::StrJoin(words, ", "), ")");
}

std::string InstructionWriter::Write() {
  const OpcodeInfo* info = FindOpcode(instruction_.opcode);
  // An unknown opcode becomes a nop whose raw words say the rest.
  if (info == nullptr) info = FindOpcode(static_cast<uint16_t>(Opcode::kNop));
  written_.opcode = static_cast<uint16_t>(info->opcode);
  text_ = std::string(info->name);
  WriteOperands(*info);
  WriteWaits();
  WriteSignal();
  WritePolled(*info);
  WriteRaw();
  return text_;
}

void AppendIdentity(const Program& program, std::string& text) {
  const Target& target = program.target;
  absl::StrAppend(&text, "isa ", kIsaVersion, "\nprogram ", Quote(program.name),
                  "\n");
  if (!program.model.empty() || program.model_fingerprint != 0) {
    absl::StrAppend(&text, "model ", Quote(program.model));
    if (program.model_fingerprint != 0) {
      absl::StrAppendFormat(&text, " fingerprint=0x%016x",
                            program.model_fingerprint);
    }
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "target ", QuoteUnlessName(target.name),
                  " stages=", target.stages,
                  " stage_bytes=", target.stage_bytes,
                  " shared_memory_bytes=", target.shared_memory_bytes, "\n");
}

template <typename Named>
int LongestName(const std::vector<Named>& all) {
  size_t longest = 0;
  for (const Named& one : all) longest = std::max(longest, one.name.size());
  return static_cast<int>(std::min(longest, kLongestPadding));
}

void AppendDeclarations(const Program& program, std::string& text) {
  const int buffer_width = LongestName(program.buffers);
  absl::StrAppend(&text, "\n");
  for (const Buffer& buffer : program.buffers) {
    absl::StrAppendFormat(&text, "buffer %-*s %-6s [%s] %s", buffer_width,
                          QuoteUnlessName(buffer.name), Name(buffer.dtype),
                          absl::StrJoin(buffer.shape, ", "), Name(buffer.kind));
    if (buffer.layout != Layout::kRows) {
      absl::StrAppend(&text, " layout=", Name(buffer.layout));
    }
    absl::StrAppend(&text, "\n");
  }
  const int counter_width = LongestName(program.counters);
  absl::StrAppend(&text, "\n");
  for (const Counter& counter : program.counters) {
    absl::StrAppendFormat(&text, "counter %-*s producers=%u\n", counter_width,
                          QuoteUnlessName(counter.name), counter.producers);
  }
}

}  // namespace

std::string Disassemble(const Program& program,
                        const Instruction& instruction) {
  return InstructionWriter(program, instruction).Write();
}

std::string Disassemble(const Program& program) {
  std::string text;
  AppendIdentity(program, text);
  AppendDeclarations(program, text);
  for (size_t worker = 0; worker < program.queues.size(); ++worker) {
    absl::StrAppend(&text, "\nworker ", worker, "\n");
    for (size_t pc = 0; pc < program.queues[worker].size(); ++pc) {
      absl::StrAppend(&text, "  ");
      if (worker < program.labels.size() &&
          pc < program.labels[worker].size() &&
          !program.labels[worker][pc].empty()) {
        absl::StrAppend(&text, QuoteUnlessLabel(program.labels[worker][pc]),
                        ": ");
      }
      absl::StrAppend(&text, Disassemble(program, program.queues[worker][pc]),
                      "\n");
    }
  }
  return text;
}

}  // namespace mkvm::isa
