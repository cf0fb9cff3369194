// The checks of op_test_util.h that are the same for every opcode.
#include <cmath>
#include <regex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "isa/assembler.h"
#include "isa/disassembler.h"
#include "isa/verifier.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using isa::BufferKind;
using isa::DType;

// All diagnostics of the verifier, a line each.
std::string Diagnose(const isa::Program& program) {
  std::string all;
  for (const isa::Diagnostic& d : isa::Verify(program)) {
    absl::StrAppend(&all, d.message, "\n");
  }
  return all;
}

bool MentionsWord(const std::string& text, absl::string_view word) {
  return std::regex_search(text, std::regex("\\b" + std::string(word) + "\\b"));
}

}  // namespace

void ExpectValidAndRoundTrips(const OpProgram& program) {
  const isa::Program built = program.Build();
  EXPECT_EQ(Diagnose(built), "");
  const std::string bytes = isa::SerializeProgram(built);

  absl::StatusOr<isa::Program> parsed = isa::ParseProgram(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(isa::SerializeProgram(*parsed), bytes);

  const std::string text = isa::Disassemble(built);
  absl::StatusOr<isa::Program> assembled = isa::Assemble(text);
  ASSERT_TRUE(assembled.ok()) << assembled.status() << "\n" << text;
  EXPECT_EQ(isa::SerializeProgram(*assembled), bytes) << text;
}

void ExpectNear(absl::Span<const float> got, absl::Span<const double> want,
                absl::Span<const double> tolerance) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_EQ(got.size(), tolerance.size());
  int shown = 0;
  for (size_t i = 0; i < got.size() && shown < 5; ++i) {
    // Written so that a NaN on either side fails.
    if (std::abs(got[i] - want[i]) <= tolerance[i]) continue;
    ADD_FAILURE() << "element " << i << " of " << got.size() << ": got "
                  << got[i] << ", want " << want[i] << " +- " << tolerance[i];
    ++shown;
  }
}

void ExpectEncodedWords(const isa::Instruction& instruction, uint16_t code,
                        absl::string_view name,
                        const std::vector<uint32_t>& words) {
  EXPECT_EQ(instruction.opcode, code);
  ASSERT_LE(words.size(), static_cast<size_t>(isa::kOperandWords));
  for (size_t i = 0; i < static_cast<size_t>(isa::kOperandWords); ++i) {
    EXPECT_EQ(instruction.operands[i], i < words.size() ? words[i] : 0u)
        << "word " << i;
  }
  const isa::OpcodeInfo* info = isa::FindOpcode(name);
  ASSERT_NE(info, nullptr) << std::string(name);
  EXPECT_EQ(static_cast<uint16_t>(info->opcode), code);
  EXPECT_EQ(info->operands.size(), words.size());
}

void ExpectRequirement(const OpProgram& good, const OpProgram& bad,
                       absl::string_view message) {
  const auto broken = [](const isa::Program& program) {
    std::vector<absl::string_view> messages;
    AppendBrokenRequirements(program, program.queues[0][0], messages);
    return std::vector<std::string>(messages.begin(), messages.end());
  };
  const std::string text(message);
  EXPECT_THAT(broken(good.Build()), testing::IsEmpty());
  EXPECT_EQ(Diagnose(good.Build()), "");
  EXPECT_THAT(broken(bad.Build()), testing::Contains(text));
  EXPECT_THAT(Diagnose(bad.Build()), testing::HasSubstr(text));
}

void ExpectAllRequirements(const isa::Instruction& instruction,
                           const std::set<std::string>& seen) {
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  ASSERT_NE(info, nullptr);
  for (const absl::string_view message : info->requirements) {
    EXPECT_EQ(seen.count(std::string(message)), 1u)
        << "no test breaks: " << message;
  }
}

