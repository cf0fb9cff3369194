#include "model/config.h"

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

using Changes = std::map<std::string, std::string>;
using testing::ElementsAre;
using testing::IsEmpty;

std::string ErrorOf(const Changes& changes) {
  const absl::StatusOr<Config> config =
      ParseConfig(ConfigJson(changes), "f.json");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

double ThetaOf(const Changes& changes) {
  return SmallConfig(changes).rope_theta;
}

TEST(ParseConfigTest, EveryField) {
  const Config config = SmallConfig();
  EXPECT_EQ(config.name, "small");
  EXPECT_EQ(config.hidden_size, 8u);
  EXPECT_EQ(config.intermediate_size, 12u);
  EXPECT_EQ(config.num_layers, 2u);
  EXPECT_EQ(config.num_q_heads, 2u);
  EXPECT_EQ(config.num_kv_heads, 1u);
  EXPECT_EQ(config.head_dim, 4u);
  EXPECT_EQ(config.vocab_size, 10u);
  EXPECT_EQ(config.max_positions, 64u);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(3));
}

TEST(ParseConfigTest, FormOfTransformers5) {
  const Config config =
      SmallConfig({{"rope_theta", ""},
                   {"rope_scaling", ""},
                   {"torch_dtype", ""},
                   {"dtype", R"("bfloat16")"},
                   {"rope_parameters",
                    R"({"rope_theta": 5000000, "rope_type": "default"})"},
                   {"layer_types", R"(["full_attention", "full_attention"])"},
                   {"pad_token_id", "null"}});
  EXPECT_EQ(config.rope_theta, 5e6);
  Config other = SmallConfig();
  other.rope_theta = 5e6;
  ExpectSameGeometry(config, other);
}

TEST(ParseConfigTest, PrecedenceOfRopeTheta) {
  EXPECT_EQ(ThetaOf({{"rope_theta", ""}}), 10000);
  EXPECT_EQ(ThetaOf({{"rope_theta", "20000"}}), 20000);
  EXPECT_EQ(ThetaOf({{"rope_theta", "20000"},
                     {"rope_parameters", R"({"rope_theta": 3e4})"}}),
            30000);
  EXPECT_EQ(ThetaOf({{"rope_theta", "20000"},
                     {"rope_parameters", R"({"rope_type": "default"})"}}),
            20000);
  EXPECT_EQ(ThetaOf({{"rope_theta", ""}, {"rope_parameters", "{}"}}), 10000);
  EXPECT_EQ(ThetaOf({{"rope_scaling",
                      R"({"rope_type": "default", "rope_theta": 4e4})"}}),
            40000);
  EXPECT_EQ(ThetaOf({{"rope_scaling", R"({"rope_theta": 4e4})"},
                     {"rope_parameters", R"({"rope_theta": 3e4})"}}),
            30000);
}

