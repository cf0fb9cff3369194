// Damaged files: every one is refused with a message, none is believed, and
// nothing reads outside the bytes (run under ASan to see the latter).
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/program.h"
#include "isa/program_format.h"
#include "tests/isa/random_program.h"

namespace mkvm::isa {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Writes total_bytes and checksum anew, so that damage gets past both.
std::string Resealed(std::string bytes) {
  if (bytes.size() < kHeaderBytes + kChecksumBytes) return bytes;
  const uint64_t total_bytes = bytes.size();
  std::memcpy(&bytes[kTotalBytesOffset], &total_bytes, sizeof(total_bytes));
  const size_t end = bytes.size() - kChecksumBytes;
  const uint64_t checksum =
      FileChecksum(absl::string_view(bytes).substr(0, end));
  std::memcpy(&bytes[end], &checksum, sizeof(checksum));
  return bytes;
}

// An exact copy on the heap, so that ASan sees a read past the end.
absl::StatusOr<Program> Parse(const std::string& bytes) {
  const std::unique_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return ParseProgram(absl::string_view(copy.get(), bytes.size()));
}

// Refused by "program, offset N: FIELD: what".
void ExpectRefused(const std::string& bytes) {
  const auto program = Parse(bytes);
  ASSERT_FALSE(program.ok());
  ASSERT_EQ(program.status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<std::string> parts = absl::StrSplit(
      std::string(program.status().message()), absl::MaxSplits(": ", 2));
  ASSERT_EQ(parts.size(), 3u) << program.status();
  absl::string_view offset = parts[0];
  uint64_t number;
  ASSERT_TRUE(absl::ConsumePrefix(&offset, "program, offset ") &&
              absl::SimpleAtoi(offset, &number))
      << program.status();
  ASSERT_LE(number, bytes.size());
  ASSERT_FALSE(parts[1].empty());
  ASSERT_FALSE(parts[2].empty());
}

std::string Sample() {
  // A seed whose program has something of everything.
  for (uint64_t seed = 0;; ++seed) {
    const Program program = RandomProgram(seed);
    if (program.buffers.size() > 3 && program.counters.size() > 3 &&
        program.queues.size() > 2 && NumInstructions(program) > 10) {
      return SerializeProgram(program);
    }
  }
}

TEST(ProgramDamage, EveryTruncationIsRefused) {
  const std::string bytes = Sample();
  ASSERT_TRUE(Parse(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectRefused(bytes.substr(0, size));
    ExpectRefused(Resealed(bytes.substr(0, size)));
  }
}

TEST(ProgramDamage, EveryChangedByteIsRefused) {
  const std::string bytes = Sample();
  std::mt19937_64 random(3);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const uint64_t change :
         {uint64_t{1} << random() % 8, 1 + random() % 255}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      SCOPED_TRACE(absl::StrCat("byte ", i, " change ", change));
      ExpectRefused(damaged);
    }
  }
}

TEST(ProgramDamage, TrailingBytesAreRefused) {
  const std::string bytes = Sample();
  ExpectRefused(bytes + '\0');
  ExpectRefused(bytes + bytes);
  // Also where total_bytes and checksum cover them.
  ExpectRefused(Resealed(bytes + std::string(1, '\0')));
  ExpectRefused(Resealed(bytes + std::string(128, '\0')));
}

// Damage with a right checksum: refused, or a program that round-trips.
TEST(ProgramDamage, ResealedDamageIsRefusedOrHarmless) {
  std::mt19937_64 random(7);
  int refused = 0;
  int parsed = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string bytes = SerializeProgram(RandomProgram(random() % 200));
    const int edits = 1 + static_cast<int>(random() % 3);
    for (int e = 0; e < edits; ++e) {
      const size_t at = kMagic.size() + random() % (bytes.size() - 8);
      const uint64_t kind = random() % 4;
      if (kind == 0 && at + 4 <= bytes.size()) {
        // A huge or off-by-one count where there is a count.
        uint32_t word;
        std::memcpy(&word, &bytes[at], 4);
        word = random() % 2 ? 0xffffffffu : word + 1;
        std::memcpy(&bytes[at], &word, 4);
      } else if (kind == 1) {
        bytes.erase(at, 1 + random() % 8);
      } else if (kind == 2) {
        bytes.insert(at, random() % 9, static_cast<char>(random()));
      } else {
        bytes[at] = static_cast<char>(random());
      }
    }
    bytes = Resealed(std::move(bytes));
    const auto program = Parse(bytes);
    if (program.ok()) {
      ++parsed;
      // Duplicate or unused labels may be stored; nothing else may differ.
      const std::string once = SerializeProgram(*program);
      const auto again = Parse(once);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(SerializeProgram(*again), once);
    } else {
      ++refused;
      ExpectRefused(bytes);
    }
  }
  EXPECT_GT(refused, 2500);
  EXPECT_GT(parsed, 250);
}

struct Edit {
  const char* name;
  std::function<void(Program&)> edit;
  const char* message;
};

