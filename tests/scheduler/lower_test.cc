#include "scheduler/lower.h"

#include <algorithm>
#include <map>
#include <set>

#include "isa/opcode_table.h"
#include "scheduler/order.h"
#include "scheduler/place.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

struct Lowered {
  Graph graph;
  Tiles tiles;
};

Lowered LowerFor(const model::Config& config, const Target& target,
                 const CompileOptions& options = {}) {
  const Geometry geometry = MakeGeometry(config, target, options).value();
  Lowered lowered{BuildGraph(config, geometry), {}};
  lowered.tiles = Lower(lowered.graph, geometry);
  return lowered;
}

// The rows of an operation's tiles, in order.
std::vector<uint32_t> RowsOf(const Lowered& l, absl::string_view op_name) {
  std::vector<uint32_t> rows;
  for (const Tile& tile : l.tiles.tiles) {
    if (l.graph.ops[tile.op].name != op_name) continue;
    rows.push_back(
        isa::DecodeOperands<isa::GemvOperands>(tile.instruction).rows);
  }
  return rows;
}

Target TargetWithMinRows(uint32_t workers, uint32_t min_gemv_rows) {
  Target target = TestTarget(workers);
  target.min_gemv_rows = min_gemv_rows;
  return target;
}

// Units are whole, so two shares differ by one at most.
void ExpectEqualShares(uint32_t workers, uint32_t min_rows) {
  SCOPED_TRACE(testing::Message()
               << workers << " workers, " << min_rows << " rows at least");
  const Lowered l = LowerFor(model::FindConfig("qwen3-0.6b").value(),
                             TargetWithMinRows(workers, min_rows));
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> rows;  // {op, share}
  for (const Tile& tile : l.tiles.tiles) {
    if (!Is(tile.instruction, isa::Opcode::kGemv)) continue;
    rows[{tile.op, tile.share}] +=
        isa::DecodeOperands<isa::GemvOperands>(tile.instruction).rows;
  }
  struct OfOp {
    uint64_t min = ~uint64_t{0}, max = 0, sum = 0, shares = 0;
  };
  std::map<uint32_t, OfOp> ops;
  for (const auto& [key, count] : rows) {
    OfOp& op = ops[key.first];
    op.min = std::min(op.min, count);
    op.max = std::max(op.max, count);
    op.sum += count;
    ++op.shares;
  }
  ASSERT_EQ(ops.size(), 28u * 4 + 1);
  for (const auto& [index, op] : ops) {
    const std::string& name = l.graph.ops[index].name;
    EXPECT_LE(op.max - op.min, 8u) << name;
    const uint64_t least = name == "lm_head" ? 8 : std::max(min_rows, 8u);
    EXPECT_EQ(op.shares, std::min<uint64_t>(workers, op.sum / least)) << name;
    EXPECT_GE(op.min, least) << name;
  }
}

TEST(LowerTest, SharesAreEqualToWithinAUnit) {
  for (const uint32_t workers : {1u, 3u, 7u, 128u, 132u}) {
    for (const uint32_t min_rows : {1u, 16u, 24u, 32u}) {
      ExpectEqualShares(workers, min_rows);
    }
  }
}

TEST(LowerTest, ProjectionsOf1024RowsUseHalfTheWorkersOfAnH200) {
  const Target h200 = FindTarget("h200").value();
  ASSERT_EQ(h200.workers, 128u);
  for (const uint32_t min_rows : {1u, h200.min_gemv_rows}) {
    SCOPED_TRACE(testing::Message() << min_rows << " rows at least");
    const Lowered l = LowerFor(model::FindConfig("qwen3-0.6b").value(),
                               TargetWithMinRows(128, min_rows));
    std::map<std::string, int> tiles_of_op;
    for (const Tile& tile : l.tiles.tiles) {
      ++tiles_of_op[l.graph.ops[tile.op].name];
    }
    for (const char* name :
         {"L00.qkv", "L00.attn", "L00.gate_up", "lm_head", "halt"}) {
      EXPECT_EQ(tiles_of_op[name], 128) << name;
    }
    // 64 elements each.
    EXPECT_EQ(tiles_of_op["L00.merge"], 32);
    for (const char* name : {"L00.o", "L27.down"}) {
      EXPECT_THAT(RowsOf(l, name), min_rows == 1
                                       ? std::vector<uint32_t>(128, 8)
                                       : std::vector<uint32_t>(64, 16))
          << name;
    }
  }
}

