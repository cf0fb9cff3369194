// tokenize, detokenize and template: text in, ids out, and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "tests/model/tiny_tokenizer.h"

namespace mkvm {
namespace {

using testing::HasSubstr;

// A folder with a tokenizer of 269 tokens.
std::string TinyModel() {
  const std::string folder = TestFolder();
  WriteText(folder + "/tokenizer.json", model::TinyTokenizer().dump());
  return folder;
}

std::string MustPrint(const std::vector<std::string>& args,
                      const std::string& stdin_path = "/dev/null",
                      const std::vector<std::string>& environment = {}) {
  const Outcome outcome = RunMkvm(args, environment, stdin_path);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome.out;
}

std::string ErrorOf(int exit_code, const std::vector<std::string>& args) {
  const Outcome outcome = RunMkvm(args);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.find("mkvm: error: "), 0u) << outcome.err;
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  return outcome.err;
}

TEST(Tokenize, ArgumentFileAndStdin) {
  const std::string model = TinyModel();
  const std::string file = model + "/text";
  WriteText(file, "Hello world\n");
  const std::string ids = "259 260 261 108 100";
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "Hello world"}),
            ids + "\n");
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "--file", file}),
            ids + " 10\n");
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "-"}, file),
            ids + " 10\n");
  EXPECT_EQ(
      MustPrint({"tokenize", "Hello"}, "/dev/null", {"MKVM_MODEL=" + model}),
      "259\n");
  // The file itself will do.
  EXPECT_EQ(
      MustPrint({"tokenize", "--model", model + "/tokenizer.json", "Hello"}),
      "259\n");
}

TEST(Tokenize, WithoutAModelTheBuiltinOneCounts) {
  const Outcome ids = RunMkvm({"tokenize", "Hello world"});
  EXPECT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_THAT(ids.err, HasSubstr("mkvm-tiny, the built-in model: no "));
  EXPECT_EQ(MustPrint({"tokenize", "--model", "tiny", "Hello world"}), ids.out);
  EXPECT_EQ(MustPrint({"detokenize", "--model", "tiny", ids.out}),
            "Hello world");
}

TEST(Tokenize, SpecialTokensAndJson) {
  const std::string model = TinyModel();
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "a<|end|>"}), "97 266\n");
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "--parse_special=false",
                       "<|end|>"}),
            "60 124 101 110 100 124 62\n");
  EXPECT_EQ(MustPrint({"tokenize", "--model", model, "--json", "a w<|end|>"}),
            R"({"num_tokens":3,"ids":[97,260,266],)"
            R"("tokens":["a","Ġw","<|end|>"]})"
            "\n");
}

TEST(Tokenize, BenchmarkCounts) {
  const std::string model = TinyModel();
  const auto json = nlohmann::json::parse(
      MustPrint({"tokenize", "--model", model, "--benchmark", "3", "--json",
                 "Hello world"}),
      nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["num_bytes"], 11);
  EXPECT_EQ(json["num_tokens"], 5);
  EXPECT_EQ(json["seconds"].size(), 3u);
  EXPECT_GT(json["mb_per_s"], 0.0);
}

TEST(Tokenize, Mistakes) {
  const std::string model = TinyModel();
  const std::string file = model + "/text";
  WriteText(file, "ab\xff");
  EXPECT_THAT(ErrorOf(1, {"tokenize", "--model", model, "--file", file}),
              HasSubstr("not UTF-8 at byte 2"));
  EXPECT_THAT(ErrorOf(2, {"tokenize", "--model", model}),
              HasSubstr("give either TEXT"));
  EXPECT_THAT(ErrorOf(2, {"tokenize", "--model", model, "x", "-f", file}),
              HasSubstr("give either TEXT"));
  EXPECT_THAT(ErrorOf(1, {"tokenize", "--model", "synthetic:1", "x"}),
              HasSubstr("without a tokenizer"));
  EXPECT_THAT(ErrorOf(1, {"tokenize", "--model", "/no/such", "x"}),
              HasSubstr("/no/such"));
  EXPECT_THAT(
      ErrorOf(2, {"tokenize", "--model", model, "--benchmark", "0", "x"}),
      HasSubstr("above 0"));
}

