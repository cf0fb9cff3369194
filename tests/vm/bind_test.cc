#include "vm/bind.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using isa::BufferKind;
using isa::DType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float FromBits(uint32_t bits) { return isa::FloatOfBits(bits); }

// One f32 -> bf16.
uint16_t ToBf16(float value) {
  uint16_t out = 0xdead;
  ConvertElements({DType::kF32, {1}, &value}, DType::kBf16, 0, 1, &out);
  return out;
}

uint32_t ToF24(float value) {
  uint32_t out = 0xdeadbeef;
  ConvertElements({DType::kF32, {1}, &value}, DType::kF24, 0, 1, &out);
  return out;
}

TEST(ConvertF32ToBf16, KeepsWhatFits) {
  EXPECT_EQ(ToBf16(0.0f), 0x0000);
  EXPECT_EQ(ToBf16(-0.0f), 0x8000);
  EXPECT_EQ(ToBf16(1.0f), 0x3f80);
  EXPECT_EQ(ToBf16(-2.5f), 0xc020);
  EXPECT_EQ(ToBf16(FromBits(0x00010000)), 0x0001);  // subnormal
}

TEST(ConvertF32ToBf16, RoundsToNearest) {
  EXPECT_EQ(ToBf16(FromBits(0x3f807fff)), 0x3f80);
  EXPECT_EQ(ToBf16(FromBits(0x3f808001)), 0x3f81);
  EXPECT_EQ(ToBf16(FromBits(0xbf80ffff)), 0xbf81);
}

TEST(ConvertF32ToBf16, RoundsTiesToEven) {
  EXPECT_EQ(ToBf16(FromBits(0x3f808000)), 0x3f80);
  EXPECT_EQ(ToBf16(FromBits(0x3f818000)), 0x3f82);
  EXPECT_EQ(ToBf16(FromBits(0xbf818000)), 0xbf82);
}

TEST(ConvertF32ToBf16, CarriesIntoTheExponentAndToInfinity) {
  EXPECT_EQ(ToBf16(FromBits(0x3fffffff)), 0x4000);
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::lowest()), 0xff80);
}

TEST(ConvertF32ToBf16, KeepsInfinityAndNan) {
  EXPECT_EQ(ToBf16(kInfinity), 0x7f80);
  EXPECT_EQ(ToBf16(-kInfinity), 0xff80);
  // A NaN whose payload would round away must not become infinity.
  EXPECT_EQ(ToBf16(FromBits(0x7f800001)), 0x7fc0);
  EXPECT_EQ(ToBf16(FromBits(0x7fffffff)), 0x7fc0);
}

TEST(ConvertF32ToF24, RoundsToSixteenBitsTiesToEven) {
  EXPECT_EQ(ToF24(1.0f), 0x3f800000u);
  EXPECT_EQ(ToF24(FromBits(0x3f80007f)), 0x3f800000u);
  EXPECT_EQ(ToF24(FromBits(0x3f800080)), 0x3f800000u);
  EXPECT_EQ(ToF24(FromBits(0x3f800081)), 0x3f800100u);
  EXPECT_EQ(ToF24(FromBits(0x3f800180)), 0x3f800200u);
  EXPECT_EQ(ToF24(FromBits(0xbf8001ff)), 0xbf800200u);
  EXPECT_EQ(ToF24(std::numeric_limits<float>::max()), 0x7f800000u);
  EXPECT_EQ(ToF24(-kInfinity), 0xff800000u);
  EXPECT_EQ(ToF24(FromBits(0x7f800001)), 0x7fc00000u);
}

TEST(ConvertBf16, IsExactInEveryFloat) {
  const uint16_t values[] = {0x0000, 0x8000, 0x3f81, 0xff80, 0x0001};
  const HostTensor tensor = {DType::kBf16, {5}, values};
  uint32_t wide[5];
  for (const DType to : {DType::kF32, DType::kF24}) {
    ConvertElements(tensor, to, 0, 5, wide);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(wide[i], uint32_t{values[i]} << 16);
  }
  uint16_t same[5];
  ConvertElements(tensor, DType::kBf16, 0, 5, same);
  EXPECT_EQ(std::memcmp(same, values, sizeof(values)), 0);
}

