#include "isa/disassembler.h"

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "isa/opcode_table.h"
#include "tests/isa/random_program.h"

namespace mkvm::isa {
namespace {

using ::testing::HasSubstr;

Program SmallProgram() {
  Program program;
  program.name = "small";
  program.buffers = {
      {"x", DType::kF24, BufferKind::kInput, Layout::kRows, {64}},
      {"w.up", DType::kBf16, BufferKind::kWeight, Layout::kPanels, {100, 64}},
      {"y", DType::kF24, BufferKind::kActivation, Layout::kRows, {100}},
      {"-", DType::kBf16, BufferKind::kWeight, Layout::kRows, {64}},
  };
  program.counters = {{"x_ready", 4}, {"y_ready", 1}};
  return program;
}

GemvOperands SmallGemv() {
  GemvOperands op;
  op.x = 0;
  op.w = 1;
  op.y = 2;
  op.rows = 32;
  op.k = 64;
  return op;
}

TEST(Disassembler, LeavesOutDefaults) {
  EXPECT_EQ(Disassemble(SmallProgram(), Encode(SmallGemv())),
            "gemv x=x w=w.up y=y row_begin=0 rows=32 k=64");
  EXPECT_EQ(Disassemble(SmallProgram(), Encode(HaltOperands{})), "halt");
}

TEST(Disassembler, WritesEveryModifier) {
  GemvOperands op = SmallGemv();
  op.g = 3;
  op.eps = 1e-6f;
  op.prologue = Prologue::kRmsNorm;
  Instruction instruction = Encode(op);
  AddWait(instruction, 0, 4, /*lag=*/false, /*tagged=*/true);
  AddWait(instruction, 1, 7, /*lag=*/true);
  instruction.signal = 1;
  instruction.flags = 0;
  instruction.polled = 1;
  EXPECT_EQ(Disassemble(SmallProgram(), instruction),
            "gemv x=x w=w.up g=\"-\" y=y row_begin=0 rows=32 k=64 eps=1e-06 "
            "prologue=rms_norm wait(x_ready tagged, y_ready >= 7 lag) "
            "signal(y_ready relaxed) polled(x)");
}

TEST(Disassembler, WritesWhatIsNotValid) {
  GemvOperands op = SmallGemv();
  op.x = kNoBuffer;  // not optional, so not "-"
  op.w = 17;
  op.epilogue = static_cast<Epilogue>(9);
  Instruction instruction = Encode(op);
  AddWait(instruction, 5, 1);
  instruction.operands[19] = 3;
  instruction.opcode = static_cast<uint16_t>(Opcode::kGemv);
  EXPECT_EQ(Disassemble(SmallProgram(), instruction),
            "gemv x=%4294967295 w=%17 y=y row_begin=0 rows=32 k=64 epilogue=9 "
            "wait(%5 >= 1) raw(31=0x00000003)");
  instruction = Instruction();
  instruction.opcode = 0x1234;
  instruction.num_waits = 200;
  EXPECT_THAT(Disassemble(SmallProgram(), instruction),
              HasSubstr("raw(0=0x00011234, 1=0x000000c8"));
}

TEST(Disassembler, FloatsRoundTrip) {
  Program program = SmallProgram();
  program.queues = {{}};
  program.labels = {{}};
  uint32_t bits = 1;
  for (int i = 0; i < 20000; ++i) {
    bits = bits * 1664525u + 1013904223u;
    RmsNormOperands op;
    op.x = op.g = op.y = 0;
    op.eps = FloatOfBits(bits);
    // Past the FPU, which may quieten a NaN.
    Instruction instruction = Encode(op);
    instruction.operands[6] = bits;
    program.queues[0] = {instruction};
    const auto again = Assemble(Disassemble(program));
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(again->queues[0][0].operands[6], bits);
  }
}

TEST(Disassembler, ProgramReadsLikeThis) {
  Program program = SmallProgram();
  program.model = "qwen3 \"tiny\"";
  program.model_fingerprint = 0xabc;
  program.target.name = "h200";
  Instruction gemv = Encode(SmallGemv());
  gemv.signal = 1;
  Instruction halt = Encode(HaltOperands{});
  AddWait(halt, 1, 1);
  program.queues = {{gemv}, {halt}, {}};
  program.labels = {{"L03.up[17]"}, {"the end"}, {}};
  EXPECT_EQ(Disassemble(program), R"(isa 2
program "small"
model "qwen3 \"tiny\"" fingerprint=0x0000000000000abc
target h200 stages=4 stage_bytes=16384 shared_memory_bytes=0

buffer x    f24    [64] input
buffer w.up bf16   [100, 64] weight layout=panels
buffer y    f24    [100] activation
buffer "-"  bf16   [64] weight

counter x_ready producers=4
counter y_ready producers=1

worker 0
  L03.up[17]: gemv x=x w=w.up y=y row_begin=0 rows=32 k=64 signal(y_ready)

worker 1
  "the end": halt wait(y_ready)

worker 2
)");
}

TEST(Disassembler, IsTheInverseOfTheAssembler) {
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    const Program program = RandomProgram(seed);
    const std::string text = Disassemble(program);
    const auto again = Assemble(text);
    ASSERT_TRUE(again.ok()) << "seed " << seed << ": " << again.status();
    ASSERT_EQ(SerializeProgram(*again), SerializeProgram(program))
        << "seed " << seed << "\n"
        << text;
    ASSERT_EQ(Disassemble(*again), text) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mkvm::isa
