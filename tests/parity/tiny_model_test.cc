// models/mkvm-tiny, the model that comes with mkvm: its tokens are those that
// transformers chose in float32 (golden.json, by tests/parity/tiny_parity.py).
//
// Built once per device: MKVM_TEST_DEVICE is "cpu" or "cuda:0".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/npy.h"
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
    ASSERT_GE(golden_["cases"].size(), 6);
    ASSERT_GE(golden_["stories"].size(), 2);
  }
  static bool HasDevice() {
    return absl::string_view(MKVM_TEST_DEVICE) == "cpu" || vm::QueryGpu(0).ok();
  }
  nlohmann::json golden_;
};

TEST_F(TinyModel, ChoosesTheTokensOfTheOracle) {
  if (!HasDevice()) GTEST_SKIP() << "no GPU";
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

// A story has words that could as well be others. So every token is asked for
// after the oracle's own, and where its best two logits are near each other
// (rounding moves their gap by up to 0.13), either will do.
TEST_F(TinyModel, GoesThroughStoriesWithTheOracle) {
  if (!HasDevice()) GTEST_SKIP() << "no GPU";
  constexpr float kNear = 0.2f;
  for (const auto& c : golden_["stories"]) {
    auto ids = c["prompt_ids"].get<std::vector<int32_t>>();
    const auto story = c["ids"].get<std::vector<int32_t>>();
    const auto gaps = c["gaps"].get<std::vector<float>>();
    ASSERT_GE(story.size(), 100);
    ASSERT_EQ(gaps.size(), story.size());
    ids.insert(ids.end(), story.begin(), story.end() - 1);
    const std::string input = TestFolder() + "/ids.txt";
    const std::string output = TestFolder() + "/logits.npy";
    WriteText(input, absl::StrJoin(ids, " "));
    const Outcome outcome = RunMkvm(
        {"score", "--model", ModelFolder(), "--device", MKVM_TEST_DEVICE,
         "--ids", input, "-o", output, "--last", absl::StrCat(story.size())});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto logits = cli::ReadNpyFile(output);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_THAT(logits->shape, testing::ElementsAre(story.size(), testing::_));
    const size_t vocab = logits->shape[1];
    size_t clear = 0;
    std::vector<float> row(vocab);
    for (size_t i = 0; i < story.size(); ++i) {
      std::memcpy(row.data(), logits->data.data() + i * vocab * sizeof(float),
                  vocab * sizeof(float));
      const auto best = std::max_element(row.begin(), row.end());
      EXPECT_LT(*best - row[story[i]], kNear) << "token " << i;
      if (gaps[i] < kNear) continue;
      ++clear;
      EXPECT_EQ(best - row.begin(), story[i]) << "token " << i;
    }
    EXPECT_GE(clear, story.size() / 2);
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