TEST(ConvertElements, TakesTheRangeAskedFor) {
  const float values[] = {1, 2, 3, 4};
  uint16_t out[4] = {7, 7, 7, 7};
  ConvertElements({DType::kF32, {4}, values}, DType::kBf16, 1, 2, out);
  EXPECT_EQ(out[0], 0x4000);
  EXPECT_EQ(out[1], 0x4040);
  EXPECT_EQ(out[2], 7);
  ConvertElements({DType::kF32, {4}, values}, DType::kBf16, 4, 0, out + 3);
  EXPECT_EQ(out[3], 7);
}

TEST(ConvertElements, TakesTensorsOfAnyAlignment) {
  const float values[] = {1.5f, -2.0f};
  char bytes[sizeof(values) + 1];
  std::memcpy(bytes + 1, values, sizeof(values));
  float out[2] = {};
  ConvertElements({DType::kF32, {2}, bytes + 1}, DType::kF32, 0, 2, out);
  EXPECT_EQ(out[0], 1.5f);
  EXPECT_EQ(out[1], -2.0f);
}

TEST(ConvertElements, ClearsTheTagsOfRankedAndF24) {
  const uint64_t ranked = isa::PackRanked(2.5f, 1234, 77);
  uint64_t clean = 0;
  ConvertElements({DType::kRanked, {1}, &ranked}, DType::kRanked, 0, 1, &clean);
  EXPECT_EQ(clean, isa::PackRanked(2.5f, 1234, 0));
  const uint32_t tagged = 0x3f80ab05;  // 1.0051... with tag 5
  uint32_t word = 0;
  ConvertElements({DType::kF24, {1}, &tagged}, DType::kF24, 0, 1, &word);
  EXPECT_EQ(word, 0x3f80ab00u);
}

class FindBindableTest : public testing::Test {
 protected:
  FindBindableTest() {
    ProgramBuilder b(1);
    b.Buffer("w", DType::kBf16, BufferKind::kWeight, {2, 3});
    b.Buffer("n", DType::kI32, BufferKind::kInput, {2});
    b.Activation("x", 4);
    b.State("s", 4);
    b.Add(0, "halt", isa::HaltOperands());
    program_ = b.Build();
  }

  absl::Status Find(const std::string& name, const HostTensor& tensor) {
    return FindBindable(program_, name, tensor).status();
  }

  isa::Program program_;
  float data_[8] = {};
};

TEST_F(FindBindableTest, FindsWeightsInputsAndState) {
  EXPECT_EQ(*FindBindable(program_, "w", {DType::kF32, {2, 3}, data_}), 0u);
  EXPECT_EQ(*FindBindable(program_, "n", {DType::kI32, {2}, data_}), 1u);
  EXPECT_EQ(*FindBindable(program_, "s", {DType::kBf16, {4}, data_}), 3u);
}

TEST_F(FindBindableTest, RejectsUnknownNames) {
  EXPECT_EQ(Find("nosuch", {DType::kF32, {1}, data_}),
            absl::NotFoundError("the program has no buffer nosuch"));
}

TEST_F(FindBindableTest, RejectsActivations) {
  EXPECT_EQ(Find("x", {DType::kF24, {4}, data_}),
            absl::InvalidArgumentError("buffer x is an activation: the program "
                                       "computes it, it can't be bound"));
}

TEST_F(FindBindableTest, RejectsAnotherShapeNamingBoth) {
  EXPECT_EQ(Find("w", {DType::kBf16, {3, 2}, data_}),
            absl::InvalidArgumentError(
                "buffer w is bf16 [2, 3], the tensor given is bf16 [3, 2]"));
  EXPECT_EQ(Find("s", {DType::kF32, {1, 4}, data_}),
            absl::InvalidArgumentError(
                "buffer s is f24 [4], the tensor given is f32 [1, 4]"));
}

TEST_F(FindBindableTest, RejectsIntegersForFloatsAndBack) {
  EXPECT_EQ(Find("w", {DType::kI32, {2, 3}, data_}),
            absl::InvalidArgumentError(
                "buffer w is bf16 [2, 3], the tensor given is i32 [2, 3]"));
  EXPECT_EQ(Find("n", {DType::kF32, {2}, data_}),
            absl::InvalidArgumentError(
                "buffer n is i32 [2], the tensor given is f32 [2]"));
  EXPECT_EQ(Find("n", {DType::kRanked, {2}, data_}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(FindBindableTest, RejectsTensorsWithoutData) {
  EXPECT_EQ(
      Find("w", {DType::kBf16, {2, 3}, nullptr}),
      absl::InvalidArgumentError("the tensor given for buffer w has no data"));
}

}  // namespace
}  // namespace mkvm::vm
