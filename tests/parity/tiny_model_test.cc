// models/mkvm-tiny, the model that comes with mkvm: its tokens are those that
// transformers chose in float32 (golden.json, by tests/parity/tiny_parity.py).
//
// Built once per device: MKVM_TEST_DEVICE is "cpu" or "cuda:0".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/chat_template.h"
#include "model/config.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "vm/gpu_machine.h"

namespace mkvm {
namespace {

std::string ModelFolder() { return MKVM_SOURCE_DIR "/models/mkvm-tiny"; }

std::vector<int32_t> Ids(absl::string_view text) {
  std::vector<int32_t> ids;
  for (const absl::string_view part :
       absl::StrSplit(text, absl::ByAnyChar(", \n"), absl::SkipEmpty())) {
    EXPECT_TRUE(absl::SimpleAtoi(part, &ids.emplace_back())) << part;
  }
  return ids;
}

class TinyModel : public testing::Test {
 protected:
  void SetUp() override {
    golden_ = nlohmann::json::parse(ReadText(ModelFolder() + "/golden.json"));
    ASSERT_GE(golden_["cases"].size(), 8);
  }
  nlohmann::json golden_;
};

TEST_F(TinyModel, ChoosesTheTokensOfTheOracle) {
  if (absl::string_view(MKVM_TEST_DEVICE) != "cpu") {
    const auto gpu = vm::QueryGpu(0);
    if (!gpu.ok()) GTEST_SKIP() << gpu.status().message();
  }
  for (const auto& c : golden_["cases"]) {
    const auto prompt = c["prompt_ids"].get<std::vector<int32_t>>();
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    const Outcome outcome =
        RunMkvm({"run", "--model", ModelFolder(), "--device", MKVM_TEST_DEVICE,
                 "--prompt_ids", absl::StrJoin(prompt, ","), "-n",
                 absl::StrCat(ids.size())});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(Ids(outcome.out), ids)
        << c["prompt"] << "; the smallest gap of the oracle's best two logits: "
        << c["smallest_gap"];
  }
}

TEST_F(TinyModel, TextBecomesTheIdsOfTheOracleAndBack) {
  const auto tokenizer = model::Tokenizer::Load(ModelFolder());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto chat = model::ChatTemplate::Load(ModelFolder());
  ASSERT_TRUE(chat.ok()) << chat.status();
  for (const auto& c : golden_["cases"]) {
    const auto prompt = c["prompt"].get<std::string>();
    if (c["messages"].is_array()) {
      const auto rendered = chat->Render(c["messages"].dump(), "", {});
      ASSERT_TRUE(rendered.ok()) << rendered.status();
      EXPECT_EQ(*rendered, prompt);
    }
    const auto ids = tokenizer->Encode(prompt);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c["prompt_ids"].get<std::vector<int32_t>>());
    const auto text = tokenizer->Decode(c["ids"].get<std::vector<int32_t>>());
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, c["text"].get<std::string>());
  }
}

TEST_F(TinyModel, IsASmallWholeSnapshot) {
  EXPECT_LE(std::filesystem::file_size(ModelFolder() + "/model.safetensors"),
            6'000'000);
  const auto snapshot = model::OpenSnapshot(ModelFolder());
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const auto tokenizer = model::Tokenizer::Load(ModelFolder());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::vector<std::string> ends;
  for (const int32_t id : (*snapshot)->config().eos_token_ids) {
    const std::vector<int32_t> ids = {id};
    const auto text = tokenizer->Decode(ids);
    ASSERT_TRUE(text.ok()) << text.status();
    ends.push_back(*text);
  }
  EXPECT_THAT(ends, testing::ElementsAre("<|im_end|>", "<|endoftext|>"));
}

}  // namespace
}  // namespace mkvm
