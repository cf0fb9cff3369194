// What is processed again, what is not, and where a text ends: on the CPU, with
// a model that is noise but always the same.
#include "cli/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/completion.h"
#include "cli/text_session.h"
#include "tests/cli/subprocess.h"
#include "tests/cli/tiny_snapshot.h"

namespace mkvm::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr int64_t kContext = 40;

class GeneratorTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteTinySnapshot(TestFolder());
    flags_.model = TestFolder();
    flags_.device = "cpu";
    flags_.ctx_size = kContext;
    auto session = TextSession::Open(flags_);
    ASSERT_TRUE(session.ok()) << session.status();
    session_.emplace(*std::move(session));
    const absl::Status started = session_->Start(flags_, 0, 2);
    ASSERT_TRUE(started.ok()) << started;
  }

  Generator& generator() { return session_->generator(); }

  Generated MustGenerate(const std::vector<int32_t>& prompt, int64_t max_tokens,
                         std::vector<int32_t> eos = {}) {
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = max_tokens;
    request.eos = std::move(eos);
    request.sampling = session_->sampling();
    auto generated = generator().Generate(request);
    EXPECT_TRUE(generated.ok()) << generated.status();
    return generated.ok() ? *std::move(generated) : Generated();
  }

  // The same from an empty cache.
  std::vector<int32_t> Fresh(const std::vector<int32_t>& prompt,
                             int64_t max_tokens) {
    auto session = TextSession::Open(flags_);
    EXPECT_TRUE(session.ok());
    EXPECT_TRUE(session->Start(flags_, 0, -1).ok());
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = max_tokens;
    request.sampling = session->sampling();
    return session->generator().Generate(request)->ids;
  }

  TextFlags flags_;
  std::optional<TextSession> session_;
};

