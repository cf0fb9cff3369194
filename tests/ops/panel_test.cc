#include "ops/panel.h"

#include <vector>

#include "gtest/gtest.h"

namespace mkvm::ops {
namespace {

class PanelTest : public testing::TestWithParam<uint64_t> {};

TEST_P(PanelTest, EveryElementHasItsOwnPlace) {
  const uint64_t columns = GetParam(), rows = 19;
  std::vector<bool> taken(PackedElements(rows, columns), false);
  for (uint64_t row = 0; row < rows; ++row) {
    for (uint64_t column = 0; column < columns; ++column) {
      const uint64_t at = PackedIndex(row, column, columns);
      ASSERT_LT(at, taken.size());
      ASSERT_FALSE(taken[at]) << row << ", " << column;
      taken[at] = true;
    }
  }
}

TEST_P(PanelTest, PlacesAndTilesAreEachOthersReverse) {
  for (uint64_t tile = 0; tile < TilesPerPanel(GetParam()); ++tile) {
    EXPECT_EQ(TileAtPlace(PlaceOfTile(tile, GetParam()), GetParam()), tile);
  }
}

// A slab's elements stay in the slab's stage.
TEST_P(PanelTest, SlabsStayTogether) {
  const uint64_t columns = GetParam();
  const uint64_t stage_elements = isa::kPanelRows * isa::kStageColumns;
  for (uint64_t column = 0; column < columns; ++column) {
    EXPECT_EQ(PackedIndex(3, column, columns) / stage_elements,
              column / isa::kStageColumns);
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, PanelTest,
                         testing::Values(1, 32, 72, 1000, 1024, 2048, 2560,
                                         3072));

TEST(Panel, AWarpsTilesAreNeighboursWhereSlabsAreWhole) {
  constexpr uint64_t kWarp = 5, kSlab = 2;
  for (uint64_t j = 0; j < kWarpTiles; ++j) {
    const uint64_t place = kSlab * kSlabTiles + kWarp + j * kTileStep;
    EXPECT_EQ(TileAtPlace(place, 3072),
              kSlab * kSlabTiles + kWarp * kWarpTiles + j);
    EXPECT_EQ(TileAtPlace(place, 3080), place);
  }
}

}  // namespace
}  // namespace mkvm::ops
