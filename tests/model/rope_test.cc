#include <cmath>

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

TEST(RopeTableTest, HandComputed) {
  // head_dim 4, theta 1e6: frequencies 1 and 1e6^(-1/2) = 1e-3.
  const std::vector<float> table = RopeTable(SmallConfig(), 3);
  const std::vector<float> expected = {
      1,           1,          0,          0,
      0.5403023f,  0.9999995f, 0.8414710f, 0.00099999983f,
      -0.4161468f, 0.9999980f, 0.9092974f, 0.0019999987f};
  EXPECT_THAT(table, testing::Pointwise(testing::FloatEq(), expected));
}

TEST(RopeTableTest, ThetaOfTheConfig) {
  const std::vector<float> table =
      RopeTable(SmallConfig({{"rope_theta", "10000"}}), 2);
  EXPECT_FLOAT_EQ(table[4 + 1], std::cos(0.01f));
  EXPECT_FLOAT_EQ(table[4 + 3], std::sin(0.01f));
}

TEST(RopeTableTest, EveryPositionWhateverTheThreads) {
  Config config = SmallConfig({{"head_dim", "6"}});
  const uint64_t positions = 40961;  // no multiple of any piece
  const std::vector<float> table = RopeTable(config, positions);
  ASSERT_EQ(table.size(), positions * 6);
  for (uint64_t p = 0; p < positions; ++p) {
    for (uint64_t i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(p) *
                           std::pow(1e6, -2.0 * static_cast<double>(i) / 6.0);
      ASSERT_NEAR(table[p * 6 + i], std::cos(angle), 1e-7) << p << " " << i;
      ASSERT_NEAR(table[p * 6 + 3 + i], std::sin(angle), 1e-7) << p << " " << i;
    }
  }
}

TEST(RopeTableTest, NoPositions) {
  EXPECT_TRUE(RopeTable(SmallConfig(), 0).empty());
}

}  // namespace
}  // namespace mkvm::model