TEST(ParseConfigTest, Defaults) {
  const Config config = SmallConfig({{"rms_norm_eps", ""},
                                     {"tie_word_embeddings", ""},
                                     {"eos_token_id", ""},
                                     {"torch_dtype", ""},
                                     {"hidden_act", ""},
                                     {"attention_bias", ""},
                                     {"use_sliding_window", ""},
                                     {"architectures", ""}});
  EXPECT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST(ParseConfigTest, AUselessSlidingWindowIsNone) {
  EXPECT_EQ(SmallConfig({{"sliding_window", "4096"}}).num_layers, 2u);
}

TEST(ParseConfigTest, EosIds) {
  EXPECT_THAT(SmallConfig({{"eos_token_id", "[7, 2, 7]"}}).eos_token_ids,
              ElementsAre(7, 2));
  EXPECT_THAT(SmallConfig({{"eos_token_id", "[]"}}).eos_token_ids, IsEmpty());
  EXPECT_EQ(ErrorOf({{"eos_token_id", "-1"}}),
            "f.json: \"eos_token_id\" is -1; supported: a token id or a list "
            "of them");
  EXPECT_EQ(ErrorOf({{"eos_token_id", "[1, \"2\"]"}}),
            "f.json: \"eos_token_id\" is [1,\"2\"]; supported: a token id or "
            "a list of them");
  EXPECT_EQ(ErrorOf({{"eos_token_id", "2147483648"}}),
            "f.json: \"eos_token_id\" is 2147483648; supported: a token id or "
            "a list of them");
  EXPECT_EQ(ErrorOf({{"eos_token_id", "[0,1,2,3,4,5,6,7,8]"}}),
            "f.json: \"eos_token_id\" is [0,1,2,3,4,5,6,7,8]; supported: at "
            "most 8 ids");
}

TEST(ParseConfigTest, HeadDim) {
  // Absent, 128 and hidden / heads agree.
  const Changes eight = {{"hidden_size", "256"}, {"head_dim", ""}};
  EXPECT_EQ(SmallConfig(eight).head_dim, 128u);
  EXPECT_EQ(ErrorOf({{"head_dim", ""}}),
            "f.json: \"head_dim\" is missing, and hidden_size / "
            "num_attention_heads (8 / 2) is not Qwen3's default of 128; add "
            "the key");
  EXPECT_EQ(ErrorOf({{"head_dim", "5"}}),
            "f.json: \"head_dim\" is 5; supported: an even number (rotary "
            "pairs)");
}

struct Refusal {
  const char* name;
  Changes changes;
  const char* message;  // after "f.json: "
};

class RefusalTest : public testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, SaysWhatIsSupported) {
  EXPECT_EQ(ErrorOf(GetParam().changes),
            std::string("f.json: ") + GetParam().message);
}

