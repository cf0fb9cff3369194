#include "isa/opcode_table.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mkvm::isa {
namespace {

using ::testing::ElementsAre;

bool IsIdentifier(absl::string_view name) {
  if (name.empty() || !absl::ascii_islower(name[0])) return false;
  for (char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '_') {
      return false;
    }
  }
  return true;
}

// A program with a buffer of every sort, for regions and requirements.
Program SmallProgram() {
  Program program;
  program.buffers = {
      {"x", DType::kF24, BufferKind::kActivation, Layout::kRows, {64}},
      {"w", DType::kBf16, BufferKind::kWeight, Layout::kPanels, {100, 64}},
      {"y", DType::kF24, BufferKind::kActivation, Layout::kRows, {100}},
      {"best", DType::kRanked, BufferKind::kActivation, Layout::kRows, {4}},
  };
  return program;
}

GemvOperands SmallGemv() {
  GemvOperands op;
  op.x = 0;
  op.w = 1;
  op.y = 2;
  op.row_begin = 8;
  op.rows = 16;
  op.k = 64;
  return op;
}

std::vector<absl::string_view> Broken(const Program& program,
                                      const Instruction& instruction) {
  std::vector<absl::string_view> messages;
  AppendBrokenRequirements(program, instruction, messages);
  return messages;
}

TEST(OpcodeTable, AscendsAndFindsEveryOpcode) {
  ASSERT_EQ(AllOpcodes().size(), static_cast<size_t>(kNumOpcodes));
  int last = -1;
  for (const OpcodeInfo& info : AllOpcodes()) {
    const auto code = static_cast<uint16_t>(info.opcode);
    EXPECT_GT(code, last);
    last = code;
    EXPECT_EQ(FindOpcode(code), &info);
    EXPECT_EQ(FindOpcode(info.name), &info);
    EXPECT_TRUE(IsIdentifier(info.name)) << info.name;
    EXPECT_FALSE(info.synopsis.empty()) << info.name;
  }
  EXPECT_EQ(FindOpcode(0x7fff), nullptr);
  EXPECT_EQ(FindOpcode("gmev"), nullptr);
  EXPECT_EQ(FindOpcode(""), nullptr);
}

// The words of the text form that an operand can't be called.
TEST(OpcodeTable, NamesAreUniqueAndNotReserved) {
  for (const OpcodeInfo& info : AllOpcodes()) {
    std::set<std::string> names = {"wait", "signal", "polled", "raw"};
    for (const OperandInfo& operand : info.operands) {
      EXPECT_TRUE(IsIdentifier(operand.name)) << info.name;
      EXPECT_TRUE(names.insert(std::string(operand.name)).second)
          << info.name << " " << operand.name;
    }
  }
  for (absl::string_view keyword :
       {"isa", "program", "model", "target", "buffer", "counter", "worker"}) {
    EXPECT_EQ(FindOpcode(keyword), nullptr) << keyword;
  }
}

TEST(OpcodeTable, BuffersComeFirstAndFitThePayload) {
  for (const OpcodeInfo& info : AllOpcodes()) {
    EXPECT_LE(info.operands.size(), static_cast<size_t>(kOperandWords));
    bool immediates = false;
    for (const OperandInfo& operand : info.operands) {
      if (operand.kind != OperandKind::kBuffer) immediates = true;
      EXPECT_FALSE(immediates && operand.kind == OperandKind::kBuffer)
          << info.name << " " << operand.name;
    }
  }
}

TEST(OpcodeTable, OperandsAreDescribed) {
  for (const OpcodeInfo& info : AllOpcodes()) {
    for (const OperandInfo& operand : info.operands) {
      SCOPED_TRACE(std::string(info.name) + " " + std::string(operand.name));
      if (operand.kind == OperandKind::kBuffer) {
        EXPECT_NE(operand.dtypes, 0u);
        EXPECT_LT(operand.dtypes, 1u << 5);
        EXPECT_TRUE(absl::StartsWith(operand.shape, "["));
        EXPECT_EQ(operand.has_default, operand.optional);
        if (operand.optional) {
          EXPECT_EQ(operand.default_bits, kNoBuffer);
        }
      } else {
        EXPECT_FALSE(operand.doc.empty());
        EXPECT_EQ(operand.values.empty(), operand.kind != OperandKind::kEnum);
      }
      if (operand.kind == OperandKind::kEnum) {
        std::set<absl::string_view> values(operand.values.begin(),
                                           operand.values.end());
        EXPECT_EQ(values.size(), operand.values.size());
        EXPECT_TRUE(operand.has_default);
        for (absl::string_view value : values) {
          EXPECT_TRUE(IsIdentifier(value));
        }
      }
    }
  }
}

