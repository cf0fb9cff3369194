#include "isa/program.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/opcode_table.h"
#include "tests/isa/random_program.h"

namespace mkvm::isa {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Program SmallProgram() {
  Program program;
  program.name = "small";
  program.target.name = "cpu";
  program.model = "qwen3 hidden=64";
  program.model_fingerprint = 0x0123456789abcdefu;
  program.buffers = {
      {"x", DType::kF24, BufferKind::kInput, Layout::kRows, {64}},
      {"w", DType::kBf16, BufferKind::kWeight, Layout::kPanels, {100, 64}},
      {"y", DType::kF24, BufferKind::kActivation, Layout::kRows, {100}},
  };
  program.counters = {{"ready", 1}};
  GemvOperands op;
  op.x = 0;
  op.w = 1;
  op.y = 2;
  op.rows = 100;
  op.k = 64;
  Instruction gemv = Encode(op);
  gemv.signal = 0;
  gemv.flags = 0;
  Instruction halt = Encode(HaltOperands{});
  AddWait(halt, 0, 1, /*lag=*/false, /*tagged=*/true);
  halt.polled = 1;
  program.queues = {{gemv, Encode(HaltOperands{})}, {halt}};
  program.labels = {{"product", ""}, {"end"}};
  return program;
}

std::string TempPath(absl::string_view name) {
  return absl::StrCat(::testing::TempDir(), "program_test_", name);
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Program, NamesAndSizes) {
  EXPECT_EQ(Name(DType::kF24), "f24");
  EXPECT_EQ(Name(DType::kRanked), "ranked");
  EXPECT_EQ(Name(BufferKind::kState), "state");
  EXPECT_EQ(Name(Layout::kPanels), "panels");
  EXPECT_EQ(SizeOf(DType::kF24), 4u);
  EXPECT_EQ(SizeOf(DType::kBf16), 2u);
  EXPECT_EQ(SizeOf(DType::kF32), 4u);
  EXPECT_EQ(SizeOf(DType::kI32), 4u);
  EXPECT_EQ(SizeOf(DType::kRanked), 8u);
  const Program program = SmallProgram();
  EXPECT_EQ(NumElements(program.buffers[1]), 6400u);
  EXPECT_EQ(NumInstructions(program), 3u);
  EXPECT_EQ(program.num_workers(), 2u);
}

TEST(Program, FindsByName) {
  const Program program = SmallProgram();
  EXPECT_EQ(FindBuffer(program, "w"), 1u);
  EXPECT_EQ(FindBuffer(program, "ready"), kNoBuffer);
  EXPECT_EQ(FindCounter(program, "ready"), 0u);
  EXPECT_EQ(FindCounter(program, ""), kNoCounter);
}

TEST(Program, WithCountersOnlyKeepsTheEdges) {
  const Program before = SmallProgram();
  const Program after = WithCountersOnly(before);
  for (const auto& queue : after.queues) {
    for (const Instruction& instruction : queue) {
      EXPECT_EQ(instruction.tagged, 0);
      EXPECT_EQ(instruction.polled, 0u);
      EXPECT_EQ(instruction.flags & kFlagRelease, kFlagRelease);
    }
  }
  EXPECT_EQ(after.queues[1][0].num_waits, 1);
  EXPECT_EQ(after.queues[1][0].waits[0].threshold, 1u);
  EXPECT_EQ(after.queues[0][0].signal, 0u);
}

TEST(Program, WithNopsPutsOneBeforeEveryInstruction) {
  const Program before = SmallProgram();
  const Program after = WithNops(before);
  ASSERT_EQ(after.queues.size(), before.queues.size());
  for (size_t w = 0; w < before.queues.size(); ++w) {
    ASSERT_EQ(after.queues[w].size(), 2 * before.queues[w].size());
    ASSERT_EQ(after.labels[w].size(), after.queues[w].size());
    for (size_t pc = 0; pc < before.queues[w].size(); ++pc) {
      const Instruction& nop = after.queues[w][2 * pc];
      EXPECT_EQ(nop.opcode, static_cast<uint16_t>(Opcode::kNop));
      EXPECT_EQ(nop.num_waits, 0);
      EXPECT_EQ(nop.signal, kNoCounter);
      EXPECT_EQ(std::memcmp(&after.queues[w][2 * pc + 1], &before.queues[w][pc],
                            sizeof(Instruction)),
                0);
      EXPECT_EQ(after.labels[w][2 * pc + 1], before.labels[w][pc]);
    }
  }
}

TEST(Program, RoundTripsField) {
  const Program program = SmallProgram();
  const auto again = ParseProgram(SerializeProgram(program));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name, "small");
  EXPECT_EQ(again->model, program.model);
  EXPECT_EQ(again->model_fingerprint, program.model_fingerprint);
  EXPECT_EQ(again->target.name, "cpu");
  EXPECT_EQ(again->target.stage_bytes, kStageBytes);
  ASSERT_EQ(again->buffers.size(), 3u);
  EXPECT_EQ(again->buffers[1].name, "w");
  EXPECT_EQ(again->buffers[1].dtype, DType::kBf16);
  EXPECT_EQ(again->buffers[1].kind, BufferKind::kWeight);
  EXPECT_EQ(again->buffers[1].layout, Layout::kPanels);
  EXPECT_EQ(again->buffers[1].shape, program.buffers[1].shape);
  EXPECT_EQ(again->counters[0].producers, 1u);
  EXPECT_EQ(again->labels, program.labels);
  ASSERT_EQ(again->queues.size(), 2u);
  for (size_t worker = 0; worker < 2; ++worker) {
    ASSERT_EQ(again->queues[worker].size(), program.queues[worker].size());
    for (size_t pc = 0; pc < program.queues[worker].size(); ++pc) {
      EXPECT_EQ(std::memcmp(&again->queues[worker][pc],
                            &program.queues[worker][pc], sizeof(Instruction)),
                0);
    }
  }
}