const Refusal kRefusals[] = {
    {"OtherArchitecture",
     {{"architectures", R"(["Qwen3MoeForCausalLM"])"}},
     "\"architectures\" is [\"Qwen3MoeForCausalLM\"]; supported: dense Qwen3 "
     "(\"Qwen3ForCausalLM\")"},
    {"EmbeddingArchitecture",
     {{"architectures", R"("Qwen3Model")"}},
     "\"architectures\" is \"Qwen3Model\"; supported: dense Qwen3 "
     "(\"Qwen3ForCausalLM\")"},
    {"OtherModelType",
     {{"model_type", R"("qwen3_moe")"}},
     "\"model_type\" is \"qwen3_moe\"; supported: dense Qwen3 "
     "(\"Qwen3ForCausalLM\")"},
    {"NoArchitecture",
     {{"model_type", ""}, {"architectures", ""}},
     "neither \"architectures\" nor \"model_type\" says what the model is; "
     "supported: dense Qwen3 (\"Qwen3ForCausalLM\")"},
    {"TorchDtype",
     {{"torch_dtype", R"("float16")"}},
     "\"torch_dtype\" is \"float16\"; supported: \"bfloat16\""},
    {"Dtype",
     {{"dtype", R"("float32")"}},
     "\"dtype\" is \"float32\"; supported: \"bfloat16\""},
    {"Activation",
     {{"hidden_act", R"("gelu")"}},
     "\"hidden_act\" is \"gelu\"; supported: \"silu\""},
    {"AttentionBias",
     {{"attention_bias", "true"}},
     "\"attention_bias\" is true; supported: false"},
    {"FlagThatIsNone",
     {{"attention_bias", "1"}},
     "\"attention_bias\" is 1; supported: true or false"},
    {"SlidingWindow",
     {{"use_sliding_window", "true"}, {"sliding_window", "4096"}},
     "\"use_sliding_window\" is true; supported: false"},
    {"SlidingLayer",
     {{"layer_types", R"(["full_attention", "sliding_attention"])"}},
     "\"layer_types\" is \"sliding_attention\"; supported: "
     "\"full_attention\""},
    {"LayerTypesTooFew",
     {{"layer_types", R"(["full_attention"])"}},
     "\"layer_types\" is [\"full_attention\"]; supported: a list of 2 types, "
     "one a layer"},
    {"Quantized",
     {{"quantization_config", R"({"quant_method": "fp8"})"}},
     "\"quantization_config\" is {\"quant_method\":\"fp8\"}; supported: "
     "unquantized bfloat16 weights"},
    {"YarnOfTransformers4",
     {{"rope_scaling", R"({"rope_type": "yarn", "factor": 4.0})"}},
     "\"rope_scaling\": \"rope_type\" is \"yarn\"; supported: \"default\" "
     "(YaRN is not implemented: remove it to run within the original "
     "context)"},
    {"YarnOfTransformers5",
     {{"rope_parameters", R"({"rope_type": "yarn", "rope_theta": 1e6})"}},
     "\"rope_parameters\": \"rope_type\" is \"yarn\"; supported: \"default\" "
     "(YaRN is not implemented: remove it to run within the original "
     "context)"},
    {"OldNameOfRopeType",
     {{"rope_scaling", R"({"type": "linear", "factor": 2})"}},
     "\"rope_scaling\": \"type\" is \"linear\"; supported: \"default\""},
    {"RopeFactorWithoutType",
     {{"rope_scaling", R"({"factor": 2})"}},
     "\"rope_scaling\": \"factor\" is 2; supported: no scaling "
     "(\"rope_type\": \"default\")"},
    {"RopePerLayerType",
     {{"rope_parameters", R"({"full_attention": {"rope_theta": 1e6}})"}},
     "\"rope_parameters\": \"full_attention\" is {\"rope_theta\":1000000.0}; "
     "supported: one set for all layers"},
    {"RopeNoObject",
     {{"rope_parameters", "[1]"}},
     "\"rope_parameters\" is [1]; supported: null or an object"},
    {"PartialRotary",
     {{"partial_rotary_factor", "0.5"}},
     "\"partial_rotary_factor\" is 0.5; supported: 1"},
    {"PartialRotaryInside",
     {{"rope_parameters", R"({"partial_rotary_factor": 0.25})"}},
     "\"partial_rotary_factor\" is 0.25; supported: 1"},
    {"ThetaZero",
     {{"rope_theta", "0"}},
     "\"rope_theta\" is 0; supported: a number above 0, at most 1e+12"},
    {"ThetaText",
     {{"rope_parameters", R"({"rope_theta": "1e6"})"}},
     "\"rope_parameters\": \"rope_theta\" is \"1e6\"; supported: a number "
     "above 0, at most 1e+12"},
    {"EpsNegative",
     {{"rms_norm_eps", "-1e-6"}},
     "\"rms_norm_eps\" is -1e-06; supported: a number above 0, at most 0.1"},
    {"TiedText",
     {{"tie_word_embeddings", "\"yes\""}},
     "\"tie_word_embeddings\" is \"yes\"; supported: true or false"},
    {"HeadsNoMultiple",
     {{"num_attention_heads", "3"}, {"num_key_value_heads", "2"}},
     "\"num_attention_heads\" (3) is no multiple of \"num_key_value_heads\" "
     "(2)"},
    {"VocabularyBeyondArgmax",
     {{"vocab_size", "16777217"}},
     "\"vocab_size\" is 16777217; supported: an integer from 1 to 16777216"},
};
INSTANTIATE_TEST_SUITE_P(Config, RefusalTest, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return info.param.name; });

class CountTest : public testing::TestWithParam<const char*> {};

TEST_P(CountTest, MustBeASanePositiveInteger) {
  const std::string key = GetParam();
  EXPECT_EQ(ErrorOf({{key, ""}}), "f.json: \"" + key + "\" is missing");
  EXPECT_EQ(ErrorOf({{key, "null"}}), "f.json: \"" + key + "\" is missing");
  for (const char* bad : {"0", "-1", "8.0", "1e3", "\"8\"", "[8]", "true",
                          "4294967295", "99999999999999999999"}) {
    EXPECT_THAT(ErrorOf({{key, bad}}),
                testing::MatchesRegex("f.json: \"" + key +
                                      "\" is .*; supported: an integer from 1 "
                                      "to [0-9]+"))
        << bad;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Config, CountTest,
    testing::Values("hidden_size", "intermediate_size", "num_hidden_layers",
                    "num_attention_heads", "num_key_value_heads", "vocab_size",
                    "max_position_embeddings"),
    [](const auto& info) { return std::string(info.param); });

TEST(ParseConfigTest, BadJson) {
  EXPECT_ERROR(ParseConfig("{\"a\": }", "f.json"), kInvalidArgument,
               "f.json: byte 7: not JSON near \"{\"a\": }\"");
  EXPECT_ERROR(ParseConfig("", "f.json"), kInvalidArgument,
               "f.json: byte 1: the text ends in the middle");
  EXPECT_ERROR(ParseConfig("[1, 2]", "f.json"), kInvalidArgument,
               "f.json: holds [1,2], not an object");
}

// Any prefix and any single changed byte is an answer, never a crash.
TEST(ParseConfigTest, DamagedText) {
  const std::string text = ConfigJson();
  int refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    refused += !ParseConfig(text.substr(0, i), "f").ok();
    for (const char c : {'\0', '"', '}', '9', '\xff'}) {
      std::string damaged = text;
      damaged[i] = c;
      refused += !ParseConfig(damaged, "f").ok();
    }
  }
  // A prefix is never a whole object, nor is text with a NUL or 0xff in it.
  EXPECT_GE(refused, static_cast<int>(3 * text.size() - 6));
}

