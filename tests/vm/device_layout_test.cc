#include "vm/device_layout.h"

#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "ops/activation_layout.h"
#include "tests/scheduler/testing.h"
#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

isa::Program Compiled(const char* model) {
  return scheduler::MustCompile(model::FindConfig(model).value(),
                                scheduler::FindTarget("h200").value());
}

TEST(DeviceLayoutTest, VectorsAreSpreadPartsAndWeightsAreNot) {
  const isa::Program program = Compiled("qwen3-0.6b");
  const auto layouts = LayoutsOf(program);
  ASSERT_TRUE(layouts.ok()) << layouts.status();
  ASSERT_EQ(layouts->size(), program.buffers.size());
  const auto of = [&](const std::string& name) {
    return (*layouts)[isa::FindBuffer(program, name)];
  };
  for (const char* name : {"L00.x", "L00.q", "L00.k", "L00.v", "L00.att",
                           "L00.x1", "L00.h", "L28.x"}) {
    EXPECT_EQ(of(name), DeviceLayout::kSpread) << name;
  }
  EXPECT_EQ(of("L00.k_cache"), DeviceLayout::kPermuted);
  EXPECT_EQ(of("L27.v_cache"), DeviceLayout::kPermuted);
  for (const char* name :
       {"L00.part", "tokens", "rope.cos_sin", "model.embed_tokens.weight"}) {
    EXPECT_EQ(of(name), DeviceLayout::kPlain) << name;
  }
}

TEST(DeviceLayoutTest, CachesOfOtherHeadsAreAsTheyAre) {
  const isa::Program program =
      scheduler::MustCompile(scheduler::OddConfig(), scheduler::TestTarget(4));
  const auto layouts = LayoutsOf(program);
  ASSERT_TRUE(layouts.ok()) << layouts.status();
  const uint32_t id = isa::FindBuffer(program, "L00.k_cache");
  ASSERT_NE(program.buffers[id].shape.back(), 128u);
  EXPECT_EQ((*layouts)[id], DeviceLayout::kPlain);
}

TEST(DeviceLayoutTest, OneBufferCannotHavePartsAndBeAVector) {
  ProgramBuilder builder(1);
  const uint32_t part = builder.Buffer(
      "shared", isa::DType::kF24, isa::BufferKind::kActivation, {1, 1, 1, 12});
  const uint32_t y = builder.Activation("y", 8);
  const uint32_t sum = builder.Activation("sum", 12);
  isa::AttentionMergeOperands merge = {};
  merge.part = part;
  merge.y = y;
  merge.group = merge.splits = 1;
  merge.head_dim = merge.count = 8;
  builder.Add(0, "merge", merge);
  const isa::Program fine = builder.Build();
  EXPECT_TRUE(LayoutsOf(fine).ok());
  builder.Add(0, "add", Sum(part, part, sum, 0, 12));
  const absl::Status status = LayoutsOf(builder.Build()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "buffer shared ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "use two buffers")) << status;
}

TEST(DeviceLayoutTest, SpreadWordsComeBack) {
  for (const size_t count : {0u, 1u, 7u, 8u, 9u, 1024u}) {
    std::vector<uint32_t> words(count);
    std::iota(words.begin(), words.end(), 1u);
    const std::vector<uint32_t> spread = SpreadWords(words);
    EXPECT_EQ(spread.size(), ops::ActivationWords(count));
    // Each word once, and zeros.
    EXPECT_EQ(std::accumulate(spread.begin(), spread.end(), uint64_t{0}),
              count * (count + 1) / 2);
    std::vector<uint32_t> back(count, 0);
    GatherWords(spread, absl::MakeSpan(back));
    EXPECT_EQ(back, words);
  }
}

TEST(DeviceLayoutTest, FourNeighboursStayTogetherAndLinesAreHalfFull) {
  std::set<uint32_t> seen;
  uint32_t of_first_line = 0;
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t word = ops::ActivationWord(i);
    EXPECT_TRUE(seen.insert(word).second) << i;
    EXPECT_LT(word, ops::ActivationWords(256));
    // A 16-byte access of elements 4n to 4n + 3.
    EXPECT_EQ(word, ops::ActivationWord(i / 4 * 4) + i % 4);
    if (word < 32) ++of_first_line;
    // What kernels use to step from slab to slab and from head to head.
    EXPECT_EQ(ops::ActivationWord(1024 + i), ops::ActivationWord(1024u) + word);
  }
  EXPECT_EQ(of_first_line, 16u);
}

TEST(DeviceLayoutTest, PermutedTwiceIsAsBefore) {
  constexpr uint64_t kRows = 11, kCapacity = 5;
  std::vector<uint16_t> rows(kRows * 128);
  std::iota(rows.begin(), rows.end(), uint16_t{0});
  std::vector<uint16_t> permuted = rows;
  char* const bytes = reinterpret_cast<char*>(permuted.data());
  PermuteRows(bytes, 3, kRows, kCapacity);
  // Row 5 of the buffer is row 0 of the second split: unpermuted.
  EXPECT_EQ(permuted[2 * 128 + 9], rows[2 * 128 + 9]);
  EXPECT_NE(permuted, rows);
  PermuteRows(bytes, 3, kRows, kCapacity);
  EXPECT_EQ(permuted, rows);
}

}  // namespace
}  // namespace mkvm::vm
