#include "model/generation_config.h"

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

using testing::HasSubstr;

TEST(GenerationConfig, Qwen3s) {
  const auto config = ParseGenerationConfig(
      R"({"bos_token_id": 151643, "do_sample": true,
          "eos_token_id": [151645, 151643], "temperature": 0.6, "top_k": 20,
          "top_p": 0.95, "min_p": 0, "repetition_penalty": 1.05})",
      "file");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->do_sample);
  EXPECT_EQ(config->temperature, 0.6);
  EXPECT_EQ(config->top_k, 20);
  EXPECT_EQ(config->top_p, 0.95);
  EXPECT_EQ(config->min_p, 0);
  EXPECT_EQ(config->repetition_penalty, 1.05);
}

TEST(GenerationConfig, DefaultsOfTransformers) {
  const TempFolder folder;
  const auto none = LoadGenerationConfig(folder.path());
  const auto nulls =
      ParseGenerationConfig(R"({"do_sample": null, "top_k": null})", "file");
  for (const auto& config : {none, nulls}) {
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_FALSE(config->do_sample);
    EXPECT_EQ(config->temperature, 1);
    EXPECT_EQ(config->top_k, 50);
    EXPECT_EQ(config->top_p, 1);
    EXPECT_EQ(config->min_p, 0);
    EXPECT_EQ(config->repetition_penalty, 1);
  }
}

TEST(GenerationConfig, ErrorsNameTheKey) {
  const auto error = [](const char* json) {
    const absl::Status status = ParseGenerationConfig(json, "file").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(error(R"({"do_sample": 1})"),
            "file: \"do_sample\" is 1, not true or false");
  EXPECT_EQ(error(R"({"top_k": 2.5})"),
            "file: \"top_k\" is 2.5, not a whole number");
  EXPECT_EQ(error(R"({"temperature": "hot"})"),
            "file: \"temperature\" is \"hot\", not a number");
  EXPECT_THAT(error("[]"), HasSubstr("no object"));
  EXPECT_THAT(error("{"), HasSubstr("file: "));
}

TEST(GenerationConfig, TheFileIsNamed) {
  const TempFolder folder;
  WriteAll(folder / "generation_config.json", "{\"top_p\": []}");
  EXPECT_THAT(
      std::string(LoadGenerationConfig(folder.path()).status().message()),
      HasSubstr("generation_config.json: \"top_p\" is []"));
}

}  // namespace
}  // namespace mkvm::model
