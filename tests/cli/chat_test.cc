// mkvm chat with its lines from a file, as from a pipe.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "tests/cli/tiny_snapshot.h"

namespace mkvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using Args = std::vector<std::string>;

class Chat : public testing::Test {
 protected:
  void SetUp() override { WriteTinySnapshot(Model()); }

  static std::string Model() { return TestFolder() + "/model"; }

  static Outcome Run(const std::string& lines, const Args& more) {
    const std::string file = TestFolder() + "/lines";
    WriteText(file, lines);
    Args args = {"chat", "--model", Model(), "--device", "cpu"};
    args.insert(args.end(), more.begin(), more.end());
    return RunMkvm(args, {}, file);
  }
  static Outcome MustRun(const std::string& lines, const Args& more = {}) {
    Args args = {"-n", "8"};
    args.insert(args.end(), more.begin(), more.end());
    Outcome outcome = Run(lines, args);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  }
  // The conversation that `lines` and /save leave.
  static nlohmann::json Saved(const std::string& lines, const Args& more = {}) {
    const std::string file = TestFolder() + "/saved.json";
    MustRun(absl::StrCat(lines, "/save ", file, "\n"), more);
    nlohmann::json json = nlohmann::json::parse(ReadText(file), nullptr, false);
    EXPECT_TRUE(json.is_array());
    return json;
  }
};

TEST_F(Chat, AnswersToStdoutTheRestToStderr) {
  const nlohmann::json saved = Saved("Hello\nworld\n");
  ASSERT_THAT(saved, SizeIs(4));
  EXPECT_EQ(saved[0]["content"], "Hello");
  EXPECT_EQ(saved[1]["role"], "assistant");
  EXPECT_EQ(saved[2]["content"], "world");
  const Outcome outcome = MustRun("Hello\nworld\n");
  EXPECT_EQ(outcome.out, saved[1]["content"].get<std::string>() + "\n" +
                             saved[3]["content"].get<std::string>() + "\n");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("4096 tokens of context"),
                                 HasSubstr("[8 tokens, ")));
  EXPECT_THAT(MustRun("Hello\n", {"--stats=false"}).err,
              Not(HasSubstr("[8 tokens")));
}

// The second answer is what a fresh run gives for the whole conversation.
void ExpectSecondAnswerAsFresh(const std::string& model,
                               const nlohmann::json& saved,
                               const Args& template_args) {
  ASSERT_THAT(saved, SizeIs(4));
  const std::string messages = TestFolder() + "/messages.json";
  nlohmann::json history = saved;
  history.erase(3);
  WriteText(messages, history.dump());
  Args args = {"template", "--model", model, "--messages", messages};
  args.insert(args.end(), template_args.begin(), template_args.end());
  const Outcome prompt = RunMkvm(args);
  const std::string file = TestFolder() + "/prompt";
  // generate takes one line end from a file's end.
  WriteText(file, prompt.out + "\n");
  const Outcome fresh = RunMkvm(
      {"generate", "--model", model, "--device", "cpu", "-f", file, "-n", "8"});
  EXPECT_EQ(fresh.out, saved[3]["content"].get<std::string>());
}

TEST_F(Chat, WhatIsInTheCacheChangesNothing) {
  ExpectSecondAnswerAsFresh(Model(), Saved("Hello\nworld\n"), {});
}

// Qwen3's template takes the empty thought before the first answer away again.
TEST_F(Chat, ATemplateMayChangeWhatCameBefore) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  WriteText(Model() + "/chat_template.jinja",
            ReadText(SharedFolder() + "/qwen3/chat_template.jinja"));
  const std::string lines = "/think off\nHello\nworld\n";
  ExpectSecondAnswerAsFresh(Model(), Saved(lines), {"--enable_thinking=false"});
  // The common prefix ends with the head of the first answer.
  EXPECT_THAT(MustRun(lines).err, HasSubstr(", 20 in the cache]"));
}

TEST_F(Chat, OnlyNewTokensAreProcessed) {
  const Outcome outcome = MustRun("Hello\nworld\n/reset\nHello\n");
  EXPECT_THAT(outcome.err, HasSubstr("prompt 20, 0 in the cache"));
  // After a reset the first message is still there, up to its last token.
  EXPECT_THAT(outcome.err, HasSubstr("prompt 20, 19 in the cache"));
  EXPECT_THAT(outcome.err, HasSubstr("(the conversation begins anew)"));
  const std::vector<std::string> answers =
      absl::StrSplit(MustRun("Hello\n/reset\nHello\n").out, '\n');
  EXPECT_EQ(answers[0], answers[answers.size() / 2]);
}

TEST_F(Chat, ChanceIsRepeatableButNotTheSameTwice) {
  const Args args = {"--temp", "1", "--top_k", "0", "--seed", "7", "-n", "20"};
  const nlohmann::json saved = Saved("Hello\n", args);
  EXPECT_EQ(Saved("Hello\n", args), saved);
  EXPECT_NE(Saved("Hello\n/reset\nHello\n", args), saved);
}

