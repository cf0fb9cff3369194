// What the assembler says about each thing that can be wrong.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "isa/program.h"

namespace mkvm::isa {
namespace {

using ::testing::HasSubstr;

// Declarations that the tests below build on; seven lines.
constexpr char kHead[] = R"(program test
buffer x  f24  [64]      input
buffer w  bf16 [128, 64] weight layout=panels
buffer g  bf16 [64]      weight
buffer y  f24  [128]     activation
counter y_ready
worker 0
)";

std::string ErrorOf(absl::string_view text) {
  const auto program = Assemble(text, "t.mkasm");
  if (program.ok()) return "no error";
  EXPECT_EQ(program.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(program.status().message());
}

TEST(AssemblerError, ShowsTheLineAndACaret) {
  EXPECT_EQ(ErrorOf("worker 0\n\tgmev x=x\n"),
            "t.mkasm:2:2: error: unknown opcode 'gmev'; did you mean 'gemv'?\n"
            "\tgmev x=x\n"
            "\t^");
  EXPECT_EQ(ErrorOf("worker 0\r\n  nop signal(a)\r\n"),
            "t.mkasm:2:14: error: no counter is named 'a'\n"
            "  nop signal(a)\n"
            "             ^");
  EXPECT_EQ(ErrorOf("worker 0\nnop signal("),
            "t.mkasm:2:12: error: a counter expected, not the end of the line\n"
            "nop signal(\n"
            "           ^");
}

TEST(AssemblerError, ShowsPartOfALongLine) {
  const std::string text = "worker 0\nnop " + std::string(100000, ' ') + "x=y" +
                           std::string(100000, ' ');
  const std::string error = ErrorOf(text);
  EXPECT_THAT(error, HasSubstr("t.mkasm:2:100005: error: nop has no operand"));
  EXPECT_LT(error.size(), 400u);
  const std::vector<std::string> lines = absl::StrSplit(error, '\n');
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].find('x'), lines[2].find('^'));
}

struct BadText {
  const char* text;
  const char* error;  // "LINE:COLUMN: error: ..."
};

void ExpectErrors(absl::string_view head, absl::Span<const BadText> cases) {
  for (const BadText& bad : cases) {
    const std::string error = ErrorOf(absl::StrCat(head, bad.text, "\n"));
    const std::vector<std::string> lines = absl::StrSplit(error, '\n');
    EXPECT_EQ(lines[0], absl::StrCat("t.mkasm:", bad.error)) << bad.text;
    EXPECT_EQ(lines.size(), 3u) << error;
  }
}

TEST(AssemblerError, OfWords) {
  ExpectErrors(
      "",
      {
          {"program \"x", "1:9: error: this string has no closing '\"'"},
          {"program \"\\q\"",
           "1:9: error: bad escape in a string: Unknown escape sequence: \\q"},
          {"program $x", "1:9: error: '$' means nothing here"},
          {"program \\ x", "1:9: error: '\\' means nothing here"},
          {"program %", "1:9: error: '%' means nothing here"},
          {"program \x01", "1:9: error: byte 0x01 is not text"},
          {"program \xc3\xa9", "1:9: error: byte 0xc3 is not text"},
      });
}

