#include "isa/assembler.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/opcode_table.h"

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

Program MustAssemble(absl::string_view text) {
  auto program = Assemble(text);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *std::move(program) : Program();
}

// One instruction on line 8.
Instruction MustAssembleOne(absl::string_view line) {
  const Program program = MustAssemble(absl::StrCat(kHead, line, "\n"));
  if (program.queues.size() != 1 || program.queues[0].size() != 1) {
    ADD_FAILURE() << "not one instruction: " << line;
    return Instruction();
  }
  return program.queues[0][0];
}

TEST(Assembler, AssemblesAProgram) {
  const Program program = MustAssemble(R"(
# An MLP's first half.
isa 1
program "two words"
model "qwen3 hidden=64" fingerprint=0xff
target h200 stages=6 shared_memory_bytes=232448
buffer x f24  [64]      input
buffer w bf16 [128, 64] weight layout=panels
buffer y f24  [128]     activation
counter y_ready

worker 0
  y[0]: gemv x=x w=w y=y row_begin=0 rows=64 k=64 signal(y_ready)
  halt
worker 1
  y[1]: gemv x=x w=w y=y \
             row_begin=64 rows=0x40 k=64 signal(y_ready)  # the other half
  halt wait(y_ready)
)");
  EXPECT_EQ(program.name, "two words");
  EXPECT_EQ(program.model, "qwen3 hidden=64");
  EXPECT_EQ(program.model_fingerprint, 255u);
  EXPECT_EQ(program.target.name, "h200");
  EXPECT_EQ(program.target.stages, 6u);
  EXPECT_EQ(program.target.stage_bytes, kStageBytes);
  EXPECT_EQ(program.target.shared_memory_bytes, 232448u);
  ASSERT_EQ(program.buffers.size(), 3u);
  EXPECT_EQ(program.buffers[0].layout, Layout::kRows);
  EXPECT_EQ(program.buffers[1].layout, Layout::kPanels);
  EXPECT_EQ(program.buffers[1].shape, (std::vector<uint64_t>{128, 64}));
  EXPECT_EQ(program.buffers[2].kind, BufferKind::kActivation);
  ASSERT_EQ(program.queues.size(), 2u);
  EXPECT_EQ(program.labels[0][0], "y[0]");
  EXPECT_EQ(program.labels[0][1], "");
  const auto op = DecodeOperands<GemvOperands>(program.queues[1][0]);
  EXPECT_EQ(op.x, 0u);
  EXPECT_EQ(op.r, kNoBuffer);
  EXPECT_EQ(op.row_begin, 64u);
  EXPECT_EQ(op.rows, 64u);
  EXPECT_EQ(op.tokens_per_pass, 1u);
  EXPECT_EQ(op.epilogue, Epilogue::kStore);
  // Producers are the two signals, the threshold is the producers.
  EXPECT_EQ(program.counters[0].producers, 2u);
  EXPECT_EQ(program.queues[1][1].waits[0].threshold, 2u);
}

TEST(Assembler, DefaultsAreThoseOfTheStructs) {
  const Instruction i =
      MustAssembleOne("gemv x=x w=w y=y row_begin=0 rows=8 k=64");
  EXPECT_EQ(i.flags, kFlagRelease);
  EXPECT_EQ(i.signal, kNoCounter);
  EXPECT_EQ(i.num_waits, 0);
  EXPECT_EQ(i.polled, 0u);
  GemvOperands op;
  op.x = 0;
  op.w = 1;
  op.y = 3;
  op.rows = 8;
  op.k = 64;
  const Instruction expected = Encode(op);
  EXPECT_EQ(std::memcmp(&i, &expected, sizeof(i)), 0);
}

TEST(Assembler, ReadsWaits) {
  const Instruction i = MustAssembleOne(
      "nop wait(y_ready, y_ready >= 7 lag) wait(y_ready tagged, "
      "%9 >= 0x10 lag tagged) signal(y_ready relaxed)");
  ASSERT_EQ(i.num_waits, 4);
  EXPECT_EQ(i.waits[0].threshold, 1u);  // this signal
  EXPECT_EQ(i.waits[1].threshold, 7u);
  EXPECT_EQ(i.waits[3].counter, 9u);
  EXPECT_EQ(i.waits[3].threshold, 16u);
  EXPECT_EQ(i.lags, 0b1010);
  EXPECT_EQ(i.tagged, 0b1100);
  EXPECT_EQ(i.signal, 0u);
  EXPECT_EQ(i.flags, 0);
}