// What SerializeProgram writes as it is told, and ParseProgram refuses.
TEST(ProgramDamage, EachFieldIsNamed) {
  const Edit kEdits[] = {
      {"dtype", [](Program& p) { p.buffers[1].dtype = static_cast<DType>(9); },
       "buffers\\[1\\]\\.dtype: 9 is not known"},
      {"kind",
       [](Program& p) { p.buffers[0].kind = static_cast<BufferKind>(4); },
       "buffers\\[0\\]\\.kind: 4 is not known"},
      {"layout",
       [](Program& p) { p.buffers[0].layout = static_cast<Layout>(2); },
       "buffers\\[0\\]\\.layout: 2 is not known"},
      {"no dimensions", [](Program& p) { p.buffers[0].shape = {}; },
       "buffers\\[0\\]\\.shape: a buffer has 1 to 4 dimensions"},
      {"five dimensions", [](Program& p) { p.buffers[0].shape.assign(5, 1); },
       "buffers\\[0\\]\\.shape: a buffer has 1 to 4 dimensions"},
      {"zero dimension",
       [](Program& p) {
         p.buffers[0].shape = {4, 0};
       },
       "buffers\\[0\\]\\.shape: a dimension is 0"},
      {"overflow",
       [](Program& p) {
         p.buffers[0].shape = {1ull << 32, 1ull << 32, 1ull << 32};
       },
       "buffers\\[0\\]\\.shape: larger than 2\\^48 bytes"},
      {"empty name", [](Program& p) { p.buffers[0].name = ""; },
       "buffers\\[0\\]\\.name: \"\" is not made of letters"},
      {"bad name", [](Program& p) { p.counters[0].name = "a b"; },
       "counters\\[0\\]\\.name: \"a b\" is not made of letters"},
      {"two buffers of a name",
       [](Program& p) { p.buffers[1].name = p.buffers[0].name; },
       "buffers\\[1\\]\\.name: \"x\" is taken already"},
      {"two counters of a name",
       [](Program& p) { p.counters[1].name = p.counters[0].name; },
       "counters\\[1\\]\\.name: \"c\" is taken already"},
      {"opcode", [](Program& p) { p.queues[0][1].opcode = 0x7777; },
       "queues\\[0\\]\\[1\\]\\.opcode: 0x7777 is not known"},
      {"waits", [](Program& p) { p.queues[0][1].num_waits = 5; },
       "queues\\[0\\]\\[1\\]\\.num_waits: 5 is more than 4"},
      {"label", [](Program& p) { p.labels[0][0] = std::string(257, 'x'); },
       "labels\\[0\\]: longer than 256 bytes"},
  };
  for (const Edit& edit : kEdits) {
    Program program;
    program.buffers = {
        {"x", DType::kF24, BufferKind::kInput, Layout::kRows, {4}},
        {"y", DType::kF24, BufferKind::kState, Layout::kRows, {4}}};
    program.counters = {{"c", 1}, {"d", 1}};
    program.queues = {{Instruction{}, Encode(HaltOperands{})}};
    program.labels = {{"", ""}};
    ASSERT_TRUE(Parse(SerializeProgram(program)).ok());
    edit.edit(program);
    const auto parsed = Parse(SerializeProgram(program));
    ASSERT_FALSE(parsed.ok()) << edit.name;
    EXPECT_THAT(
        std::string(parsed.status().message()),
        ContainsRegex(absl::StrCat("^program, offset [0-9]+: ", edit.message)))
        << edit.name;
  }
}

std::string MessageOf(const std::string& bytes) {
  return std::string(Parse(bytes).status().message());
}

TEST(ProgramDamage, HeaderErrorsSayWhatToDo) {
  std::string bytes = Sample();
  EXPECT_THAT(MessageOf(""), HasSubstr("this is not a binary program"));
  EXPECT_THAT(MessageOf("ELF"), HasSubstr("this is not a binary program"));
  EXPECT_THAT(MessageOf("mkvm\n\x1a\n"), HasSubstr("line ends"));
  bytes[8] = 2;
  EXPECT_THAT(MessageOf(bytes),
              HasSubstr("offset 8: format_version: 2; this build reads 1"));
  bytes[8] = 1;
  bytes[12] = 99;
  EXPECT_THAT(MessageOf(bytes),
              HasSubstr("offset 12: isa_version: 99; this build reads"));
  bytes[12] = static_cast<char>(kIsaVersion);
  ASSERT_TRUE(Parse(bytes).ok());
  EXPECT_THAT(MessageOf(bytes.substr(0, 100)), HasSubstr("cut short"));
  EXPECT_THAT(MessageOf(bytes + "x"), HasSubstr("something follows"));
  bytes.back() ^= 1;
  EXPECT_THAT(MessageOf(bytes), HasSubstr("checksum: "));
}

// A count of 2^32 - 1 in a file of a few hundred bytes must not be believed.
TEST(ProgramDamage, HugeCountsAreRefusedBeforeAllocation) {
  const std::string bytes = SerializeProgram(Program());
  // Offsets of every count of the empty program: see the grammar.
  const size_t name = kHeaderBytes;
  const size_t target = name + 4;
  const size_t model = target + 4 + 3 + 3 * 4 + 8;  // "any"
  for (size_t at :
       {name, target, model, model + 4, model + 8, model + 12, model + 16}) {
    std::string damaged = bytes;
    const uint32_t huge = 0xffffffffu;
    std::memcpy(&damaged[at], &huge, 4);
    EXPECT_THAT(MessageOf(Resealed(damaged)),
                HasSubstr(absl::StrCat("offset ", at, ": ")))
        << at;
    EXPECT_THAT(MessageOf(Resealed(damaged)),
                HasSubstr("4294967295 is more than"))
        << at;
  }
}

}  // namespace
}  // namespace mkvm::isa