// 72 rows of o_proj are 9 panels, 104 of gate_proj 13: what is left over goes
// to some of the shares and makes no small one.
TEST(LowerTest, GemvsHaveTheRowsTheyShouldAtLeast) {
  const struct {
    uint32_t min_rows;
    std::vector<uint32_t> o;
    std::vector<uint32_t> gate_up;
  } cases[] = {
      {0, std::vector<uint32_t>(9, 8), std::vector<uint32_t>(13, 8)},
      {1, std::vector<uint32_t>(9, 8), std::vector<uint32_t>(13, 8)},
      {16, {16, 16, 16, 24}, {16, 16, 16, 16, 16, 24}},
      {24, {24, 24, 24}, {24, 24, 24, 32}},
      {32, {32, 40}, {32, 32, 40}},
      {72, {72}, {104}},
      {1000, {72}, {104}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::Message() << c.min_rows << " rows at least");
    const Lowered l = LowerFor(OddConfig(), TargetWithMinRows(26, c.min_rows));
    EXPECT_EQ(RowsOf(l, "L01.o"), c.o);
    EXPECT_EQ(RowsOf(l, "L01.gate_up"), c.gate_up);
    // Every worker has a share of the LM head, whatever the target wants.
    std::vector<uint32_t> head(26, 8);
    head.back() = 3;
    EXPECT_EQ(RowsOf(l, "lm_head"), head);
  }
  // Fewer workers than there are shares of that size.
  const Lowered few = LowerFor(OddConfig(), TargetWithMinRows(3, 16));
  EXPECT_THAT(RowsOf(few, "L01.o"), ElementsAre(24, 24, 24));
}

TEST(LowerTest, WithoutPanelsRowsAreCutAnywhere) {
  Target target = TestTarget(26, /*panels=*/false);
  target.min_gemv_rows = 16;
  const Lowered l = LowerFor(OddConfig(), target);
  EXPECT_THAT(RowsOf(l, "L01.o"), ElementsAre(18, 18, 18, 18));
  EXPECT_THAT(RowsOf(l, "L01.gate_up"), ElementsAre(17, 17, 18, 17, 17, 18));
  EXPECT_THAT(RowsOf(l, "lm_head"), SizeIs(26));
  target.min_gemv_rows = 1;
  EXPECT_THAT(RowsOf(LowerFor(OddConfig(), target), "L01.o"), SizeIs(26));
}

TEST(LowerTest, QkvTilesStayWithinOneKvHead) {
  const model::Config c = OddConfig();
  for (const uint32_t workers : {1u, 3u, 7u, 26u}) {
    const Lowered l = LowerFor(c, TestTarget(workers));
    for (const Tile& tile : l.tiles.tiles) {
      if (l.graph.ops[tile.op].name != "L00.qkv") continue;
      const auto op = isa::DecodeOperands<isa::GemvOperands>(tile.instruction);
      const bool is_q = l.graph.tensors[op.y].name == "L00.q";
      const uint32_t rows_per_head = c.head_dim * (is_q ? 3 : 1);
      EXPECT_EQ(op.row_begin / rows_per_head,
                (op.row_begin + op.rows - 1) / rows_per_head);
      EXPECT_EQ(tile.counter,
                "L00.qkv." + std::to_string(op.row_begin / rows_per_head));
    }
  }
}

TEST(LowerTest, RequirementsOfTheIsaHold) {
  for (const bool fuse : {true, false}) {
    CompileOptions options;
    options.fuse = fuse;
    const Lowered l = LowerFor(OddConfig(), TestTarget(7), options);
    isa::Program program;
    program.buffers = l.graph.tensors;
    for (const Tile& tile : l.tiles.tiles) {
      std::vector<absl::string_view> broken;
      isa::AppendBrokenRequirements(program, tile.instruction, broken);
      EXPECT_TRUE(broken.empty()) << tile.label << ": " << broken[0];
    }
  }
}