TEST(LoadConfigTest, NameOfTheFolder) {
  const TempFolder folder;
  for (const char* path :
       {"my-model", "hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de289a0"}) {
    std::filesystem::create_directories(folder / path);
    WriteAll(absl::StrCat(folder / path, "/config.json"), ConfigJson());
  }
  EXPECT_EQ(LoadConfig(folder / "my-model")->name, "my-model");
  EXPECT_EQ(LoadConfig(folder / "my-model//")->name, "my-model");
  EXPECT_EQ(
      LoadConfig(folder / "hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de289a0")
          ->name,
      "Qwen3-0.6B");
}

TEST(LoadConfigTest, GenerationConfigWins) {
  const TempFolder folder;
  WriteAll(folder / "config.json", ConfigJson());
  EXPECT_THAT(LoadConfig(folder.path())->eos_token_ids, ElementsAre(3));
  WriteAll(folder / "generation_config.json", R"({"eos_token_id": [5, 4]})");
  EXPECT_THAT(LoadConfig(folder.path())->eos_token_ids, ElementsAre(5, 4));
  WriteAll(folder / "generation_config.json", R"({"top_k": 20})");
  EXPECT_THAT(LoadConfig(folder.path())->eos_token_ids, ElementsAre(3));
  const std::string path = folder / "generation_config.json";
  WriteAll(path, R"({"eos_token_id": "x"})");
  EXPECT_ERROR(LoadConfig(folder.path()), kInvalidArgument,
               path +
                   ": \"eos_token_id\" is \"x\"; supported: a token id or "
                   "a list of them");
  WriteAll(path, "{");
  EXPECT_ERROR(LoadConfig(folder.path()), kInvalidArgument,
               path + ": byte 2: the text ends in the middle");
}

TEST(LoadConfigTest, NoSnapshot) {
  const TempFolder folder;
  EXPECT_ERROR(LoadConfig(folder / "absent"), kNotFound,
               folder.path() + "/absent: no such folder");
  EXPECT_ERROR(LoadConfig(folder.path()), kNotFound,
               folder.path() +
                   " has no config.json: not the folder of a "
                   "HuggingFace snapshot");
  WriteAll(folder / "file", "x");
  EXPECT_ERROR(LoadConfig(folder / "file"), kInvalidArgument,
               folder.path() +
                   "/file is a file; give the snapshot's folder, "
                   "which holds config.json");
  WriteAll(folder / "config.json", "{");
  EXPECT_ERROR(
      LoadConfig(folder.path()), kInvalidArgument,
      folder.path() + "/config.json: byte 2: the text ends in the middle");
  std::filesystem::remove(folder / "config.json");
  std::filesystem::create_directory(folder / "config.json");
  EXPECT_ERROR(LoadConfig(folder.path()), kInvalidArgument,
               folder.path() + "/config.json is not a regular file");
}

TEST(ParseConfigTest, PublishedEmbeddingModel) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared data";
  const std::string path =
      SharedFolder() + "/qwen3/configs/Qwen3-Embedding-0.6B/config.json";
  const absl::StatusOr<Config> read = ParseConfig(ReadAll(path), path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->vocab_size, 151669u);
}

}  // namespace
}  // namespace mkvm::model
