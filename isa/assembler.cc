// The text form of a program.
//
//   text        = { [ statement ] newline }
//   statement   = "isa" number                    version; may be left out
//               | "program" text
//               | "model" text [ "fingerprint" "=" number ]
//               | "target" text { limit "=" number }
//               | "buffer" name dtype shape kind [ "layout" "=" layout ]
//               | "counter" name [ "producers" "=" number ]
//               | "worker" number                 opens the next queue
//               | [ label ":" ] instruction       goes to the open queue
//   limit       = "stages" | "stage_bytes" | "shared_memory_bytes"
//   dtype       = "f24" | "bf16" | "f32" | "i32" | "ranked"
//   shape       = "[" number { "," number } "]"
//   kind        = "weight" | "input" | "activation" | "state"
//   layout      = "rows" | "panels"
//
//   instruction = opcode { operand | modifier }
//   operand     = name "=" ( buffer | number | float | enumerator )
//   buffer      = name | "-" (none) | "%" number (by index)
//   modifier    = "wait" "(" wait { "," wait } ")"
//               | "signal" "(" counter [ "relaxed" ] ")"
//               | "polled" "(" name { "," name } ")"
//               | "raw" "(" number "=" number { "," number "=" number } ")"
//   wait        = counter [ ">=" number ] [ "lag" ] [ "tagged" ]
//   counter     = name | "%" number (by index)
//   float       = decimal | "inf" | "-inf" | "nan" [ "(" number ")" ]
//   number      = decimal | "0x" hexadecimal
//   name, text  = letters, digits, "_", ".", "-"; or a C string in quotes
//   label       = the same and "+", "[", "]", "/", ","; or a C string
//
// "#" begins a comment; a backslash at the end of a line joins it with the
// next. Names are declared before their use. Left out, a threshold is the
// counter's producers, producers are the signals found, and an operand is its
// default in opcodes.def. A signal is a release unless it is relaxed.
//
// raw(WORD=VALUE) sets a 32-bit word of the encoding, counted from 0, after
// everything else: the disassembler's way to write down what is no valid
// instruction, so that the verifier can say why.
#include "isa/assembler.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "isa/mkasm_cursor.h"
#include "isa/mkasm_instruction.h"
#include "isa/mkasm_lexer.h"
#include "isa/opcode_table.h"
#include "isa/program_format.h"

namespace mkvm::isa {
namespace {

class Assembler {
 public:
  explicit Assembler(Cursor& cursor) : cursor_(cursor) {}

  absl::StatusOr<Program> Run();

 private:
  // What the end of the text has yet to complete, of one instruction.
  struct Open {
    size_t worker;
    size_t pc;
    Token token;  // where to point
    ParsedInstruction parsed;
  };

  void ParseStatement();
  void ParseIsa();
  void ParseProgram();
  void ParseModel();
  void ParseTarget();
  void ParseBuffer();
  void ParseCounter();
  void ParseWorker();
  void ParseInstructionLine();
  bool OncePerText(const Token& keyword);
  std::string ParseNewName(absl::string_view what, NameMap& names);
  std::vector<uint64_t> ParseShape();
  template <typename Enum>
  Enum ParseEnum(absl::string_view what, Enum last);
  // Calls `parse(key token)` for every "key" "=" up to the end of the line,
  // each of `keys` at most once.
  template <typename ParseSetting>
  void ParseSettings(absl::Span<const absl::string_view> keys,
                     ParseSetting parse);

  void CountProducers();
  void CloseThresholds();
  void ApplyRawWords();

