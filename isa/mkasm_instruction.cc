#include "isa/mkasm_instruction.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "isa/f24.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

constexpr absl::string_view kModifiers[] = {"wait", "signal", "polled", "raw"};
constexpr uint32_t kWords = sizeof(Instruction) / sizeof(uint32_t);

class InstructionParser {
 public:
  InstructionParser(Cursor& cursor, const NameMap& buffers,
                    const NameMap& counters)
      : cursor_(cursor), buffers_(buffers), counters_(counters) {}

  ParsedInstruction Parse();

 private:
  void ParseOpcode();
  void ParseOperandOrModifier();
  void ParseOperand(const Token& name);
  uint32_t ParseValue(const OperandInfo& operand);
  uint32_t ParseBuffer(const OperandInfo& operand);
  uint32_t ParseEnum(const OperandInfo& operand);
  uint32_t ParseFloat(const OperandInfo& operand);
  uint32_t ParseCounter();
  void ParseWait();
  void ParseSignal();
  void ParsePolled();
  void ParseRaw();
  void FillDefaults();

  // Index of the operand of that name; fails with a suggestion.
  size_t FindOperand(const Token& name, bool or_modifier);
  // Calls `parse` for "(" item {"," item} ")".
  template <typename ParseItem>
  void ParseList(ParseItem parse) {
    cursor_.ExpectSymbol("(");
    do {
      parse();
    } while (cursor_.TakeSymbol(","));
    cursor_.ExpectSymbol(")");
  }

  Cursor& cursor_;
  const NameMap& buffers_;
  const NameMap& counters_;
  const OpcodeInfo* info_ = nullptr;
  const Token* opcode_ = nullptr;
  uint32_t given_ = 0;  // bit i: operand i was given
  bool signal_given_ = false;
  ParsedInstruction out_;
};

void InstructionParser::ParseOpcode() {
  opcode_ = &cursor_.ExpectWord("an opcode");
  if (!cursor_.ok()) return;
  info_ = FindOpcode(opcode_->text);
  if (info_ != nullptr) {
    out_.instruction.opcode = static_cast<uint16_t>(info_->opcode);
    return;
  }
  std::vector<absl::string_view> words = {"worker", "buffer", "counter"};
  for (const OpcodeInfo& info : AllOpcodes()) words.push_back(info.name);
  cursor_.Fail(*opcode_, absl::StrCat("unknown opcode '", opcode_->text, "'",
                                      DidYouMean(opcode_->text, words)));
}

size_t InstructionParser::FindOperand(const Token& name, bool or_modifier) {
  std::vector<absl::string_view> words;
  for (size_t i = 0; i < info_->operands.size(); ++i) {
    if (info_->operands[i].name == name.text) return i;
    words.push_back(info_->operands[i].name);
  }
  if (or_modifier) {
    words.insert(words.end(), std::begin(kModifiers), std::end(kModifiers));
  }
  cursor_.Fail(name, absl::StrCat(info_->name, " has no operand '", name.text,
                                  "'", DidYouMean(name.text, words)));
  return 0;
}

void InstructionParser::ParseOperandOrModifier() {
  const Token& name = cursor_.ExpectWord("an operand");
  if (!cursor_.ok()) return;
  if (name.text == "wait") return ParseList([this] { ParseWait(); });
  if (name.text == "signal") return ParseSignal();
  if (name.text == "polled") return ParseList([this] { ParsePolled(); });
  if (name.text == "raw") return ParseList([this] { ParseRaw(); });
  if (cursor_.Peek().IsSymbol("(")) {
    cursor_.Fail(name, absl::StrCat("'", name.text, "(' means nothing here",
                                    DidYouMean(name.text, kModifiers)));
    return;
  }
  ParseOperand(name);
}

void InstructionParser::ParseOperand(const Token& name) {
  const size_t i = FindOperand(name, /*or_modifier=*/true);
  if (!cursor_.ok()) return;
  if (given_ >> i & 1) {
    cursor_.Fail(name, absl::StrCat(name.text, " is given twice"));
  }
  given_ |= 1u << i;
  cursor_.ExpectSymbol("=");
  if (cursor_.ok()) {
    out_.instruction.operands[i] = ParseValue(info_->operands[i]);
  }
}

