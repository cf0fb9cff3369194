#include "scheduler/graph.h"

#include <map>
#include <set>

#include "isa/opcode_table.h"
#include "model/weights.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Graph GraphOf(const model::Config& config, const CompileOptions& options = {},
              uint32_t workers = 7) {
  const Geometry geometry =
      MakeGeometry(config, TestTarget(workers), options).value();
  return BuildGraph(config, geometry);
}

TEST(GeometryTest, SplitsAttentionOverTheWorkers) {
  const model::Config c = model::FindConfig("qwen3-0.6b").value();
  CompileOptions options;
  EXPECT_EQ(MakeGeometry(c, TestTarget(128), options)->splits, 16u);
  EXPECT_EQ(MakeGeometry(c, TestTarget(132), options)->splits, 16u);
  EXPECT_EQ(MakeGeometry(c, TestTarget(82), options)->splits, 10u);
  EXPECT_EQ(MakeGeometry(c, TestTarget(7), options)->splits, 1u);
  Target few = TestTarget(128);
  few.max_kv_splits = 3;
  EXPECT_EQ(MakeGeometry(c, few, options)->splits, 3u);
  options.split_kv = false;
  EXPECT_EQ(MakeGeometry(c, TestTarget(128), options)->splits, 1u);
}

TEST(GeometryTest, OneWorkerAttendsAloneToTheFirstBlock) {
  const model::Config c = model::FindConfig("qwen3-0.6b").value();
  const auto alone = [&](const CompileOptions& options, uint32_t workers) {
    return MakeGeometry(c, TestTarget(workers), options)->alone;
  };
  EXPECT_EQ(alone({}, 128), 64u);
  CompileOptions options;
  options.kv_block = 16;
  EXPECT_EQ(alone(options, 128), 16u);
  EXPECT_EQ(alone(options, 7), 0u);  // it is alone anyway
  CompileOptions off = options;
  off.attend_alone = false;
  EXPECT_EQ(alone(off, 128), 0u);
  off = options;
  off.split_kv = false;
  EXPECT_EQ(alone(off, 128), 0u);
  off = options;
  off.fuse = false;
  EXPECT_EQ(alone(off, 128), 0u);
}

TEST(GeometryTest, SplitsThatHoldNoPositionsAreIdle) {
  const model::Config c = model::FindConfig("qwen3-0.6b").value();
  EXPECT_TRUE(MakeGeometry(c, TestTarget(128), {})->idle_splits);
  CompileOptions off;
  off.attend_alone = false;
  EXPECT_FALSE(MakeGeometry(c, TestTarget(128), off)->idle_splits);
  // As many as a merge can tell apart.
  Target many = TestTarget(8 * 257);
  many.max_kv_splits = 257;
  EXPECT_FALSE(MakeGeometry(c, many, {})->idle_splits);
  many.max_kv_splits = 256;
  EXPECT_TRUE(MakeGeometry(c, many, {})->idle_splits);
}

TEST(GeometryTest, CacheHoldsTheContextInWholeBlocks) {
  const model::Config c = model::FindConfig("qwen3-0.6b").value();
  for (const uint32_t context : {1u, 8u, 9u, 127u, 128u, 129u, 40960u}) {
    CompileOptions options;
    options.max_context = context;
    const Geometry g = MakeGeometry(c, TestTarget(128), options).value();
    EXPECT_EQ(g.kv_capacity % g.kv_block, 0u);
    EXPECT_GE(g.kv_capacity * g.splits, context);
    // No more than a block per split beyond what is needed.
    EXPECT_LT(g.kv_capacity * g.splits, context + g.kv_block * g.splits);
  }
  EXPECT_EQ(MakeGeometry(c, TestTarget(128), {})->max_context, 40960u);
}

TEST(GeometryTest, NoMoreWorkersThanTheLmHeadFeeds) {
  EXPECT_EQ(MakeGeometry(OddConfig(), TestTarget(132), {})->workers, 26u);
  EXPECT_EQ(MakeGeometry(OddConfig(), TestTarget(132, false), {})->workers,
            132u);
  EXPECT_EQ(MakeGeometry(OddConfig(), TestTarget(3), {})->workers, 3u);
}

