#include "isa/assembler.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

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
isa 2
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

}  // namespace
}  // namespace mkvm::isa
