#include <cmath>
#include <cstring>
#include <set>

#include "model/hash.h"
#include "tests/model/files.h"

namespace mkvm::model {
namespace {

std::vector<float> Values(Weights& weights, const std::string& name) {
  const absl::StatusOr<Tensor> tensor = weights.Get(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->type, TensorType::kBf16);
  const std::string bytes = Bytes(*tensor);
  std::vector<float> values(bytes.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    const uint32_t bits = uint32_t{half} << 16;
    std::memcpy(&values[i], &bits, 4);
  }
  return values;
}

uint64_t HashOfAll(Weights& weights) {
  std::string all;
  for (const std::string& name : weights.names()) {
    const absl::StatusOr<Tensor> tensor = weights.Get(name);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    all += Bytes(*tensor);
  }
  return HashName(all);
}

TEST(SyntheticTest, TensorsOfTheGeometry) {
  for (const char* name : {"qwen3-tiny", "qwen3-0.6b"}) {
    const Config config = *FindConfig(name);
    const std::unique_ptr<Weights> weights = MakeSynthetic(config, 1);
    const std::vector<TensorSpec> specs = RequiredTensors(config);
    ASSERT_EQ(weights->names().size(), specs.size());
    uint64_t bytes = 0;
    for (size_t i = 0; i < specs.size(); ++i) {
      EXPECT_EQ(weights->names()[i], specs[i].name);
      uint64_t count = 2;
      for (const uint64_t size : specs[i].shape) count *= size;
      bytes += count;
    }
    EXPECT_EQ(weights->total_bytes(), bytes);
  }
  // Published: 596,049,920 parameters, tied.
  EXPECT_EQ(MakeSynthetic(*FindConfig("qwen3-0.6b"), 1)->total_bytes(),
            2 * uint64_t{596049920});
}

// The bits are a promise: golden outputs of programs rest on them. The values
// are those of a second implementation, in Python.
TEST(SyntheticTest, Golden) {
  EXPECT_EQ(HashOfAll(*MakeSynthetic(*FindConfig("qwen3-tiny"), 0)),
            0x7feb862dcaf8425du);
  EXPECT_EQ(HashOfAll(*MakeSynthetic(*FindConfig("qwen3-tiny"), 1)),
            0x9a9ba1284c5759a3u);
  EXPECT_EQ(HashOfAll(*MakeSynthetic(SmallConfig(), 1)), 0xf5f210d8a42f5b1du);
}

TEST(SyntheticTest, SeedAndNameMatter) {
  const Config config = *FindConfig("qwen3-tiny");
  const auto one = MakeSynthetic(config, 1);
  const auto same = MakeSynthetic(config, 1);
  const auto two = MakeSynthetic(config, 2);
  const std::string up = "model.layers.0.mlp.up_proj.weight";
  EXPECT_EQ(Values(*one, up), Values(*same, up));
  std::set<std::vector<float>> starts;
  for (Weights* weights : {one.get(), two.get()}) {
    for (const std::string& name : weights->names()) {
      std::vector<float> values = Values(*weights, name);
      values.resize(64);
      EXPECT_TRUE(starts.insert(values).second) << name;
    }
  }
}

// Element i depends on its index, not on the tensor's size.
TEST(SyntheticTest, ElementsDependOnTheirIndexAlone) {
  Config small = *FindConfig("qwen3-tiny");
  Config large = small;
  large.vocab_size = 1031;  // no multiple of any block
  const auto a = MakeSynthetic(small, 7);
  const auto b = MakeSynthetic(large, 7);
  const std::string embed = "model.embed_tokens.weight";
  std::vector<float> rows = Values(*b, embed);
  ASSERT_EQ(rows.size(), 1031u * 256);
  rows.resize(1024 * 256);
  EXPECT_EQ(Values(*a, embed), rows);
}

TEST(SyntheticTest, Scale) {
  const Config config = *FindConfig("qwen3-tiny");
  const auto weights = MakeSynthetic(config, 3);
  for (const TensorSpec& spec : RequiredTensors(config)) {
    const std::vector<float> values = Values(*weights, spec.name);
    double sum = 0, squares = 0;
    for (const float v : values) {
      sum += v;
      squares += double{v} * v;
    }
    const double n = static_cast<double>(values.size());
    const double mean = sum / n;
    const double deviation = std::sqrt(squares / n - mean * mean);
    if (spec.shape.size() == 2) {
      const double expected = 1 / std::sqrt(static_cast<double>(spec.shape[1]));
      EXPECT_NEAR(deviation, expected, 0.02 * expected) << spec.name;
      EXPECT_NEAR(mean, 0, 5 * expected / std::sqrt(n)) << spec.name;
    } else {
      // Norms: far from all one.
      EXPECT_NEAR(deviation, 0.3125 / std::sqrt(3.0), 0.04) << spec.name;
      EXPECT_NEAR(mean, spec.name.find("q_norm") != std::string::npos ? 2 : 1,
                  0.1)
          << spec.name;
    }
  }
}

// Neighbours in memory, in a column and half a block apart are not alike.
TEST(SyntheticTest, Uncorrelated) {
  const auto weights = MakeSynthetic(*FindConfig("qwen3-tiny"), 5);
  const std::vector<float> v = Values(*weights, "model.embed_tokens.weight");
  for (const size_t lag : {1, 2, 16, 256, 4096, 8192}) {
    double product = 0, square = 0;
    for (size_t i = 0; i + lag < v.size(); ++i) {
      product += double{v[i]} * v[i + lag];
      square += double{v[i]} * v[i];
    }
    EXPECT_NEAR(product / square, 0, 0.01) << lag;
  }
}

TEST(SyntheticTest, GetKeepsItsPlaceAndRefusesOtherNames) {
  const auto weights = MakeSynthetic(SmallConfig(), 1);
  const void* data = weights->Get("model.norm.weight")->data;
  EXPECT_EQ(weights->Get("model.norm.weight")->data, data);
  EXPECT_EQ(weights->description(),
            "synthetic weights of seed 1, qwen3 hidden=8 ff=12 layers=2 "
            "heads=2/1x4 vocab=10 tied");
  EXPECT_ERROR(weights->Get("lm_head.weight"), kNotFound,
               "no tensor \"lm_head.weight\" in synthetic weights of seed 1, "
               "qwen3 hidden=8 ff=12 layers=2 heads=2/1x4 vocab=10 tied");
}

TEST(SyntheticTest, TooLittleMemory) {
  // 2^24 x 2^20 elements: 32 TiB, which no machine that runs this has.
  const Config config =
      SmallConfig({{"vocab_size", "16777216"}, {"hidden_size", "1048576"}});
  const auto weights = MakeSynthetic(config, 1);
  const absl::StatusOr<Tensor> tensor =
      weights->Get("model.embed_tokens.weight");
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      std::string(tensor.status().message()),
      testing::MatchesRegex(
          "synthetic tensor model.embed_tokens.weight needs 32.0 TiB "
          "of memory, .* are free: take a smaller model, or free some"));
}

}  // namespace
}  // namespace mkvm::model
