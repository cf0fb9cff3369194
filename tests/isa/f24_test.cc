#include "isa/f24.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace mkvm::isa {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

TEST(F24, RoundsToNearest) {
  // 0x3f800000 is 1; a unit of f24 is 0x100.
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3f800000u)), 0x3f800000u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3f80007fu)), 0x3f800000u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3f800081u)), 0x3f800100u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0xbf800081u)), 0xbf800100u);
}

TEST(F24, RoundsTiesToEven) {
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3f800080u)), 0x3f800000u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3f800180u)), 0x3f800200u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0xbf800180u)), 0xbf800200u);
  // Up into the next exponent.
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x3fffff80u)), 0x40000000u);
}

TEST(F24, OverflowsToInfinity) {
  EXPECT_EQ(RoundToF24(std::numeric_limits<float>::max()), kInf);
  EXPECT_EQ(RoundToF24(-std::numeric_limits<float>::max()), -kInf);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x7f7fff7fu)), 0x7f7fff00u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x7f7fff80u)), 0x7f800000u);
  EXPECT_EQ(RoundToF24(kInf), kInf);
  EXPECT_EQ(RoundToF24(-kInf), -kInf);
}

TEST(F24, KeepsNan) {
  EXPECT_TRUE(std::isnan(RoundToF24(kNan)));
  EXPECT_TRUE(std::isnan(RoundToF24(-kNan)));
  // A payload in the tag bits only, which rounding must not make infinity.
  EXPECT_TRUE(std::isnan(RoundToF24(FloatOfBits(0x7f800001u))));
  EXPECT_TRUE(std::isnan(RoundToF24(FloatOfBits(0x7fffffffu))));
  EXPECT_TRUE(std::isnan(RoundToF24(FloatOfBits(0xffffffffu))));
}

TEST(F24, KeepsZerosAndRoundsSubnormals) {
  EXPECT_EQ(F24BitsOfFloat(0.0f), 0u);
  EXPECT_EQ(F24BitsOfFloat(-0.0f), 0x80000000u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x00000001u)), 0u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x00000081u)), 0x00000100u);
  EXPECT_EQ(F24BitsOfFloat(FloatOfBits(0x007fffffu)), 0x00800000u);
}

TEST(F24, IsWithinItsRelativeErrorAndStable) {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const float value = FloatOfBits(random());
    if (!std::isnormal(value)) continue;
    const float rounded = RoundToF24(value);
    if (std::isinf(rounded)) continue;
    ASSERT_LE(std::abs(double{rounded} - double{value}),
              std::ldexp(std::abs(double{value}), -16))
        << value;
    ASSERT_EQ(RoundToF24(rounded), rounded);
    ASSERT_EQ(F24BitsOfFloat(value) & 0xffu, 0u);
  }
}

TEST(F24, IsTheSumOfTwoBf16) {
  std::mt19937 random(2);
  int checked = 0;
  for (int i = 0; i < 100000; ++i) {
    const float value = RoundToF24(FloatOfBits(random()));
    // Small enough for the high part not to round up to infinity, large
    // enough for the low part to be normal.
    if (!(std::abs(value) < 1e38f && std::abs(value) > 1e-30f)) continue;
    const float high = FloatOfBf16Bits(Bf16BitsOfFloat(value));
    const float low = FloatOfBf16Bits(Bf16BitsOfFloat(value - high));
    ASSERT_EQ(high + low, value);
    ++checked;
  }
  EXPECT_GT(checked, 50000);
}

TEST(F24, ReadsAnyTag) {
  EXPECT_EQ(FloatOfF24Bits(0x3f800000u), 1.0f);
  EXPECT_EQ(FloatOfF24Bits(0x3f8000ffu), 1.0f);
  // A tag must not turn infinity into NaN.
  EXPECT_EQ(FloatOfF24Bits(0x7f800001u), kInf);
}

TEST(Bf16, RoundsTiesToEvenAndKeepsNan) {
  EXPECT_EQ(Bf16BitsOfFloat(1.0f), 0x3f80u);
  EXPECT_EQ(Bf16BitsOfFloat(FloatOfBits(0x3f808000u)), 0x3f80u);
  EXPECT_EQ(Bf16BitsOfFloat(FloatOfBits(0x3f818000u)), 0x3f82u);
  EXPECT_EQ(Bf16BitsOfFloat(FloatOfBits(0x3f808001u)), 0x3f81u);
  EXPECT_EQ(Bf16BitsOfFloat(std::numeric_limits<float>::max()), 0x7f80u);
  EXPECT_EQ(Bf16BitsOfFloat(-kInf), 0xff80u);
  EXPECT_TRUE(std::isnan(FloatOfBf16Bits(Bf16BitsOfFloat(kNan))));
  EXPECT_TRUE(
      std::isnan(FloatOfBf16Bits(Bf16BitsOfFloat(FloatOfBits(0x7f800001u)))));
}

TEST(Tag, IsNeverZeroAndComesRoundAfter255Passes) {
  for (uint32_t pass = 0; pass < 1000; ++pass) {
    ASSERT_GE(TagOfPass(pass), 1u);
    ASSERT_LE(TagOfPass(pass), 255u);
    ASSERT_NE(TagOfPass(pass), TagOfPass(pass + 1));
    ASSERT_EQ(TagOfPass(pass), TagOfPass(pass + 255));
  }
  EXPECT_EQ(TagOfPass(0), 1u);
  EXPECT_EQ(TagOfPass(254), 255u);
}

TEST(Ranked, PacksAndUnpacks) {
  for (float score : {0.0f, -0.0f, 1.5f, -3e38f, kInf, -kInf}) {
    for (uint32_t index : {0u, 1u, 151935u, kMaxRankedIndex}) {
      for (uint32_t tag : {0u, 1u, 255u}) {
        const uint64_t word = PackRanked(score, index, tag);
        EXPECT_EQ(BitsOfFloat(ScoreOfRanked(word)), BitsOfFloat(score));
        EXPECT_EQ(IndexOfRanked(word), index);
        EXPECT_EQ(TagOfRanked(word), tag);
      }
    }
  }
  EXPECT_EQ(PackRanked(1.0f, 2, 3), 0x00000203'3f800000u);
  EXPECT_TRUE(std::isnan(ScoreOfRanked(PackRanked(kNan, 5, 1))));
}

TEST(Ranked, OrdersByScoreThenByLowerIndex) {
  EXPECT_TRUE(RanksBefore(2.0f, 9, 1.0f, 0));
  EXPECT_FALSE(RanksBefore(1.0f, 0, 2.0f, 9));
  EXPECT_TRUE(RanksBefore(1.0f, 3, 1.0f, 4));
  EXPECT_FALSE(RanksBefore(1.0f, 4, 1.0f, 3));
  // The zeros are equal, so the index decides.
  EXPECT_TRUE(RanksBefore(-0.0f, 3, 0.0f, 4));
  EXPECT_TRUE(RanksBefore(0.0f, 3, -kInf, 0));
  // Nothing ranks before itself.
  EXPECT_FALSE(RanksBefore(1.0f, 3, 1.0f, 3));
}

TEST(Ranked, PutsNanFirst) {
  EXPECT_TRUE(RanksBefore(kNan, 9, kInf, 0));
  EXPECT_FALSE(RanksBefore(kInf, 0, kNan, 9));
  EXPECT_TRUE(RanksBefore(kNan, 1, kNan, 2));
  EXPECT_FALSE(RanksBefore(kNan, 2, kNan, 1));
}

}  // namespace
}  // namespace mkvm::isa