namespace {

// Whether some access of the program's first instruction leaves its buffer.
bool AccessesPastTheEnd(const isa::Program& program) {
  std::vector<isa::Access> accesses;
  AppendAccesses(program, program.queues[0][0], accesses);
  for (const isa::Access& access : accesses) {
    if (access.begin + access.count >
        NumElements(program.buffers[access.buffer])) {
      return true;
    }
  }
  return false;
}

// A kind of buffer that the operand may not be.
BufferKind ForbiddenKind(isa::AccessKind access) {
  switch (access) {
    case isa::AccessKind::kWeight:
      return BufferKind::kActivation;
    case isa::AccessKind::kUpdate:
      return BufferKind::kActivation;
    case isa::AccessKind::kWrite:
      return BufferKind::kWeight;
    case isa::AccessKind::kRead:
      break;  // any kind may be read
  }
  return BufferKind::kState;
}

// Checks operand `i` of `good`, the only instruction of a valid program.
class OperandCheck {
 public:
  OperandCheck(const OpProgram& program, const isa::Instruction& good,
               const isa::OperandInfo& operand, size_t i)
      : program_(program), good_(good), operand_(operand), i_(i) {
    OpProgram baseline = program;
    baseline.AppendInstruction(good);
    baseline_ = Diagnose(baseline.Build());
  }

  void ExpectNamed(const OpProgram& program, uint32_t word,
                   const char* why) const {
    OpProgram spoiled = program;
    isa::Instruction bad = good_;
    bad.operands[i_] = word;
    spoiled.AppendInstruction(bad);
    // Only what is wrong because of this operand counts.
    std::string diagnostics;
    for (const isa::Diagnostic& d : isa::Verify(spoiled.Build())) {
      if (absl::StrContains(baseline_, d.message)) continue;
      absl::StrAppend(&diagnostics, d.message, "\n");
    }
    EXPECT_TRUE(MentionsWord(diagnostics, operand_.name))
        << operand_.name << " " << why << ": "
        << (diagnostics.empty() ? "accepted" : diagnostics);
  }

  void ExpectBufferChecked() const {
    if (!operand_.optional) ExpectNamed(program_, isa::kNoBuffer, "missing");
    ExpectNamed(program_, 1000, "out of range");
    for (int dtype = 0; dtype <= static_cast<int>(DType::kRanked); ++dtype) {
      if (operand_.dtypes >> dtype & 1) continue;
      OpProgram other = program_;
      const uint32_t id =
          other.State("other", static_cast<DType>(dtype), {4096});
      ExpectNamed(other, id, "of another dtype");
    }
    const uint32_t id = good_.operands[i_];
    if (id == isa::kNoBuffer) return;
    if (operand_.access != isa::AccessKind::kRead) {
      OpProgram other = program_;
      other.buffer(id).kind = ForbiddenKind(operand_.access);
      ExpectNamed(other, id, "of another kind");
    }
    OpProgram shorter = program_;
    if (--shorter.buffer(id).shape[0] == 0) return;
    OpProgram accessing = shorter;
    accessing.AppendInstruction(good_);
    if (AccessesPastTheEnd(accessing.Build())) {
      ExpectNamed(shorter, id, "too short");
    }
  }

 private:
  const OpProgram& program_;
  const isa::Instruction& good_;
  const isa::OperandInfo& operand_;
  size_t i_;
  std::string baseline_;
};

}  // namespace

void ExpectOperandsCheckedByName(const OpProgram& program,
                                 const isa::Instruction& instruction) {
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  ASSERT_NE(info, nullptr);
  for (size_t i = 0; i < info->operands.size(); ++i) {
    const isa::OperandInfo& operand = info->operands[i];
    const OperandCheck check(program, instruction, operand, i);
    if (operand.kind == isa::OperandKind::kEnum) {
      check.ExpectNamed(program, 99, "of an unknown value");
    }
    if (operand.kind == isa::OperandKind::kBuffer) check.ExpectBufferChecked();
  }
  OpProgram stray = program;
  isa::Instruction bad = instruction;
  bad.operands[isa::kOperandWords - 1] = 1;
  stray.AppendInstruction(bad);
  EXPECT_NE(Diagnose(stray.Build()), "") << "an unused word is not zero";
}

}  // namespace mkvm::ops