TEST(Detokenize, EveryFormOfIds) {
  const std::string model = TinyModel();
  const std::string file = model + "/ids";
  const std::vector<std::string> forms[] = {
      {"259", "260"}, {"259,260"}, {"259 260"}};
  for (const std::vector<std::string>& form : forms) {
    std::vector<std::string> args = {"detokenize", "--model", model};
    args.insert(args.end(), form.begin(), form.end());
    EXPECT_EQ(MustPrint(args), "Hello w");
  }
  for (const char* text : {"259\n260\n", "[259, 260]",
                           R"({"num_tokens": 2, "ids": [259, 260]})"}) {
    WriteText(file, text);
    EXPECT_EQ(MustPrint({"detokenize", "--model", model, "--file", file}),
              "Hello w");
    EXPECT_EQ(MustPrint({"detokenize", "--model", model, "-"}, file),
              "Hello w");
  }
  EXPECT_EQ(MustPrint({"detokenize", "--model", model, "--json", "195,169"}),
            "{\"num_tokens\":2,\"text\":\"é\"}\n");
  EXPECT_EQ(MustPrint({"detokenize", "--model", model, "--skip_special", "97",
                       "266", "267"}),
            "a<think>");
}

TEST(Detokenize, Mistakes) {
  const std::string model = TinyModel();
  const std::string file = model + "/ids";
  EXPECT_THAT(ErrorOf(1, {"detokenize", "--model", model, "269"}),
              HasSubstr("id 269 is no token"));
  EXPECT_THAT(ErrorOf(2, {"detokenize", "--model", model, "1,x"}),
              HasSubstr("\"x\" is not a token id"));
  EXPECT_THAT(ErrorOf(2, {"detokenize", "--model", model}),
              HasSubstr("give either IDS"));
  for (const char* text : {"[1,", "[1, \"a\"]", "[-1]", "[4294967296]",
                           R"({"id": [1]})", "1 two"}) {
    WriteText(file, text);
    EXPECT_THAT(ErrorOf(1, {"detokenize", "--model", model, "--file", file}),
                HasSubstr(file));
  }
}

TEST(Template, NeedsKnownTemplateAndMessages) {
  const std::string model = TinyModel();
  const std::string messages = model + "/messages.json";
  WriteText(messages, R"([{"role": "user", "content": "hi"}])");
  EXPECT_THAT(ErrorOf(2, {"template", "--model", model}),
              HasSubstr("--messages FILE.json is missing"));
  EXPECT_THAT(
      ErrorOf(1, {"template", "--model", model, "--messages", messages}),
      HasSubstr("has no chat template"));
  WriteText(model + "/chat_template.jinja", "{{ messages }}");
  EXPECT_THAT(
      ErrorOf(1, {"template", "--model", model, "--messages", messages}),
      HasSubstr("chat_template.jinja: a chat template that mkvm does"));
}

TEST(Template, QwenVectors) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  const std::string model = SharedFolder() + "/qwen3";
  const std::string folder = TestFolder();
  const auto vectors = nlohmann::ordered_json::parse(
      ReadText(model + "/chat_vectors.json"), nullptr, false);
  ASSERT_EQ(vectors.size(), 16u);
  for (const nlohmann::ordered_json& vector : vectors) {
    WriteText(folder + "/messages.json", vector["messages"].dump());
    std::vector<std::string> args = {"template", "--model", model, "--messages",
                                     folder + "/messages.json"};
    if (vector.contains("tools")) {
      WriteText(folder + "/tools.json", vector["tools"].dump());
      args.insert(args.end(), {"--tools", folder + "/tools.json"});
    }
    if (!vector.value("enable_thinking", true)) {
      args.emplace_back("--enable_thinking=false");
    }
    if (!vector["add_generation_prompt"].get<bool>()) {
      args.emplace_back("--add_generation_prompt=false");
    }
    const std::string rendered = MustPrint(args);
    EXPECT_EQ(rendered, vector["rendered"].get<std::string>());
    // And on through the tokenizer.
    WriteText(folder + "/rendered", rendered);
    const auto ids = nlohmann::json::parse(
        MustPrint({"tokenize", "--model", model, "--json", "-"},
                  folder + "/rendered"),
        nullptr, false);
    EXPECT_EQ(ids["ids"], nlohmann::json(vector["ids"]));
  }
  WriteText(folder + "/bad.json", R"([{"role": "user", "content": "x"})");
  EXPECT_THAT(ErrorOf(1, {"template", "--model", model, "--messages",
                          folder + "/bad.json"}),
              HasSubstr("the text ends in the middle"));
}

}  // namespace
}  // namespace mkvm