TEST(Assembler, ReadsPolledOperandsByName) {
  const Instruction i = MustAssembleOne(
      "gemv x=x r=y w=w y=y row_begin=0 rows=8 k=64 epilogue=add polled(x, r)");
  EXPECT_EQ(i.polled, 0b11u);
}

TEST(Assembler, ReadsBuffersByNameQuoteAndIndex) {
  const auto op = DecodeOperands<GemvOperands>(
      MustAssembleOne("gemv x=\"x\" r=- w=%1 y=%77 row_begin=0 rows=8 k=64"));
  EXPECT_EQ(op.x, 0u);
  EXPECT_EQ(op.r, kNoBuffer);
  EXPECT_EQ(op.w, 1u);
  EXPECT_EQ(op.y, 77u);
}

TEST(Assembler, ReadsEnumsAndFloats) {
  const auto op = DecodeOperands<GemvOperands>(
      MustAssembleOne("gemv x=x w=w g=g y=y row_begin=0 rows=8 k=64 "
                      "prologue=rms_norm epilogue=7 eps=1e-6"));
  EXPECT_EQ(op.prologue, Prologue::kRmsNorm);
  EXPECT_EQ(static_cast<uint32_t>(op.epilogue), 7u);
  EXPECT_EQ(op.eps, 1e-6f);
  const auto eps_bits = [](absl::string_view text) {
    return MustAssembleOne(
               absl::StrCat("rms_norm x=x g=g y=y k=64 begin=0 count=64 "
                            "eps=",
                            text))
        .operands[6];
  };
  EXPECT_EQ(eps_bits("0"), 0u);
  EXPECT_EQ(eps_bits("-0"), 0x80000000u);
  EXPECT_EQ(eps_bits("1.5"), 0x3fc00000u);
  EXPECT_EQ(eps_bits("1e+3"), BitsOfFloat(1000.0f));
  EXPECT_EQ(eps_bits("inf"), 0x7f800000u);
  EXPECT_EQ(eps_bits("-inf"), 0xff800000u);
  EXPECT_EQ(eps_bits("nan"), 0x7fc00000u);
  EXPECT_EQ(eps_bits("nan(0xff800001)"), 0xff800001u);
}

TEST(Assembler, ReadsRawWords) {
  const Instruction i = MustAssembleOne("nop raw(31=5, 0=0xabc10001)");
  EXPECT_EQ(i.operands[19], 5u);
  EXPECT_EQ(i.opcode, static_cast<uint16_t>(Opcode::kHalt));
  EXPECT_EQ(i.flags, 0xabc1);
}

TEST(Assembler, LabelsMayHoldAnything) {
  const Program program = MustAssemble(
      "worker 0\nL03.qkv[17]: nop\n\"a: \\\"b\\\"\\x00\": nop\n0: "
      "nop\nworker: nop\n");
  ASSERT_EQ(program.labels[0].size(), 4u);
  EXPECT_EQ(program.labels[0][0], "L03.qkv[17]");
  EXPECT_EQ(program.labels[0][1], std::string("a: \"b\"\0", 7));
  EXPECT_EQ(program.labels[0][2], "0");
  EXPECT_EQ(program.labels[0][3], "worker");
}

TEST(Assembler, LineEndsAndEmptyTexts) {
  EXPECT_EQ(MustAssemble("").num_workers(), 0u);
  EXPECT_EQ(MustAssemble("# nothing").num_workers(), 0u);
  EXPECT_EQ(MustAssemble("\n\r\n \t\n").num_workers(), 0u);
  EXPECT_EQ(MustAssemble("worker 0\r\n  nop\r\n").queues[0].size(), 1u);
  EXPECT_EQ(MustAssemble("worker 0\n  nop").queues[0].size(), 1u);
  EXPECT_EQ(MustAssemble("worker \\\n0\nnop").queues[0].size(), 1u);
}

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
          {"isa 2", "1:5: error: isa version 2; this build reads 1"},
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