uint32_t InstructionParser::ParseValue(const OperandInfo& operand) {
  switch (operand.kind) {
    case OperandKind::kBuffer:
      return ParseBuffer(operand);
    case OperandKind::kU32:
      return cursor_.ExpectU32(operand.name);
    case OperandKind::kF32:
      return ParseFloat(operand);
    case OperandKind::kEnum:
      return ParseEnum(operand);
  }
  return 0;
}

uint32_t InstructionParser::ParseBuffer(const OperandInfo& operand) {
  const Token& token = cursor_.Peek();
  if (token.kind == TokenKind::kReference) return cursor_.ExpectU32("buffer");
  const std::string name = cursor_.ExpectText("a buffer");
  if (!cursor_.ok()) return kNoBuffer;
  if (token.IsWord("-")) {
    if (!operand.optional) {
      cursor_.Fail(token, absl::StrCat(operand.name, " is not optional"));
    }
    return kNoBuffer;
  }
  const auto found = buffers_.find(name);
  if (found != buffers_.end()) return found->second;
  cursor_.Fail(token, absl::StrCat("no buffer is named '", name, "'",
                                   DidYouMean(name, buffers_)));
  return kNoBuffer;
}

uint32_t InstructionParser::ParseEnum(const OperandInfo& operand) {
  const Token& token = cursor_.ExpectWord(operand.name);
  if (!cursor_.ok()) return 0;
  for (size_t i = 0; i < operand.values.size(); ++i) {
    if (operand.values[i] == token.text) return static_cast<uint32_t>(i);
  }
  if (absl::ascii_isdigit(static_cast<unsigned char>(token.text[0]))) {
    return static_cast<uint32_t>(
        cursor_.NumberOf(token, operand.name, 0xffffffffu));
  }
  cursor_.Fail(token, absl::StrCat(operand.name, " is one of ",
                                   absl::StrJoin(operand.values, ", "),
                                   ", not '", token.text, "'",
                                   DidYouMean(token.text, operand.values)));
  return 0;
}

// Decimal, inf, -inf, nan, or nan(BITS) for one NaN among many.
uint32_t InstructionParser::ParseFloat(const OperandInfo& operand) {
  const Token& token = cursor_.ExpectWord("a number");
  if (!cursor_.ok()) return 0;
  if (token.text == "nan") {
    if (!cursor_.TakeSymbol("(")) return 0x7fc00000u;
    const Token& bits_token = cursor_.Peek();
    const uint32_t bits = cursor_.ExpectU32("bits of a NaN");
    cursor_.ExpectSymbol(")");
    if (cursor_.ok() && FloatOfBits(bits) == FloatOfBits(bits)) {
      cursor_.Fail(bits_token, absl::StrCat(Describe(bits_token),
                                            " are not the bits of a NaN"));
    }
    return bits;
  }
  float value = 0;
  const char* end = token.text.data() + token.text.size();
  const auto result = std::from_chars(token.text.data(), end, value);
  if (result.ec == std::errc::result_out_of_range) {
    cursor_.Fail(token, absl::StrCat(operand.name, ": '", token.text,
                                     "' is out of the range of binary32"));
  } else if (result.ec != std::errc() || result.ptr != end) {
    cursor_.Fail(token, absl::StrCat(operand.name, ": '", token.text,
                                     "' is not a number"));
  }
  return BitsOfFloat(value);
}

uint32_t InstructionParser::ParseCounter() {
  const Token& token = cursor_.Peek();
  if (token.kind == TokenKind::kReference) return cursor_.ExpectU32("counter");
  const std::string name = cursor_.ExpectText("a counter");
  if (!cursor_.ok()) return kNoCounter;
  const auto found = counters_.find(name);
  if (found != counters_.end()) return found->second;
  cursor_.Fail(token, absl::StrCat("no counter is named '", name, "'",
                                   DidYouMean(name, counters_)));
  return kNoCounter;
}

