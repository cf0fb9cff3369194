#include "vm/host_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using isa::BufferKind;
using isa::DType;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class HostMemoryTest : public testing::Test {
 protected:
  HostMemoryTest() {
    ProgramBuilder b(1);
    b.Buffer("w", DType::kBf16, BufferKind::kWeight, {2, 4});
    b.Buffer("table", DType::kF32, BufferKind::kWeight, {4});
    b.Buffer("n", DType::kI32, BufferKind::kInput, {2});
    b.Activation("x", 5);
    b.State("s", 3);
    b.Buffer("best", DType::kRanked, BufferKind::kState, {1});
    b.Add(0, "halt", isa::HaltOperands());
    program_ = b.Build();
  }

  HostMemory Make(bool alias) {
    auto memory = HostMemory::Create(program_, alias);
    EXPECT_TRUE(memory.ok()) << memory.status();
    return *std::move(memory);
  }

  isa::Program program_;
  const float floats_[8] = {1, 2, 3, 4, 5, 6, 7, 8};
};

TEST_F(HostMemoryTest, StartsZeroedAndAligned) {
  const HostMemory memory = Make(false);
  for (const char* name : {"n", "x", "s", "best"}) {
    const uint32_t id = isa::FindBuffer(program_, name);
    const ops::HostBuffer& buffer = memory.buffers()[id];
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data) % 64, 0u) << name;
    std::vector<char> bytes(isa::NumElements(program_.buffers[id]) *
                            isa::SizeOf(buffer.dtype));
    ASSERT_TRUE(memory.Read(name, absl::MakeSpan(bytes)).ok());
    for (const char byte : bytes) EXPECT_EQ(byte, 0) << name;
  }
}

TEST_F(HostMemoryTest, ConvertsWhatIsBound) {
  HostMemory memory = Make(true);
  ASSERT_TRUE(memory.Bind("w", {DType::kF32, {2, 4}, floats_}).ok());
  uint16_t out[8];
  ASSERT_TRUE(
      memory.Read("w", {reinterpret_cast<char*>(out), sizeof(out)}).ok());
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(isa::FloatOfBf16Bits(out[i]), floats_[i]);
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.buffers()[0].data) % 64, 0u);
}

TEST_F(HostMemoryTest, AliasesWeightsOfTheRightDtypeOnlyWhenAsked) {
  const HostTensor table = {DType::kF32, {4}, floats_};
  HostMemory aliasing = Make(true);
  ASSERT_TRUE(aliasing.Bind("table", table).ok());
  EXPECT_EQ(aliasing.buffers()[1].data, floats_);
  HostMemory copying = Make(false);
  ASSERT_TRUE(copying.Bind("table", table).ok());
  EXPECT_NE(copying.buffers()[1].data, floats_);
  EXPECT_EQ(copying.buffers()[1].As<float>()[3], 4.0f);
}

TEST_F(HostMemoryTest, CopiesWeightsThatLieMisaligned) {
  char bytes[17];
  std::memcpy(bytes + 1, floats_, 16);
  char* misaligned = bytes + 1;
  if (reinterpret_cast<uintptr_t>(misaligned) % 4 == 0) --misaligned;
  std::memmove(misaligned, floats_, 16);
  HostMemory memory = Make(true);
  ASSERT_TRUE(memory.Bind("table", {DType::kF32, {4}, misaligned}).ok());
  EXPECT_NE(memory.buffers()[1].data, misaligned);
  EXPECT_EQ(memory.buffers()[1].As<float>()[3], 4.0f);
}

TEST_F(HostMemoryTest, RebindsCopiesAndAliases) {
  HostMemory memory = Make(true);
  const uint16_t halves[4] = {0x3f80, 0, 0, 0};
  ASSERT_TRUE(memory.Bind("table", {DType::kBf16, {4}, halves}).ok());
  EXPECT_EQ(memory.buffers()[1].As<float>()[0], 1.0f);
  ASSERT_TRUE(memory.Bind("table", {DType::kF32, {4}, floats_ + 4}).ok());
  EXPECT_EQ(memory.buffers()[1].As<float>()[0], 5.0f);
  ASSERT_TRUE(memory.Bind("table", {DType::kBf16, {4}, halves}).ok());
  EXPECT_EQ(memory.buffers()[1].As<float>()[0], 1.0f);
}