TEST(AssemblerError, OfDeclarations) {
  ExpectErrors(
      "",
      {
          {"isa 1", "1:5: error: isa version 1; this build reads 2"},
          {"isa one",
           "1:5: error: isa: 'one' is not a whole number from 0 to 4294967295"},
          {"program",
           "1:8: error: the program's name expected, not the end of "
           "the line"},
          {"program a b", "1:11: error: the end of the line expected, not 'b'"},
          {"program a\nprogram b", "2:1: error: 'program' is given twice"},
          {"model m fingerprnt=1",
           "1:9: error: no setting 'fingerprnt' here; did you mean "
           "'fingerprint'?"},
          {"model m fingerprint=0x1ffffffffffffffff",
           "1:21: error: fingerprint: '0x1ffffffffffffffff' is not a whole "
           "number "
           "from 0 to 18446744073709551615"},
          {"target h200 stages=1 stages=2",
           "1:22: error: stages is given twice"},
          {"target h200 stages=-1",
           "1:20: error: stages: '-1' is not a whole number from 0 to "
           "4294967295"},
          {"buffer",
           "1:7: error: the buffer's name expected, not the end of the "
           "line"},
          {"buffer \"a b\" f24 [1] input",
           "1:8: error: a buffer's name is made of letters, digits, '_', '.' "
           "and "
           "'-'"},
          {"buffer x fp24 [1] input",
           "1:10: error: a dtype (f24, bf16, f32, i32, ranked) expected, not "
           "'fp24'; did you mean 'f24'?"},
          {"buffer x f24 1 input", "1:14: error: '[' expected, not '1'"},
          {"buffer x f24 [] input",
           "1:15: error: dimension: ']' is not a whole number from 0 to "
           "18446744073709551615"},
          {"buffer x f24 [4 input", "1:17: error: ']' expected, not 'input'"},
          {"buffer x f24 [0] input", "1:14: error: a dimension is 0"},
          {"buffer x f24 [1,1,1,1,1] input",
           "1:14: error: a buffer has 1 to 4 dimensions"},
          {"buffer x f24 [9999999999, 9999999999] input",
           "1:14: error: larger than 2^48 bytes"},
          {"buffer x f24 [4] weights",
           "1:18: error: a kind (weight, input, activation, state) expected, "
           "not "
           "'weights'; did you mean 'weight'?"},
          {"buffer x f24 [4] input layout=panel",
           "1:31: error: a layout (rows, panels) expected, not 'panel'; did "
           "you "
           "mean 'panels'?"},
          {"buffer x f24 [4] input\nbuffer x f24 [4] input",
           "2:8: error: buffer 'x' is declared twice"},
          {"counter c\ncounter c", "2:9: error: counter 'c' is declared twice"},
          {"counter c producers 4", "1:21: error: '=' expected, not '4'"},
          {"counter c producers=4294967296",
           "1:21: error: producers: '4294967296' is not a whole number from 0 "
           "to "
           "4294967295"},
          {"worker 1", "1:8: error: worker 1 where worker 0 comes next"},
          {"worker 0\nworker 0",
           "2:8: error: worker 0 where worker 1 comes next"},
          {"wroker 0",
           "1:1: error: unknown opcode 'wroker'; did you mean 'worker'?"},
          {"halt", "1:1: error: an instruction before the first 'worker'"},
          {"= 4", "1:1: error: an opcode expected, not '='"},
      });
}

TEST(AssemblerError, OfOperands) {
  ExpectErrors(
      kHead,
      {
          {"xyz", "8:1: error: unknown opcode 'xyz'"},
          {"label:", "8:7: error: an opcode expected, not the end of the line"},
          {"a: b: nop", "8:4: error: unknown opcode 'b'"},
          {"gemv x=x y=y row_begin=0 rows=8", "8:1: error: gemv lacks w, k"},
          {"add a=x a=x", "8:9: error: a is given twice"},
          {"add aa=x",
           "8:5: error: add has no operand 'aa'; did you mean 'a'?"},
          {"nop wiat=1",
           "8:5: error: nop has no operand 'wiat'; did you mean 'wait'?"},
          {"nop wiat(y_ready)",
           "8:5: error: 'wiat(' means nothing here; did you mean 'wait'?"},
          {"add a", "8:6: error: '=' expected, not the end of the line"},
          {"add a=", "8:7: error: a buffer expected, not the end of the line"},
          {"add a=z b=x y=y begin=0 count=1",
           "8:7: error: no buffer is named 'z'"},
          {"nop signal(y_raedy)",
           "8:12: error: no counter is named 'y_raedy'; did you mean "
           "'y_ready'?"},
          {"add a=-", "8:7: error: a is not optional"},
          {"add a=%99999999999",
           "8:7: error: buffer: '%99999999999' is not a whole number from 0 to "
           "4294967295"},
          {"add a=x b=x y=y begin=ten count=1",
           "8:23: error: begin: 'ten' is not a whole number from 0 to "
           "4294967295"},
          {"add begin=1.5",
           "8:11: error: begin: '1.5' is not a whole number from 0 to "
           "4294967295"},
          {"add begin=0x",
           "8:11: error: begin: '0x' is not a whole number from 0 to "
           "4294967295"},
          {"gemv eps=1e99",
           "8:10: error: eps: '1e99' is out of the range of binary32"},
          {"gemv eps=1e-6x", "8:10: error: eps: '1e-6x' is not a number"},
          {"gemv eps=-", "8:10: error: eps: '-' is not a number"},
          {"gemv eps=\"1\"", "8:10: error: a number expected, not \"1\""},
          {"gemv eps=nan(0x3f800000)",
           "8:14: error: '0x3f800000' are not the bits of a NaN"},
          {"gemv eps=nan(0x7fc00001",
           "8:24: error: ')' expected, not the end of the line"},
          {"gemv epilogue=stor",
           "8:15: error: epilogue is one of store, add, silu_mul, argmax, not "
           "'stor'; did you mean 'store'?"},
          {"gemv epilogue=5x",
           "8:15: error: epilogue: '5x' is not a whole number from 0 to "
           "4294967295"},
      });
}

