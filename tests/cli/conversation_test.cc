#include "cli/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/subprocess.h"
#include "tests/cli/tiny_snapshot.h"

namespace mkvm::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class ConversationTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteTinySnapshot(TestFolder());
    auto tokenizer = model::Tokenizer::Load(TestFolder());
    auto chat_template = model::ChatTemplate::Load(TestFolder());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ASSERT_TRUE(chat_template.ok()) << chat_template.status();
    tokenizer_.emplace(*std::move(tokenizer));
    conversation_.emplace(*tokenizer_, *chat_template);
  }

  std::string PromptText() {
    const auto ids = conversation_->Prompt();
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.ok() ? *tokenizer_->Decode(*ids) : "";
  }

  std::optional<model::Tokenizer> tokenizer_;
  std::optional<Conversation> conversation_;
};

TEST_F(ConversationTest, RendersWhatTheTemplateSays) {
  conversation_->Add("user", "a");
  conversation_->Add("assistant", "b");
  conversation_->Add("user", "c");
  EXPECT_EQ(PromptText(),
            "<|im_start|>user\na<|im_end|>\n"
            "<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ConversationTest, OneSystemMessageInFront) {
  conversation_->Add("user", "a");
  conversation_->SetSystem("s");
  conversation_->SetSystem("t");
  EXPECT_EQ(PromptText(),
            "<|im_start|>system\nt<|im_end|>\n"
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
  conversation_->Reset();
  EXPECT_EQ(conversation_->size(), 1);
  conversation_->SetSystem("");
  EXPECT_EQ(conversation_->size(), 0);
}

TEST_F(ConversationTest, DropsTheOldestTurnButNeverTheLatest) {
  conversation_->SetSystem("s");
  for (const char* text : {"a", "b", "c"}) {
    conversation_->Add("user", text);
    conversation_->Add("assistant", std::string("re ") + text);
  }
  EXPECT_TRUE(conversation_->DropOldestTurn());
  EXPECT_EQ(conversation_->size(), 5);
  EXPECT_THAT(conversation_->ToJson(), Not(HasSubstr("re a")));
  EXPECT_TRUE(conversation_->DropOldestTurn());
  EXPECT_FALSE(conversation_->DropOldestTurn());
  EXPECT_EQ(PromptText(),
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\nre c<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ConversationTest, TokensOfTheNextPromptAreThoseOfTheNextPrompt) {
  conversation_->Add("user", "a");
  conversation_->Add("assistant", "b");
  const auto tokens = conversation_->TokensOfNextPrompt();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  conversation_->Add("user", "");
  EXPECT_EQ(*tokens, static_cast<int64_t>(conversation_->Prompt()->size()));
}

TEST_F(ConversationTest, JsonAndBack) {
  conversation_->SetSystem("s");
  conversation_->Add("user", "\"é\"\n");
  const std::string json = conversation_->ToJson();
  const std::string prompt = PromptText();
  conversation_->Add("assistant", "b");
  ASSERT_TRUE(conversation_->FromJson(json).ok());
  EXPECT_EQ(conversation_->ToJson(), json);
  EXPECT_EQ(PromptText(), prompt);
}

TEST_F(ConversationTest, JsonThatIsNoConversationChangesNothing) {
  conversation_->Add("user", "a");
  const std::string json = conversation_->ToJson();
  for (const char* bad : {"", "{}", "[1]", "[{\"role\": \"user\"", "[{}]"}) {
    EXPECT_FALSE(conversation_->FromJson(bad).ok()) << bad;
    EXPECT_EQ(conversation_->ToJson(), json);
  }
}

}  // namespace
}  // namespace mkvm::cli