TEST_F(HostMemoryTest, NamesTheFirstMissingBufferAndCountsTheOthers) {
  HostMemory memory = Make(true);
  EXPECT_EQ(memory.CheckAllBound(),
            absl::FailedPreconditionError(
                "weight w is not bound, nor are 2 other buffers"));
  ASSERT_TRUE(memory.Bind("w", {DType::kF32, {2, 4}, floats_}).ok());
  EXPECT_EQ(memory.CheckAllBound(),
            absl::FailedPreconditionError(
                "weight table is not bound, nor is 1 other buffer"));
  ASSERT_TRUE(memory.Bind("table", {DType::kF32, {4}, floats_}).ok());
  EXPECT_EQ(memory.CheckAllBound(),
            absl::FailedPreconditionError("input n is not bound"));
  const int32_t n[2] = {1, 2};
  ASSERT_TRUE(memory.Bind("n", {DType::kI32, {2}, n}).ok());
  EXPECT_TRUE(memory.CheckAllBound().ok());
}

TEST_F(HostMemoryTest, AFailedBindLeavesTheBufferAsItWas) {
  HostMemory memory = Make(true);
  ASSERT_TRUE(memory.Bind("s", {DType::kF32, {3}, floats_}).ok());
  const absl::Status status = memory.Bind("s", {DType::kF32, {4}, floats_});
  EXPECT_EQ(status, absl::InvalidArgumentError(
                        "buffer s is f24 [3], the tensor given is f32 [4]"));
  EXPECT_EQ(memory.buffers()[4].As<float>()[2], 3.0f);
}

TEST_F(HostMemoryTest, ReadChecksNameSizeAndPresence) {
  HostMemory memory = Make(true);
  char bytes[16];
  EXPECT_EQ(memory.Read("nosuch", absl::MakeSpan(bytes)),
            absl::NotFoundError("the program has no buffer nosuch"));
  EXPECT_EQ(memory.Read("w", absl::MakeSpan(bytes)),
            absl::FailedPreconditionError("buffer w is not bound"));
  EXPECT_EQ(memory.Read("s", absl::MakeSpan(bytes)),
            absl::InvalidArgumentError(
                "buffer s has 12 bytes, the space given has 16"));
}

TEST_F(HostMemoryTest, ReadTakesTheTagOffRanked) {
  HostMemory memory = Make(true);
  memory.buffers()[5].As<uint64_t>()[0] = isa::PackRanked(3.0f, 9, 200);
  uint64_t word = 0;
  ASSERT_TRUE(memory.Read("best", {reinterpret_cast<char*>(&word), 8}).ok());
  EXPECT_EQ(word, isa::PackRanked(3.0f, 9, 0));
}

TEST_F(HostMemoryTest, RefusesWhatDoesNotFit) {
  ProgramBuilder b(1);
  b.State("kv", uint64_t{1} << 45);
  b.Add(0, "halt", isa::HaltOperands());
  const absl::Status status = HostMemory::Create(b.Build(), true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(StartsWith("the program needs 140737.49 GB, this machine "
                               "has "),
                    HasSubstr("--max_context")));
}

TEST_F(HostMemoryTest, RefusesSizesThatOverflow) {
  ProgramBuilder b(1);
  b.Buffer("kv", DType::kF32, BufferKind::kState,
           {uint64_t{1} << 40, uint64_t{1} << 40});
  b.Add(0, "halt", isa::HaltOperands());
  EXPECT_EQ(HostMemory::Create(b.Build(), true).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(HostMemoryTest, CountsWeightsOnlyWhenTheyAreCopied) {
  ProgramBuilder b(1);
  b.Buffer("w", DType::kBf16, BufferKind::kWeight, {uint64_t{1} << 45});
  b.Add(0, "halt", isa::HaltOperands());
  const isa::Program program = b.Build();
  EXPECT_TRUE(HostMemory::Create(program, true).ok());
  EXPECT_EQ(HostMemory::Create(program, false).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace mkvm::vm