void InstructionParser::ParseWait() {
  Instruction& instruction = out_.instruction;
  const int i = instruction.num_waits;
  if (i == kMaxWaits) {
    cursor_.Fail(cursor_.Peek(),
                 absl::StrCat("more than ", kMaxWaits, " waits"));
    return;
  }
  Wait wait = {ParseCounter(), 0};
  if (cursor_.TakeSymbol(">=")) {
    wait.threshold = cursor_.ExpectU32("threshold");
  } else {
    out_.open_thresholds |= 1u << i;
  }
  const bool lag = cursor_.TakeWord("lag");
  const bool tagged = cursor_.TakeWord("tagged");
  AddWait(instruction, wait.counter, wait.threshold, lag, tagged);
}

void InstructionParser::ParseSignal() {
  if (signal_given_) {
    cursor_.Fail(cursor_.Peek(), "an instruction signals one counter only");
    return;
  }
  signal_given_ = true;
  cursor_.ExpectSymbol("(");
  out_.instruction.signal = ParseCounter();
  if (cursor_.TakeWord("relaxed")) out_.instruction.flags &= ~kFlagRelease;
  cursor_.ExpectSymbol(")");
}

void InstructionParser::ParsePolled() {
  const Token& name = cursor_.ExpectWord("an operand");
  if (!cursor_.ok()) return;
  const size_t i = FindOperand(name, /*or_modifier=*/false);
  if (!cursor_.ok()) return;
  if (info_->operands[i].kind != OperandKind::kBuffer) {
    cursor_.Fail(name, absl::StrCat(name.text, " is not a buffer"));
  } else if (out_.instruction.OperandIsPolled(static_cast<int>(i))) {
    cursor_.Fail(name, absl::StrCat(name.text, " is given twice"));
  }
  out_.instruction.polled |= 1u << i;
}

void InstructionParser::ParseRaw() {
  const Token& token = cursor_.Peek();
  const auto index =
      static_cast<uint32_t>(cursor_.ExpectNumber("raw word", kWords - 1));
  for (const RawWord& word : out_.raw) {
    if (cursor_.ok() && word.index == index) {
      cursor_.Fail(token, absl::StrCat("word ", index, " is given twice"));
    }
  }
  cursor_.ExpectSymbol("=");
  const uint32_t value = cursor_.ExpectU32("raw value");
  if (cursor_.ok()) out_.raw.push_back({index, value});
}

void InstructionParser::FillDefaults() {
  std::vector<absl::string_view> missing;
  for (size_t i = 0; i < info_->operands.size(); ++i) {
    const OperandInfo& operand = info_->operands[i];
    if (given_ >> i & 1) continue;
    if (operand.has_default) {
      out_.instruction.operands[i] = operand.default_bits;
    } else {
      missing.push_back(operand.name);
    }
  }
  if (missing.empty()) return;
  cursor_.Fail(*opcode_, absl::StrCat(info_->name, " lacks ",
                                      absl::StrJoin(missing, ", ")));
}

ParsedInstruction InstructionParser::Parse() {
  ParseOpcode();
  while (cursor_.ok() && !cursor_.AtLineEnd()) ParseOperandOrModifier();
  if (cursor_.ok()) FillDefaults();
  if (cursor_.ok()) cursor_.ExpectLineEnd();
  return out_;
}

}  // namespace

std::string DidYouMean(absl::string_view word, const NameMap& names) {
  // Sorted, so that the message does not depend on the order of a hash map.
  std::vector<absl::string_view> candidates;
  candidates.reserve(names.size());
  for (const auto& [name, index] : names) candidates.push_back(name);
  std::sort(candidates.begin(), candidates.end());
  return DidYouMean(word, candidates);
}

ParsedInstruction ParseInstruction(Cursor& cursor, const NameMap& buffers,
                                   const NameMap& counters) {
  return InstructionParser(cursor, buffers, counters).Parse();
}

}  // namespace mkvm::isa