// Defaults of the structs, of the table and of assembly are the same, and a
// typed struct is the payload.
template <typename Operands>
void CheckEncoding(uint16_t code, absl::string_view mnemonic) {
  SCOPED_TRACE(std::string(mnemonic));
  const OpcodeInfo* info = FindOpcode(code);
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->name, mnemonic);
  Instruction instruction = Encode(Operands{});
  EXPECT_EQ(instruction.opcode, code);
  for (size_t i = 0; i < kOperandWords; ++i) {
    uint32_t bits = 0;
    if (i < info->operands.size()) {
      const OperandInfo& operand = info->operands[i];
      const bool is_buffer = operand.kind == OperandKind::kBuffer;
      bits = is_buffer ? kNoBuffer : operand.default_bits;
    }
    EXPECT_EQ(instruction.operands[i], bits) << "word " << i;
  }
  for (uint32_t i = 0; i < info->operands.size(); ++i) {
    instruction.operands[i] = 0x1000 + i;
  }
  const Instruction again = Encode(DecodeOperands<Operands>(instruction));
  EXPECT_EQ(std::memcmp(&again, &instruction, sizeof(again)), 0);
}

TEST(OpcodeTable, EveryStructIsItsPayload) {
#define MKVM_OP(code, Name, name, synopsis) \
  CheckEncoding<Name##Operands>(code, #name);
#include "isa/opcodes.def"
}

TEST(OpcodeTable, NamesTheRegionsOfGemv) {
  const Program program = SmallProgram();
  std::vector<Access> accesses;
  AppendAccesses(program, Encode(SmallGemv()), accesses);
  ASSERT_EQ(accesses.size(), 3u);  // r, w2, g and best are not given
  EXPECT_EQ(accesses[0].kind, AccessKind::kRead);
  EXPECT_EQ(accesses[0].buffer, 0u);
  EXPECT_EQ(accesses[0].begin, 0u);
  EXPECT_EQ(accesses[0].count, 64u);
  EXPECT_EQ(accesses[1].kind, AccessKind::kWeight);
  EXPECT_EQ(accesses[1].operand, 2);
  EXPECT_EQ(accesses[1].begin, 8u * 64);
  EXPECT_EQ(accesses[1].count, 16u * 64);
  EXPECT_EQ(accesses[2].kind, AccessKind::kWrite);
  EXPECT_EQ(accesses[2].operand, 5);
  EXPECT_EQ(accesses[2].begin, 8u);
  EXPECT_EQ(accesses[2].count, 16u);
}

TEST(OpcodeTable, RequirementsHoldForAValidGemv) {
  EXPECT_TRUE(Broken(SmallProgram(), Encode(SmallGemv())).empty());
}

TEST(OpcodeTable, RequirementsNameWhatIsWrong) {
  const Program program = SmallProgram();
  GemvOperands op = SmallGemv();
  op.rows = 0;
  EXPECT_THAT(Broken(program, Encode(op)), ElementsAre("rows is 0"));
  op = SmallGemv();
  op.k = 63;
  EXPECT_THAT(Broken(program, Encode(op)),
              ElementsAre("k is not the number of columns of w"));
  op = SmallGemv();
  op.row_begin = 4;
  EXPECT_THAT(
      Broken(program, Encode(op)),
      ElementsAre("row_begin is not a multiple of 8, the rows of a panel"));
  op = SmallGemv();
  op.epilogue = Epilogue::kArgmax;
  EXPECT_THAT(Broken(program, Encode(op)),
              ElementsAre("best is given exactly when epilogue is argmax"));
  op = SmallGemv();
  op.y = kNoBuffer;
  EXPECT_THAT(Broken(program, Encode(op)), ElementsAre("y is missing"));
  // No overflow hides a row beyond the end.
  op = SmallGemv();
  op.row_begin = 0xfffffff8u;
  EXPECT_THAT(Broken(program, Encode(op)),
              ElementsAre("row_begin + rows goes past the rows of w"));
}

TEST(OpcodeTable, BrokenRequirementsAreOnesOfTheTable) {
  const Program program = SmallProgram();
  for (const OpcodeInfo& info : AllOpcodes()) {
    Instruction instruction;
    instruction.opcode = static_cast<uint16_t>(info.opcode);
    for (size_t i = 0; i < info.operands.size(); ++i) {
      const bool is_buffer = info.operands[i].kind == OperandKind::kBuffer;
      instruction.operands[i] = is_buffer ? kNoBuffer : 0;
    }
    for (absl::string_view message : Broken(program, instruction)) {
      EXPECT_THAT(info.requirements, ::testing::Contains(message));
    }
  }
}

}  // namespace
}  // namespace mkvm::isa