std::vector<int32_t> Joined(std::vector<int32_t> a,
                            const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(GeneratorTest, AsManyAsAskedFor) {
  const Generated ten = MustGenerate({5, 6, 7}, 10);
  EXPECT_THAT(ten.ids, SizeIs(10));
  EXPECT_EQ(ten.finish_reason, FinishReason::kLength);
  EXPECT_EQ(ten.prompt_tokens, 3);
  EXPECT_EQ(ten.cached_tokens, 0);
  EXPECT_GT(ten.first_token_s, 0);
  EXPECT_GT(ten.first_made_s, 0);
  EXPECT_GT(ten.last_made_s, ten.first_made_s);
  EXPECT_THAT(MustGenerate({5, 6, 7}, 1).ids, ElementsAre(ten.ids[0]));
  for (const int32_t id : ten.ids) EXPECT_LT(id, kTinyTokens);
}

TEST_F(GeneratorTest, WhatFollowsTheCommonPrefixIsProcessed) {
  const std::vector<int32_t> first = {5, 6, 7};
  const Generated answer = MustGenerate(first, 6);
  // The last token was never processed.
  EXPECT_THAT(generator().cached_ids(), SizeIs(8));
  const std::vector<int32_t> second = Joined(Joined(first, answer.ids), {8, 9});
  const Generated more = MustGenerate(second, 5);
  EXPECT_EQ(more.cached_tokens, 8);
  EXPECT_EQ(more.ids, Fresh(second, 5));
  // Back to an earlier point, and another way on.
  const std::vector<int32_t> other = {5, 6, 100, 101};
  const Generated turned = MustGenerate(other, 5);
  EXPECT_EQ(turned.cached_tokens, 2);
  EXPECT_EQ(turned.ids, Fresh(other, 5));
}

TEST_F(GeneratorTest, APromptThatIsAllThereMakesItsNextTokenAgain) {
  const std::vector<int32_t> prompt = {5, 6, 7, 8};
  const Generated once = MustGenerate(prompt, 4);
  const Generated again = MustGenerate(prompt, 4);
  EXPECT_EQ(again.cached_tokens, 3);
  EXPECT_EQ(again.ids, once.ids);
}

TEST_F(GeneratorTest, EosEndsTheText) {
  const std::vector<int32_t> all = MustGenerate({5, 6, 7}, 10).ids;
  const auto first = std::find(all.begin(), all.end(), all[4]);
  const Generated ended = MustGenerate({5, 6, 7}, 10, {1, all[4]});
  EXPECT_EQ(ended.ids, std::vector<int32_t>(all.begin(), first + 1));
  EXPECT_EQ(ended.finish_reason, FinishReason::kEos);
}

TEST_F(GeneratorTest, TheContextEndsTheText) {
  const Generated full = MustGenerate({5, 6, 7}, -1);
  EXPECT_EQ(full.finish_reason, FinishReason::kContext);
  // The last token needs no position of its own.
  EXPECT_THAT(full.ids, SizeIs(kContext - 3 + 1));
  // Exactly as many as there is room for is no shortage.
  EXPECT_EQ(MustGenerate({5, 6, 7}, kContext - 2).finish_reason,
            FinishReason::kLength);
  EXPECT_EQ(MustGenerate({5, 6, 7}, kContext - 1).finish_reason,
            FinishReason::kContext);
}

TEST_F(GeneratorTest, PromptsThatCantBe) {
  GenerateRequest request;
  request.sampling = session_->sampling();
  EXPECT_EQ(generator().Generate(request).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::vector<int32_t> longer(kContext + 1, 5);
  request.prompt = longer;
  EXPECT_THAT(std::string(generator().Generate(request).status().message()),
              HasSubstr("--ctx_size"));
  const std::vector<int32_t> full(kContext, 5);
  EXPECT_THAT(MustGenerate(full, -1).ids, SizeIs(1));
}

TEST_F(GeneratorTest, InterruptedItStopsAndCanGoOn) {
  int asked = 0;
  const std::vector<int32_t> prompt = {5, 6, 7};
  GenerateRequest request;
  request.prompt = prompt;
  request.max_tokens = 20;
  request.sampling = session_->sampling();
  request.interrupted = [&] { return ++asked > 1; };
  const auto stopped = generator().Generate(request);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->finish_reason, FinishReason::kInterrupted);
  EXPECT_LT(stopped->ids.size(), 20u);
  EXPECT_EQ(MustGenerate(prompt, 20).ids, Fresh(prompt, 20));
}

TEST_F(GeneratorTest, LogprobsOfEveryTokenAndOfTheBest) {
  GenerateRequest request;
  const std::vector<int32_t> prompt = {5, 6, 7};
  request.prompt = prompt;
  request.max_tokens = 4;
  request.sampling = session_->sampling();
  request.sampling.logprobs = 2;
  const auto generated = generator().Generate(request);
  ASSERT_TRUE(generated.ok()) << generated.status();
  ASSERT_THAT(generated->logprobs, SizeIs(4));
  for (size_t i = 0; i < 4; ++i) {
    const vm::PositionLogprobs& position = generated->logprobs[i];
    EXPECT_EQ(position.chosen.token, generated->ids[i]);
    ASSERT_THAT(position.top, SizeIs(2));
    // Greedy: the most probable one is the one chosen.
    EXPECT_EQ(position.top[0].token, generated->ids[i]);
    EXPECT_LE(position.top[1].logprob, position.top[0].logprob);
    EXPECT_LT(position.top[0].logprob, 0);
  }
}

TEST_F(GeneratorTest, PenaltiesCountPromptAndAnswer) {
  const std::vector<int32_t> plain = MustGenerate({5, 6, 7}, 12).ids;
  GenerateRequest request;
  const std::vector<int32_t> prompt = {5, 6, 7};
  request.prompt = prompt;
  request.max_tokens = 12;
  request.sampling = session_->sampling();
  request.sampling.frequency_penalty = 1e6f;
  const auto once_each = generator().Generate(request);
  ASSERT_TRUE(once_each.ok()) << once_each.status();
  std::vector<int32_t> ids = once_each->ids;
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  // What the model has made before is penalised only when it is said to be so.
  EXPECT_EQ(once_each->ids[0], plain[0]);
  const std::vector<int32_t> longer = Joined(prompt, {plain[0]});
  const auto first_after = [&](int64_t answer_tokens) {
    request.prompt = longer;
    request.answer_tokens = answer_tokens;
    request.max_tokens = 1;
    return generator().Generate(request)->ids[0];
  };
  EXPECT_EQ(first_after(0), plain[1]);
  EXPECT_EQ(first_after(1), once_each->ids[1]);
}

// ---- text -------------------------------------------------------------------

TEST_F(GeneratorTest, TextIsWhatItsTokensDecodeTo) {
  CompletionRequest request = session_->Request(flags_, {5, 6, 7});
  request.max_tokens = 20;
  std::string streamed;
  request.on_text = [&](absl::string_view text) {
    EXPECT_FALSE(text.empty());
    streamed.append(text.data(), text.size());
  };
  const auto done = Complete(generator(), session_->tokenizer(), request);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->text, *session_->tokenizer().Decode(done->ids, true));
  EXPECT_EQ(streamed, done->text);
  EXPECT_EQ(done->context_tokens, 23);
}