TEST(Program, RoundTripsRandomProgramsByteForByte) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string bytes = SerializeProgram(RandomProgram(seed));
    const auto again = ParseProgram(bytes);
    ASSERT_TRUE(again.ok()) << "seed " << seed << ": " << again.status();
    ASSERT_EQ(SerializeProgram(*again), bytes) << "seed " << seed;
  }
}

TEST(Program, MissingLabelsAreEmpty) {
  Program program = SmallProgram();
  program.labels = {{"product"}};
  const auto again = ParseProgram(SerializeProgram(program));
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->labels.size(), 2u);
  EXPECT_EQ(again->labels[0][0], "product");
  EXPECT_EQ(again->labels[0][1], "");
  EXPECT_EQ(again->labels[1][0], "");
}

// The bytes of a known program never change while the format's version stays.
TEST(Program, FormatIsStable) {
  const std::string bytes = SerializeProgram(SmallProgram());
  ASSERT_EQ(bytes.size(), 648u);
  EXPECT_EQ(bytes.substr(0, 8), absl::string_view("mkvm\r\n\x1a\n", 8));
  uint32_t versions[2];
  std::memcpy(versions, &bytes[8], 8);
  EXPECT_EQ(versions[0], 1u);
  EXPECT_EQ(versions[1], kIsaVersion);
  uint64_t total_bytes;
  std::memcpy(&total_bytes, &bytes[16], 8);
  EXPECT_EQ(total_bytes, bytes.size());
  // The last three instructions are where the grammar says.
  Instruction gemv;
  std::memcpy(&gemv, &bytes[256], sizeof(gemv));
  EXPECT_EQ(gemv.opcode, 0x18);
}

TEST(ProgramFile, WritesAndReadsBinary) {
  const std::string path = TempPath("small.bin");
  ASSERT_TRUE(WriteProgramFile(SmallProgram(), path).ok());
  const auto program = ReadProgramFile(path);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(SerializeProgram(*program), SerializeProgram(SmallProgram()));
  std::remove(path.c_str());
}

TEST(ProgramFile, ReadsText) {
  const std::string path = TempPath("text.mkasm");
  WriteText(path, "program tiny\nworker 0\n  halt\n");
  const auto program = ReadProgramFile(path);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(program->name, "tiny");
  std::remove(path.c_str());
}

TEST(ProgramFile, TextErrorsNameTheFile) {
  const std::string path = TempPath("bad.mkasm");
  WriteText(path, "worker 0\n  hlat\n");
  const auto program = ReadProgramFile(path);
  EXPECT_EQ(program.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(program.status().message()),
              ::testing::StartsWith(path + ":2:3: error: "));
  std::remove(path.c_str());
}

void ExpectReadError(const std::string& path, absl::StatusCode code,
                     absl::string_view what) {
  const auto program = ReadProgramFile(path);
  ASSERT_FALSE(program.ok()) << path;
  EXPECT_EQ(program.status().code(), code) << program.status();
  const std::string message(program.status().message());
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_THAT(message, HasSubstr(std::string(what)));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST(ProgramFile, RefusesWhatIsNoFile) {
  ExpectReadError(TempPath("missing.bin"), absl::StatusCode::kNotFound,
                  "No such file");
  ExpectReadError(::testing::TempDir(), absl::StatusCode::kInvalidArgument,
                  "directory");
}

TEST(ProgramFile, RefusesWhatIsNoProgram) {
  const std::string path = TempPath("no_program");
  WriteText(path, "");
  ExpectReadError(path, absl::StatusCode::kInvalidArgument, "is empty");
  WriteText(path, std::string("\x7f\x45\x4c\x46\0\0", 6));
  ExpectReadError(path, absl::StatusCode::kInvalidArgument, "is no program");
  // A binary program whose line ends were converted, or that was cut short.
  std::string bytes = SerializeProgram(SmallProgram());
  WriteText(path, "mkvm\n\x1a\n" + bytes.substr(8));
  ExpectReadError(path, absl::StatusCode::kInvalidArgument, "line ends");
  WriteText(path, bytes.substr(0, 300));
  ExpectReadError(path, absl::StatusCode::kInvalidArgument, "cut short");
  std::remove(path.c_str());
}

TEST(ProgramFile, SaysWhyItCantWrite) {
  const absl::Status status =
      WriteProgramFile(SmallProgram(), TempPath("no_such_folder/program.bin"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no_such_folder"));
  // A device that is always full.
  if (std::ifstream("/dev/full").good()) {
    const absl::Status full = WriteProgramFile(SmallProgram(), "/dev/full");
    EXPECT_FALSE(full.ok());
    EXPECT_THAT(std::string(full.message()), HasSubstr("/dev/full"));
  }
}

}  // namespace
}  // namespace mkvm::isa