TEST(GeometryTest, RefusesWhatItCannotCompile) {
  const auto message = [](const model::Config& config,
                          const CompileOptions& options = {}) {
    const auto geometry = MakeGeometry(config, TestTarget(4), options);
    EXPECT_EQ(geometry.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(geometry.status().message());
  };
  model::Config c = OddConfig();
  c.hidden_size = 0;
  EXPECT_THAT(message(c), HasSubstr("hidden_size is 0"));
  c = OddConfig();
  c.num_kv_heads = 4;
  EXPECT_THAT(message(c), HasSubstr("6 query heads are not a multiple of 4"));
  c = OddConfig();
  c.num_q_heads = 34;
  EXPECT_THAT(message(c), HasSubstr("17 query heads per kv head"));
  c = OddConfig();
  c.head_dim = 20;
  EXPECT_THAT(message(c), HasSubstr("head_dim is 20"));
  c = OddConfig();
  c.head_dim = 264;
  EXPECT_THAT(message(c), HasSubstr("head_dim is 264"));
  c = OddConfig();
  c.vocab_size = (1u << 24) + 1;
  EXPECT_THAT(message(c), HasSubstr("vocab_size"));
  CompileOptions options;
  options.max_context = 101;
  EXPECT_THAT(message(OddConfig(), options), HasSubstr("max_context is 101"));
  options.max_context = 0;
  options.kv_block = 0;
  EXPECT_THAT(message(OddConfig(), options), HasSubstr("kv_block is 0"));
}

TEST(GraphTest, FusedLayerHasSixOperations) {
  const Graph graph = GraphOf(OddConfig());
  std::vector<std::string> names;
  for (const Op& op : graph.ops) names.push_back(op.name);
  ASSERT_EQ(names.size(), 1u + 3 * 6 + 3);
  names.resize(8);
  EXPECT_THAT(names,
              ElementsAre("embed", "L00.qkv", "L00.attn", "L00.merge", "L00.o",
                          "L00.gate_up", "L00.down", "L01.qkv"));
}

TEST(GraphTest, UnfusedOperationsHaveNoPrologueAndNoEpilogue) {
  CompileOptions options;
  options.fuse = false;
  const std::string dump = DumpGraph(GraphOf(OddConfig(), options));
  EXPECT_THAT(dump, Not(HasSubstr("prologue")));
  EXPECT_THAT(dump, Not(HasSubstr("epilogue=add")));
  EXPECT_THAT(dump, Not(HasSubstr("epilogue=silu_mul")));
  for (const char* op : {"rms_norm", "add", "silu_mul", "qk_norm_rope_append",
                         "attention", "attention_merge", "gemv"}) {
    EXPECT_THAT(dump, HasSubstr(std::string(" ") + op + " "));
  }
}

// Every tensor that the model has, and no other, under its own name and shape.
TEST(GraphTest, WeightsAreThoseOfTheModel) {
  for (const std::string& name : model::ConfigNames()) {
    const model::Config config = model::FindConfig(name).value();
    std::map<std::string, std::vector<uint64_t>> want;
    for (const model::TensorSpec& spec : model::RequiredTensors(config)) {
      want[spec.name] = spec.shape;
    }
    want["rope.cos_sin"] = {config.max_positions, config.head_dim};
    for (const bool fuse : {true, false}) {
      CompileOptions options;
      options.fuse = fuse;
      std::map<std::string, std::vector<uint64_t>> got;
      for (const isa::Buffer& tensor : GraphOf(config, options).tensors) {
        if (tensor.kind == isa::BufferKind::kWeight) {
          got[tensor.name] = tensor.shape;
        }
      }
      EXPECT_EQ(got, want) << name;
    }
  }
}

TEST(GraphTest, OnlyGemvWeightsAreStoredInPanels) {
  model::Config config = OddConfig();
  for (const bool tied : {true, false}) {
    config.tie_word_embeddings = tied;
    const Graph graph = GraphOf(config);
    std::set<std::string> gemv;
    for (const Op& op : graph.ops) {
      for (const Part& part : op.parts) {
        if (const auto* g = std::get_if<isa::GemvOperands>(&part)) {
          gemv.insert(graph.tensors[g->w].name);
          if (g->w2 != isa::kNoBuffer) {
            gemv.insert(graph.tensors[g->w2].name);
          }
        }
      }
    }
    EXPECT_EQ(gemv.count("model.embed_tokens.weight"), tied ? 1u : 0u);
    EXPECT_EQ(gemv.count("lm_head.weight"), tied ? 0u : 1u);
    for (const isa::Buffer& tensor : graph.tensors) {
      EXPECT_EQ(tensor.layout == isa::Layout::kPanels,
                gemv.count(tensor.name) == 1)
          << tensor.name;
    }
  }
}

TEST(GraphTest, DumpNamesTensorsAndCounters) {
  const std::string dump = DumpGraph(GraphOf(OddConfig()));
  EXPECT_THAT(dump, HasSubstr("L02.down       gemv x=L02.h r=L02.x1 "
                              "w=model.layers.2.mlp.down_proj.weight y=L03.x "
                              "rows=72 k=104"));
  EXPECT_THAT(dump, HasSubstr("-> L00.qkv.<kv head>"));
}

}  // namespace
}  // namespace mkvm::scheduler