TEST(LowerTest, LabelsAreUniqueAndReadable) {
  const Lowered l = LowerFor(OddConfig(), TestTarget(7));
  std::set<std::string> labels;
  for (const Tile& tile : l.tiles.tiles) {
    EXPECT_TRUE(labels.insert(tile.label).second) << tile.label;
  }
  for (const char* label :
       {"embed[0]", "L00.qkv[3]", "L01.attn.h1[2]", "L02.merge[0]", "L02.o[3]",
        "L00.gate_up[1]", "L00.down[3]", "lm_head[6]", "advance", "halt[6]"}) {
    EXPECT_EQ(labels.count(label), 1u) << label;
  }
  const std::string dump = DumpTiles(l.graph, l.tiles);
  EXPECT_THAT(dump, HasSubstr("for 7 workers"));
  EXPECT_THAT(dump, HasSubstr("lm_head[6]"));
}

TEST(PlaceTest, BalancesStreamedBytes) {
  const struct {
    const char* model;
    const char* target;
    double bound;  // max / mean
  } cases[] = {
      // (Not on workers that attend alone, see below.)
      {"qwen3-0.6b", "h200", 1.007},   {"qwen3-0.6b", "a100", 1.01},
      {"qwen3-0.6b", "rtx5090", 1.01}, {"qwen3-1.7b", "h200", 1.005},
      {"qwen3-4b", "h200", 1.005},     {"qwen3-8b", "h100", 1.005},
      {"qwen3-14b", "rtx3090", 1.005}, {"qwen3-32b", "h200", 1.005},
      {"qwen3-0.6b", "cpu", 1.001},
  };
  for (const auto& c : cases) {
    const Target target = FindTarget(c.target).value();
    const Lowered l = LowerFor(model::FindConfig(c.model).value(), target);
    const Placement placement = Place(l.tiles);
    uint64_t sum = 0;
    uint64_t most = 0;
    for (const uint64_t bytes : placement.streamed_bytes) {
      sum += bytes;
      most = std::max(most, bytes);
    }
    EXPECT_LE(static_cast<double>(most) * target.workers / sum, c.bound)
        << c.model << " on " << c.target;
  }
}

TEST(PlaceTest, OneShareOfAnOperationPerWorker) {
  for (const uint32_t workers : {1u, 7u, 26u}) {
    const Lowered l = LowerFor(OddConfig(), TestTarget(workers));
    const Placement placement = Place(l.tiles);
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> share;
    for (size_t i = 0; i < l.tiles.tiles.size(); ++i) {
      const Tile& tile = l.tiles.tiles[i];
      if (Is(tile.instruction, isa::Opcode::kAttention)) continue;
      const auto [it, inserted] =
          share.try_emplace({tile.op, placement.worker[i]}, tile.share);
      EXPECT_EQ(it->second, tile.share) << tile.label;
    }
  }
}

TEST(PlaceTest, AttentionRunsWhereItsHeadWasComputed) {
  const Lowered l =
      LowerFor(model::FindConfig("qwen3-0.6b").value(), TestTarget(128));
  const Placement placement = Place(l.tiles);
  std::map<std::string, std::set<uint32_t>> qkv, attention;
  for (size_t i = 0; i < l.tiles.tiles.size(); ++i) {
    const Tile& tile = l.tiles.tiles[i];
    if (tile.kv_head == kNoHead) continue;
    const std::string name = l.graph.ops[tile.op].name;
    const std::string key = name.substr(0, 3) + std::to_string(tile.kv_head);
    (tile.streamed_bytes > 0 ? qkv : attention)[key].insert(
        placement.worker[i]);
  }
  ASSERT_EQ(qkv.size(), 28u * 8);
  EXPECT_EQ(qkv, attention);
}

TEST(PlaceTest, AttentionIsSpreadEvenly) {
  for (const uint32_t workers : {3u, 7u, 82u, 132u}) {
    const Lowered l =
        LowerFor(model::FindConfig("qwen3-0.6b").value(), TestTarget(workers));
    const Placement placement = Place(l.tiles);
    std::vector<uint32_t> count(workers, 0);
    uint32_t tiles = 0;
    for (size_t i = 0; i < l.tiles.tiles.size(); ++i) {
      if (l.graph.ops[l.tiles.tiles[i].op].name != "L05.attn") continue;
      ++count[placement.worker[i]];
      ++tiles;
    }
    EXPECT_LE(*std::max_element(count.begin(), count.end()),
              (tiles + workers - 1) / workers);
  }
}