TEST_F(Chat, SystemMessages) {
  EXPECT_EQ(Saved("a\n", {"--system", "be brief"})[0]["content"], "be brief");
  const nlohmann::json changed =
      Saved("a\n/system be  long \nb\n", {"--system", "be brief"});
  ASSERT_THAT(changed, SizeIs(5));
  EXPECT_EQ(changed[0]["content"], "be  long");
  EXPECT_EQ(Saved("a\n/system\n", {"--system", "x"})[0]["role"], "user");
  // It outlives a reset.
  EXPECT_THAT(Saved("a\n/reset\n", {"--system", "x"}), SizeIs(1));
}

TEST_F(Chat, LinesThatGoOnAndLinesThatAreNone) {
  const nlohmann::json saved = Saved("one\\\ntwo\n\n   \n//three\r\n");
  ASSERT_THAT(saved, SizeIs(4));
  EXPECT_EQ(saved[0]["content"], "one\ntwo");
  EXPECT_EQ(saved[2]["content"], "/three");
  // The input's end ends a line, too.
  EXPECT_EQ(MustRun("Hello\\").out, MustRun("Hello\n").out);
}

TEST_F(Chat, ALoadedConversationGoesOnAsBefore) {
  const std::string file = TestFolder() + "/kept.json";
  const Outcome whole = MustRun("Hello\nworld\n");
  MustRun(absl::StrCat("Hello\n/save ", file, "\n"));
  const Outcome second = MustRun(absl::StrCat("/load ", file, "\nworld\n"));
  EXPECT_EQ(whole.out.substr(whole.out.size() - second.out.size()), second.out);
  EXPECT_THAT(MustRun("/load /no/such\n").err,
              AllOf(HasSubstr("not loaded: "), HasSubstr("/no/such")));
  WriteText(file, "{}");
  EXPECT_THAT(MustRun(absl::StrCat("/load ", file, "\n")).err,
              HasSubstr("no JSON list of messages"));
}

TEST_F(Chat, CommandsSayWhatTheyDid) {
  const Outcome outcome = MustRun(
      "/help\n/stats\nHello\n/stats\n/think off\n/think maybe\n/sav x\n/save\n"
      "/save /no/such/folder/x\n/quit\nnever sent\n");
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("/system TEXT"), HasSubstr("0 answers, 0 tokens"),
            HasSubstr("1 answer, 8 tokens"), HasSubstr("first token after"),
            HasSubstr("(thinking off)"), HasSubstr("/think on, or /think off"),
            HasSubstr("unknown command /sav; did you mean /save?"),
            HasSubstr("not saved: ")));
  EXPECT_EQ(outcome.out, MustRun("Hello\n").out);
}

TEST_F(Chat, AMessageThatIsNotUtf8IsNotSent) {
  const Outcome outcome = MustRun("a\xff\nHello\n");
  EXPECT_THAT(outcome.err, HasSubstr("not sent: "));
  EXPECT_EQ(outcome.out, MustRun("Hello\n").out);
}

TEST_F(Chat, AFullContextIsSaidBeforeItHappens) {
  const Outcome outcome = MustRun("Hello\nHello\nHello\n", {"-c", "90"});
  const size_t nearly = outcome.err.find("of the context's 90 tokens");
  const size_t refused = outcome.err.find("not sent: the conversation");
  ASSERT_NE(nearly, std::string::npos) << outcome.err;
  ASSERT_NE(refused, std::string::npos) << outcome.err;
  EXPECT_LT(nearly, refused);
  EXPECT_THAT(outcome.err, HasSubstr("--on_full shift"));
  // An answer that is cut off says why.
  EXPECT_THAT(MustRun("Hello\n", {"-c", "40", "-n", "-1"}).err,
              HasSubstr("context of 40 tokens is full, and the answer ends"));
}

TEST_F(Chat, ShiftForgetsTheOldestTurns) {
  const Args args = {"-c", "90", "--on_full", "shift", "--system", "s"};
  const Outcome outcome = MustRun("Hello\nHello\nHello\nHello\n", args);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("forgotten)"), Not(HasSubstr("not sent"))));
  const nlohmann::json saved = Saved("Hello\none\ntwo\nthree\n", args);
  EXPECT_EQ(saved[0]["content"], "s");
  EXPECT_EQ(saved[saved.size() - 2]["content"], "three");
  EXPECT_THAT(saved.dump(), Not(HasSubstr("Hello")));
}

TEST_F(Chat, MistakesOnTheCommandLine) {
  const auto error = [&](int exit_code, const Args& more) {
    const Outcome outcome = Run("", more);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    const size_t at = outcome.err.find("mkvm: error: ");
    return at == std::string::npos ? "" : outcome.err.substr(at);
  };
  EXPECT_THAT(error(2, {"--thinking", "loud"}),
              HasSubstr("--thinking: \"loud\" is not show, dim or hide"));
  EXPECT_THAT(error(2, {"--on_full", "x"}), HasSubstr("--on_full"));
  EXPECT_THAT(error(2, {"text"}), HasSubstr("unexpected argument"));
  EXPECT_THAT(error(1, {"--system", "\xff"}), HasSubstr("UTF-8"));
  std::filesystem::remove(Model() + "/chat_template.jinja");
  EXPECT_THAT(error(1, {}), HasSubstr("no chat template"));
}

}  // namespace
}  // namespace mkvm