TEST_F(GeneratorTest, AStopStringEndsTheTextBeforeIt) {
  CompletionRequest request = session_->Request(flags_, {5, 6, 7});
  request.max_tokens = 30;
  const auto all = Complete(generator(), session_->tokenizer(), request);
  ASSERT_TRUE(all.ok()) << all.status();
  // Three bytes from somewhere in it: of several tokens, as a rule.
  const std::string text = all->text;
  size_t at = text.size() / 2;
  while ((text[at] & 0xc0) == 0x80) ++at;
  const std::string stop = text.substr(at, 3);
  request.stops = {stop};
  const auto stopped = Complete(generator(), session_->tokenizer(), request);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->finish_reason, FinishReason::kStop);
  EXPECT_EQ(stopped->stop, stop);
  EXPECT_EQ(stopped->text, text.substr(0, text.find(stop)));
  EXPECT_LT(stopped->ids.size(), all->ids.size());
}

TEST_F(GeneratorTest, ShiftedItGoesOnUntilTheTokensAreThere) {
  CompletionRequest request = session_->Request(flags_, {5, 6, 7});
  request.max_tokens = 100;
  request.make_room = [](absl::Span<const int32_t> answer) {
    CompletionRequest::Room room;
    room.ids.assign(answer.end() - 10, answer.end());
    room.answer_tokens = 10;
    return room;
  };
  const auto done = Complete(generator(), session_->tokenizer(), request);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_THAT(done->ids, SizeIs(100));
  EXPECT_EQ(done->finish_reason, FinishReason::kLength);
  // 38 tokens fit first, then 31 each time.
  EXPECT_EQ(done->times_shifted, 2);
  EXPECT_EQ(done->text, *session_->tokenizer().Decode(done->ids, true));
  // What follows the room is what follows those tokens.
  const std::vector<int32_t> room(done->ids.begin() + 28,
                                  done->ids.begin() + 38);
  EXPECT_EQ(
      std::vector<int32_t>(done->ids.begin() + 38, done->ids.begin() + 43),
      Fresh(room, 5));
}

TEST_F(GeneratorTest, WithoutRoomItEnds) {
  CompletionRequest request = session_->Request(flags_, {5, 6, 7});
  request.make_room = [](absl::Span<const int32_t>) {
    return CompletionRequest::Room();
  };
  const auto done = Complete(generator(), session_->tokenizer(), request);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->finish_reason, FinishReason::kContext);
  EXPECT_EQ(done->times_shifted, 0);
}

}  // namespace
}  // namespace mkvm::cli