TEST(AssemblerError, OfModifiers) {
  ExpectErrors(
      kHead,
      {
          {"nop wait y_ready", "8:10: error: '(' expected, not 'y_ready'"},
          {"nop wait()", "8:10: error: a counter expected, not ')'"},
          {"nop wait(y_ready lagged)",
           "8:18: error: ')' expected, not 'lagged'"},
          {"nop wait(y_ready > 3)", "8:18: error: '>' means nothing here"},
          {"nop wait(y_ready >= )",
           "8:21: error: threshold: ')' is not a whole number from 0 to "
           "4294967295"},
          {"nop wait(y_ready, y_ready, y_ready, y_ready, y_ready)",
           "8:46: error: more than 4 waits"},
          {"nop wait(%7)", "8:1: error: counter %7 needs a threshold"},
          {"nop signal(y_ready) signal(y_ready)",
           "8:27: error: an instruction signals one counter only"},
          {"nop signal(y_ready, y_ready)",
           "8:19: error: ')' expected, not ','"},
          {"add polled(c)", "8:12: error: add has no operand 'c'"},
          {"add polled(count)", "8:12: error: count is not a buffer"},
          {"add polled(a, a)", "8:15: error: a is given twice"},
          {"nop raw(32=1)",
           "8:9: error: raw word: '32' is not a whole number from 0 to 31"},
          {"nop raw(3=1, 3=2)", "8:14: error: word 3 is given twice"},
          {"nop raw(3)", "8:10: error: '=' expected, not ')'"},
          {"nop raw(0=0x17777)",
           "8:1: error: raw makes it opcode 0x7777, unknown"},
          {"nop raw(1=5)", "8:1: error: raw gives it 5 waits, more than 4"},
          {"nop nop", "8:5: error: nop has no operand 'nop'"},
          {"nop ,", "8:5: error: an operand expected, not ','"},
      });
}

TEST(AssemblerError, OfLabels) {
  const std::string label(257, 'x');
  EXPECT_THAT(ErrorOf(absl::StrCat("worker 0\n", label, ": nop\n")),
              HasSubstr("2:1: error: a label of more than 256 bytes"));
}

// No text crashes the assembler, and what it takes can be serialised.
TEST(AssemblerError, SurvivesMangledTexts) {
  const std::string text = absl::StrCat(
      kHead,
      "y: gemv x=x w=w g=g y=y row_begin=0 rows=128 k=64 eps=1e-6 "
      "prologue=rms_norm wait(y_ready >= 1 lag tagged) signal(y_ready relaxed) "
      "polled(x) raw(31=1)\n  halt stop=-\n");
  ASSERT_TRUE(Assemble(text).ok());
  uint64_t state = 1;
  auto random = [&state] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33);
  };
  int assembled = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string mangled = text;
    for (uint32_t e = 0; e < 1 + random() % 3; ++e) {
      const size_t at = random() % mangled.size();
      switch (random() % 3) {
        case 0:
          mangled[at] = static_cast<char>(random());
          break;
        case 1:
          mangled.erase(at, 1 + random() % 4);
          break;
        default:
          mangled.insert(
              at, mangled.substr(random() % mangled.size(), random() % 10));
      }
    }
    const auto program = Assemble(mangled);
    if (!program.ok()) continue;
    ++assembled;
    ASSERT_TRUE(ParseProgram(SerializeProgram(*program)).ok()) << mangled;
  }
  EXPECT_GT(assembled, 100);
}

}  // namespace
}  // namespace mkvm::isa
