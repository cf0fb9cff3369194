#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Embed {
  OpProgram program;
  isa::EmbedOperands op;

  std::vector<float> y() const { return program.Floats(op.y); }
};

Embed MakeEmbed(uint64_t vocabulary, uint64_t hidden, uint32_t begin,
                uint32_t count, bool panels = false) {
  Embed embed;
  OpProgram& p = embed.program;
  embed.op.tokens = p.State("tokens", isa::DType::kI32, {4});
  embed.op.table =
      panels ? p.Matrix("table", vocabulary, hidden)
             : p.Weight("table", isa::DType::kBf16, {vocabulary, hidden});
  embed.op.y = p.Output("y", isa::DType::kF24, {hidden});
  embed.op.begin = begin;
  embed.op.count = count;
  p.SetInts(embed.op.tokens, {2, 0, static_cast<int32_t>(vocabulary) - 1, 1});
  p.SetRandom(embed.op.table, 5);
  p.Append(embed.op);
  return embed;
}

TEST(EmbedTest, Encodes) {
  ExpectEncodes(
      isa::EmbedOperands{
          .tokens = 1, .table = 2, .y = 3, .begin = 4, .count = 5},
      0x10, "embed", {1, 2, 3, 4, 5});
}

TEST(EmbedTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(MakeEmbed(5, 24, 8, 16).program);
}

TEST(EmbedTest, RejectsBadOperands) {
  const Embed embed = MakeEmbed(5, 24, 8, 16);
  Rejections reject(embed.program, embed.op);
  reject.Expect("count is 0", [](isa::EmbedOperands& op) { op.count = 0; });
  reject.Expect("begin + count goes past the table's columns",
                [](isa::EmbedOperands& op) { op.begin = 9; });
  reject.Expect("begin + count goes past the table's columns",
                [](isa::EmbedOperands& op) { op.begin = 0xfffffff0u; });
  reject.ExpectComplete();
}

TEST(EmbedTest, CopiesTheRowOfTheToken) {
  Embed embed = MakeEmbed(3, 2, 0, 2);
  embed.program.Set(embed.op.table, {1.0f, 2.0f, 3.0f, -4.0f, 0.5f, 6.0f});
  ASSERT_TRUE(embed.program.RunReference(0).ok());  // token 2
  EXPECT_THAT(embed.y(), ElementsAre(0.5f, 6.0f));
  ASSERT_TRUE(embed.program.RunReference(1).ok());  // token 0
  EXPECT_THAT(embed.y(), ElementsAre(1.0f, 2.0f));
}

TEST(EmbedTest, WritesItsRangeOnly) {
  for (const uint32_t begin : {0u, 1u, 7u, 32u}) {
    Embed embed = MakeEmbed(9, 33, begin, 1);
    ASSERT_TRUE(embed.program.RunReference(2).ok());  // token 8
    std::vector<float> want(33, OpProgram::kUnwritten);
    want[begin] = embed.program.Floats(embed.op.table)[8 * 33 + begin];
    EXPECT_EQ(embed.y(), want);
  }
}

TEST(EmbedTest, ReportsATokenOutsideTheVocabulary) {
  for (const int32_t token : {5, -1}) {
    Embed embed = MakeEmbed(5, 24, 0, 24);
    embed.program.SetInts(embed.op.tokens, {0, 0, 0, token});
    const absl::Status status = embed.program.RunReference(3);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(testing::PrintToString(token)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("vocabulary of 5"));
    EXPECT_THAT(embed.y(), Each(OpProgram::kUnwritten));
  }
}

TEST(EmbedTest, ReportsAPositionPastTheTokens) {
  Embed embed = MakeEmbed(5, 24, 0, 24);
  const absl::Status status = embed.program.RunReference(4);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("position 4"));
}

TEST(EmbedTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const bool panels : {false, true}) {
    for (const uint64_t hidden : {1, 7, 33, 1025}) {
      SCOPED_TRACE(testing::Message() << panels << " " << hidden);
      Embed reference =
          MakeEmbed(13, hidden, 0, static_cast<uint32_t>(hidden), panels);
      for (const int64_t position : {0, 2}) {
        Embed gpu = reference;
        ASSERT_TRUE(reference.program.RunReference(position).ok());
        const absl::Status status = gpu.program.RunGpu(position);
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(gpu.y(), reference.y());
      }
    }
  }
}

TEST(EmbedTest, GpuReportsATokenOutsideTheVocabulary) {
  MKVM_SKIP_WITHOUT_GPU();
  Embed embed = MakeEmbed(5, 24, 0, 24);
  embed.program.SetInts(embed.op.tokens, {0, 0, 0, 5});
  const absl::Status status = embed.program.RunGpu(3);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("5"));
}

}  // namespace
}  // namespace mkvm::ops
