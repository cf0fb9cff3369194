#include <set>

#include "model/config.h"
#include "tests/model/files.h"

namespace mkvm::model {
namespace {

using testing::ElementsAre;

TEST(FindConfigTest, Names) {
  EXPECT_THAT(ConfigNames(),
              ElementsAre("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b",
                          "qwen3-14b", "qwen3-32b", "qwen3-tiny"));
  for (const std::string& name : ConfigNames()) {
    const absl::StatusOr<Config> config = FindConfig(name);
    ASSERT_TRUE(config.ok()) << name;
    EXPECT_EQ(config->name, name);
  }
  EXPECT_EQ(FindConfig("Qwen3-0.6B")->name, "qwen3-0.6b");
  EXPECT_ERROR(FindConfig("gpt2"), kNotFound,
               "no built-in config \"gpt2\"; there are qwen3-0.6b, "
               "qwen3-1.7b, qwen3-4b, qwen3-8b, qwen3-14b, qwen3-32b, "
               "qwen3-tiny");
}

TEST(FindConfigTest, SameAsPublished) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared data";
  const char* const names[] = {"Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B",
                               "Qwen3-8B",   "Qwen3-14B",  "Qwen3-32B"};
  for (const char* name : names) {
    for (const char* form : {"config.json", "config.v5.json"}) {
      const std::string path =
          absl::StrCat(SharedFolder(), "/qwen3/configs/", name, "/", form);
      SCOPED_TRACE(path);
      const absl::StatusOr<Config> read = ParseConfig(ReadAll(path), path);
      ASSERT_TRUE(read.ok()) << read.status();
      ExpectSameGeometry(*FindConfig(name), *read);
      EXPECT_THAT(read->eos_token_ids, ElementsAre(151645));
    }
  }
  const Config whole = *LoadConfig(SharedFolder() + "/qwen3");
  EXPECT_EQ(whole.eos_token_ids, FindConfig("qwen3-0.6b")->eos_token_ids);
}

TEST(FindConfigTest, TinyIsTheReferences) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared data";
  const absl::StatusOr<Config> read =
      LoadConfig(SharedFolder() + "/reference/tiny-tied");
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameGeometry(*FindConfig("qwen3-tiny"), *read);
}

// Stored in program files: must never change for a given geometry. The values
// are those of a second implementation, in Python.
TEST(FingerprintTest, Golden) {
  EXPECT_EQ(Fingerprint(*FindConfig("qwen3-0.6b")), 0x61a376d5f2c6dad7u);
  EXPECT_EQ(Fingerprint(*FindConfig("qwen3-tiny")), 0xfd28b9380fc3b9f1u);
}

TEST(FingerprintTest, DiffersByGeometryOnly) {
  const Config base = *FindConfig("qwen3-0.6b");
  std::set<uint64_t> seen = {Fingerprint(base)};
  const auto expect_new = [&](const auto& change) {
    Config changed = base;
    change(changed);
    EXPECT_TRUE(seen.insert(Fingerprint(changed)).second) << Describe(changed);
  };
  expect_new([](Config& c) { ++c.hidden_size; });
  expect_new([](Config& c) { ++c.intermediate_size; });
  expect_new([](Config& c) { ++c.num_layers; });
  expect_new([](Config& c) { ++c.num_q_heads; });
  expect_new([](Config& c) { ++c.num_kv_heads; });
  expect_new([](Config& c) { ++c.head_dim; });
  expect_new([](Config& c) { ++c.vocab_size; });
  expect_new([](Config& c) { c.rms_norm_eps = 1e-5f; });
  expect_new([](Config& c) { c.tie_word_embeddings = false; });
  // Fields are told apart, not just summed.
  expect_new([](Config& c) { std::swap(c.hidden_size, c.intermediate_size); });
  Config renamed = base;
  renamed.name = "x";
  renamed.rope_theta = 5e6;
  renamed.max_positions = 262144;
  renamed.eos_token_ids.clear();
  EXPECT_EQ(Fingerprint(renamed), Fingerprint(base));
}

TEST(DescribeTest, OneLine) {
  EXPECT_EQ(Describe(*FindConfig("qwen3-0.6b")),
            "qwen3 hidden=1024 ff=3072 layers=28 heads=16/8x128 vocab=151936 "
            "tied");
  EXPECT_EQ(Describe(*FindConfig("qwen3-32b")),
            "qwen3 hidden=5120 ff=25600 layers=64 heads=64/8x128 vocab=151936 "
            "untied");
}

TEST(RequiredTensorsTest, CountsOfThePublishedModels) {
  // README of the published sizes; the 0.6B and 1.7B counts there include the
  // lm_head that they store although tied.
  const std::map<std::string, size_t> counts = {
      {"qwen3-0.6b", 310}, {"qwen3-1.7b", 310}, {"qwen3-4b", 398},
      {"qwen3-8b", 399},   {"qwen3-14b", 443},  {"qwen3-32b", 707}};
  for (const auto& [name, count] : counts) {
    EXPECT_EQ(RequiredTensors(*FindConfig(name)).size(), count) << name;
  }
}

}  // namespace
}  // namespace mkvm::model