  Cursor& cursor_;
  Program program_;
  NameMap buffers_;
  NameMap counters_;
  absl::flat_hash_set<std::string> keywords_seen_;
  std::vector<bool> producers_given_;  // by counter
  std::vector<Open> open_;
};

bool Assembler::OncePerText(const Token& keyword) {
  if (keywords_seen_.insert(keyword.text).second) return true;
  cursor_.Fail(keyword, absl::StrCat("'", keyword.text, "' is given twice"));
  return false;
}

template <typename ParseSetting>
void Assembler::ParseSettings(absl::Span<const absl::string_view> keys,
                              ParseSetting parse) {
  absl::flat_hash_set<std::string> seen;
  while (!cursor_.AtLineEnd()) {
    const Token& key = cursor_.ExpectWord(absl::StrJoin(keys, " or "));
    if (!cursor_.ok()) return;
    bool known = false;
    for (absl::string_view name : keys) known = known || key.text == name;
    if (!known) {
      cursor_.Fail(key, absl::StrCat("no setting '", key.text, "' here",
                                     DidYouMean(key.text, keys)));
    } else if (!seen.insert(key.text).second) {
      cursor_.Fail(key, absl::StrCat(key.text, " is given twice"));
    }
    cursor_.ExpectSymbol("=");
    if (cursor_.ok()) parse(key.text);
  }
}

template <typename Enum>
Enum Assembler::ParseEnum(absl::string_view what, Enum last) {
  const Token& token = cursor_.ExpectWord(what);
  std::vector<absl::string_view> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(last); ++i) {
    const auto value = static_cast<Enum>(i);
    if (token.text == Name(value)) return value;
    names.push_back(Name(value));
  }
  cursor_.Fail(token, absl::StrCat(what, " (", absl::StrJoin(names, ", "),
                                   ") expected, not ", Describe(token),
                                   DidYouMean(token.text, names)));
  return Enum{};
}

void Assembler::ParseIsa() {
  const Token& token = cursor_.Peek();
  const uint32_t version = cursor_.ExpectU32("isa");
  if (cursor_.ok() && version != kIsaVersion) {
    cursor_.Fail(token, absl::StrCat("isa version ", version,
                                     "; this build reads ", kIsaVersion));
  }
}

void Assembler::ParseProgram() {
  program_.name = cursor_.ExpectText("the program's name");
}

void Assembler::ParseModel() {
  program_.model = cursor_.ExpectText("a description of the model");
  ParseSettings({"fingerprint"}, [this](absl::string_view key) {
    program_.model_fingerprint = cursor_.ExpectNumber(key);
  });
}

void Assembler::ParseTarget() {
  Target& target = program_.target;
  target.name = cursor_.ExpectText("the target's name");
  ParseSettings({"stages", "stage_bytes", "shared_memory_bytes"},
                [&](absl::string_view key) {
                  const uint32_t value = cursor_.ExpectU32(key);
                  if (key == "stages") {
                    target.stages = value;
                  } else if (key == "stage_bytes") {
                    target.stage_bytes = value;
                  } else {
                    target.shared_memory_bytes = value;
                  }
                });
}

std::string Assembler::ParseNewName(absl::string_view what, NameMap& names) {
  const Token& token = cursor_.Peek();
  std::string name = cursor_.ExpectText(absl::StrCat("the ", what, "'s name"));
  if (!cursor_.ok()) return name;
  if (!IsWellFormedName(name)) {
    cursor_.Fail(token, absl::StrCat("a ", what,
                                     "'s name is made of letters, digits, "
                                     "'_', '.' and '-'"));
  } else if (!names.try_emplace(name, names.size()).second) {
    cursor_.Fail(token, absl::StrCat(what, " '", name, "' is declared twice"));
  }
  return name;
}

std::vector<uint64_t> Assembler::ParseShape() {
  std::vector<uint64_t> shape;
  cursor_.ExpectSymbol("[");
  do {
    shape.push_back(cursor_.ExpectNumber("dimension"));
  } while (cursor_.TakeSymbol(","));
  cursor_.ExpectSymbol("]");
  return shape;
}

void Assembler::ParseBuffer() {
  Buffer buffer;
  buffer.name = ParseNewName("buffer", buffers_);
  buffer.dtype = ParseEnum("a dtype", DType::kRanked);
  const Token& shape = cursor_.Peek();
  buffer.shape = ParseShape();
  if (!cursor_.ok()) return;
  const absl::string_view wrong =
      WhyShapeIsMalformed(buffer.shape, SizeOf(buffer.dtype));
  if (!wrong.empty()) return cursor_.Fail(shape, wrong);
  buffer.kind = ParseEnum("a kind", BufferKind::kState);
  ParseSettings({"layout"}, [&](absl::string_view) {
    buffer.layout = ParseEnum("a layout", Layout::kPanels);
  });
  program_.buffers.push_back(std::move(buffer));
}

void Assembler::ParseCounter() {
  Counter counter;
  counter.name = ParseNewName("counter", counters_);
  bool given = false;
  ParseSettings({"producers"}, [&](absl::string_view key) {
    counter.producers = cursor_.ExpectU32(key);
    given = true;
  });
  program_.counters.push_back(std::move(counter));
  producers_given_.push_back(given);
}

void Assembler::ParseWorker() {
  const Token& token = cursor_.Peek();
  const uint32_t worker = cursor_.ExpectU32("worker");
  if (cursor_.ok() && worker != program_.queues.size()) {
    cursor_.Fail(token, absl::StrCat("worker ", worker, " where worker ",
                                     program_.queues.size(), " comes next"));
  }
  program_.queues.emplace_back();
  program_.labels.emplace_back();
}

void Assembler::ParseInstructionLine() {
  std::string label;
  if (cursor_.Peek().kind == TokenKind::kLabel) {
    const Token& token = cursor_.Next();
    label = token.text;
    if (label.size() > kMaxLabelBytes) {
      return cursor_.Fail(token, absl::StrCat("a label of more than ",
                                              kMaxLabelBytes, " bytes"));
    }
  }
  const Token& opcode = cursor_.Peek();
  ParsedInstruction parsed = ParseInstruction(cursor_, buffers_, counters_);
  if (!cursor_.ok()) return;
  if (program_.queues.empty()) {
    return cursor_.Fail(opcode, "an instruction before the first 'worker'");
  }
  std::vector<Instruction>& queue = program_.queues.back();
  queue.push_back(parsed.instruction);
  program_.labels.back().push_back(std::move(label));
  if (parsed.open_thresholds != 0 || !parsed.raw.empty()) {
    open_.push_back({program_.queues.size() - 1, queue.size() - 1, opcode,
                     std::move(parsed)});
  }
}

void Assembler::ParseStatement() {
  using Method = void (Assembler::*)();
  struct Statement {
    absl::string_view keyword;
    bool once;
    Method parse;
  };
  static constexpr Statement kStatements[] = {
      {"isa", true, &Assembler::ParseIsa},
      {"program", true, &Assembler::ParseProgram},
      {"model", true, &Assembler::ParseModel},
      {"target", true, &Assembler::ParseTarget},
      {"buffer", false, &Assembler::ParseBuffer},
      {"counter", false, &Assembler::ParseCounter},
      {"worker", false, &Assembler::ParseWorker},
  };
  const Token& token = cursor_.Peek();
  for (const Statement& statement : kStatements) {
    if (!token.IsWord(statement.keyword)) continue;
    cursor_.Next();
    if (statement.once && !OncePerText(token)) return;
    (this->*statement.parse)();
    if (cursor_.ok()) cursor_.ExpectLineEnd();
    return;
  }
  ParseInstructionLine();
}

void Assembler::CountProducers() {
  for (const auto& queue : program_.queues) {
    for (const Instruction& instruction : queue) {
      const uint32_t counter = instruction.signal;
      if (counter < producers_given_.size() && !producers_given_[counter]) {
        ++program_.counters[counter].producers;
      }
    }
  }
}

void Assembler::CloseThresholds() {
  for (const Open& open : open_) {
    Instruction& instruction = program_.queues[open.worker][open.pc];
    for (int i = 0; i < instruction.num_waits; ++i) {
      if ((open.parsed.open_thresholds >> i & 1) == 0) continue;
      Wait& wait = instruction.waits[i];
      if (wait.counter < program_.counters.size()) {
        wait.threshold = program_.counters[wait.counter].producers;
      } else {
        cursor_.Fail(open.token, absl::StrCat("counter %", wait.counter,
                                              " needs a threshold"));
      }
    }
  }
}

void Assembler::ApplyRawWords() {
  for (const Open& open : open_) {
    Instruction& instruction = program_.queues[open.worker][open.pc];
    for (const RawWord& word : open.parsed.raw) {
      std::memcpy(
          reinterpret_cast<char*>(&instruction) + sizeof(uint32_t) * word.index,
          &word.value, sizeof(word.value));
    }
    // What no binary form may hold.
    if (FindOpcode(instruction.opcode) == nullptr) {
      cursor_.Fail(open.token,
                   absl::StrFormat("raw makes it opcode 0x%02x, unknown",
                                   instruction.opcode));
    } else if (instruction.num_waits > kMaxWaits) {
      cursor_.Fail(open.token,
                   absl::StrCat("raw gives it ", instruction.num_waits,
                                " waits, more than ", kMaxWaits));
    }
  }
}

absl::StatusOr<Program> Assembler::Run() {
  while (cursor_.ok() && !cursor_.AtEnd()) ParseStatement();
  if (cursor_.ok()) CountProducers();
  if (cursor_.ok()) CloseThresholds();
  if (cursor_.ok()) ApplyRawWords();
  if (!cursor_.ok()) return cursor_.status();
  return std::move(program_);
}

}  // namespace

absl::StatusOr<Program> Assemble(absl::string_view text,
                                 absl::string_view file_name) {
  const Source source{text, file_name};
  std::vector<Token> tokens;
  if (absl::Status status = Lex(source, tokens); !status.ok()) return status;
  Cursor cursor(source, tokens);
  return Assembler(cursor).Run();
}

}  // namespace mkvm::isa