// Which would have it begin last, since the others have nothing to do
// meanwhile.
TEST(PlaceTest, NobodyAttendsAloneAndComputesOAfterwards) {
  const Target target = FindTarget("h200").value();
  for (const char* model : {"qwen3-0.6b", "qwen3-4b"}) {
    SCOPED_TRACE(model);
    const Lowered l = LowerFor(model::FindConfig(model).value(), target);
    const Placement placement = Place(l.tiles);
    std::map<std::string, std::set<uint32_t>> alone, o;
    for (size_t i = 0; i < l.tiles.tiles.size(); ++i) {
      const Tile& tile = l.tiles.tiles[i];
      const std::string name = l.graph.ops[tile.op].name;
      if (name.ends_with(".o")) {
        o[name.substr(0, 3)].insert(placement.worker[i]);
      } else if (Is(tile.instruction, isa::Opcode::kAttention)) {
        const auto op =
            isa::DecodeOperands<isa::AttentionOperands>(tile.instruction);
        ASSERT_NE(op.alone, 0u);
        if (op.split != 0) continue;
        alone[name.substr(0, 3)].insert(placement.worker[i]);
      }
    }
    ASSERT_EQ(o.size(), model::FindConfig(model)->num_layers);
    ASSERT_EQ(alone.size(), o.size());
    for (const auto& [layer, workers] : o) {
      // Where there is work for all but a few, somebody has to do it.
      if (workers.size() > target.workers - alone[layer].size()) continue;
      for (const uint32_t w : alone[layer]) {
        EXPECT_FALSE(workers.contains(w)) << layer << " worker " << w;
      }
    }
  }
}

// They can wait for what the merges write, then.
TEST(PlaceTest, NobodyMergesAndComputesOAfterwards) {
  const Target target = FindTarget("h200").value();
  const Lowered l = LowerFor(model::FindConfig("qwen3-0.6b").value(), target);
  const Placement placement = Place(l.tiles);
  std::map<std::string, std::set<uint32_t>> merges, o;
  for (size_t i = 0; i < l.tiles.tiles.size(); ++i) {
    const std::string name = l.graph.ops[l.tiles.tiles[i].op].name;
    if (name.ends_with(".o")) {
      o[name.substr(0, 3)].insert(placement.worker[i]);
    } else if (name.ends_with(".merge")) {
      merges[name.substr(0, 3)].insert(placement.worker[i]);
    }
  }
  ASSERT_EQ(merges.size(), 28u);
  for (const auto& [layer, workers] : merges) {
    EXPECT_EQ(workers.size(), 32u) << layer;
    for (const uint32_t w : workers) {
      EXPECT_FALSE(o[layer].contains(w)) << layer << " worker " << w;
    }
  }
}

TEST(PlaceTest, DumpShowsWorkersAndBytes) {
  const Lowered l = LowerFor(OddConfig(), TestTarget(3));
  const std::string dump = DumpPlacement(l.graph, l.tiles, Place(l.tiles));
  EXPECT_THAT(dump, HasSubstr("halt           0 1 2"));
  EXPECT_THAT(dump, HasSubstr("bytes per worker"));
}

TEST(OrderTest, QueuesFollowTheGraphAndEndWithHalt) {
  const Lowered l = LowerFor(OddConfig(), TestTarget(7));
  const Queues queues = Order(l.tiles, Place(l.tiles));
  ASSERT_EQ(queues.tiles.size(), 7u);
  size_t total = 0;
  for (size_t w = 0; w < queues.tiles.size(); ++w) {
    const std::vector<uint32_t>& queue = queues.tiles[w];
    total += queue.size();
    ASSERT_FALSE(queue.empty());
    for (size_t i = 1; i < queue.size(); ++i) {
      EXPECT_LE(l.tiles.tiles[queue[i - 1]].op, l.tiles.tiles[queue[i]].op);
    }
    EXPECT_TRUE(
        Is(l.tiles.tiles[queue.back()].instruction, isa::Opcode::kHalt));
    EXPECT_EQ(std::count_if(queue.begin(), queue.end(),
                            [&](uint32_t t) {
                              return Is(l.tiles.tiles[t].instruction,
                                        isa::Opcode::kHalt);
                            }),
              1);
  }
  EXPECT_EQ(total, l.tiles.tiles.size());
}

}  // namespace
}  // namespace mkvm::scheduler
