// mkvm generate as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "tests/cli/tiny_snapshot.h"

namespace mkvm {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using Args = std::vector<std::string>;

class Generate : public testing::Test {
 protected:
  void SetUp() override { WriteTinySnapshot(Model()); }

  static std::string Model() { return TestFolder() + "/model"; }

  static Args Command(const Args& more) {
    Args args = {"generate", "--model", Model(), "--device", "cpu"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  static Outcome MustRun(const Args& more,
                         const std::string& stdin_path = "/dev/null") {
    Outcome outcome = RunMkvm(Command(more), {}, stdin_path);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  }
  static nlohmann::json MustJson(Args more) {
    more.emplace_back("--json");
    nlohmann::json json =
        nlohmann::json::parse(MustRun(more).out, nullptr, false);
    EXPECT_TRUE(json.is_object());
    return json;
  }
  // The error line of a run that must fail.
  static std::string ErrorOf(int exit_code, const Args& args,
                             const std::string& stdin_path = "/dev/null") {
    const Outcome outcome = RunMkvm(args, {}, stdin_path);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    const size_t at = outcome.err.find("mkvm: error: ");
    EXPECT_NE(at, std::string::npos) << outcome.err;
    const std::string line =
        outcome.err.substr(at == std::string::npos ? 0 : at);
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    return line;
  }
};

TEST_F(Generate, TextToStdoutFiguresToStderr) {
  const Outcome outcome = MustRun({"-p", "Hello", "-n", "12"});
  EXPECT_NE(outcome.out, "");
  EXPECT_EQ(outcome.out, MustJson({"-p", "Hello", "-n", "12"})["text"]);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("prompt: 1 token,"),
                    HasSubstr("answer: 12 tokens"), HasSubstr("tokens/s"),
                    HasSubstr("ended: length"), HasSubstr("greedy")));
}

TEST_F(Generate, PromptsFromEverywhereAreTheSame) {
  const std::string file = TestFolder() + "/prompt";
  WriteText(file, "Hello world\n");
  const std::string text = MustRun({"-p", "Hello world", "-n", "8"}).out;
  EXPECT_EQ(MustRun({"-f", file, "-n", "8"}).out, text);
  EXPECT_EQ(MustRun({"-n", "8"}, file).out, text);
  EXPECT_EQ(MustRun({"-f", "-", "-n", "8"}, file).out, text);
  EXPECT_EQ(MustRun({"-p", "Hello world", "-n", "8", "--echo"}).out,
            "Hello world" + text);
}

TEST_F(Generate, NumberOfTokensUnderEveryName) {
  for (const char* name :
       {"-n", "--num_tokens", "--predict", "--max-new-tokens"}) {
    EXPECT_THAT(MustJson({"-p", "Hello", name, "3"})["ids"], SizeIs(3)) << name;
  }
}

TEST_F(Generate, JsonHasWhatThereIsToKnow) {
  const nlohmann::json json =
      MustJson({"-p", "Hello", "-n", "5", "--logprobs", "2"});
  EXPECT_THAT(json["ids"], SizeIs(5));
  EXPECT_EQ(json["prompt_ids"], std::vector<int>{259});
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 1);
  EXPECT_EQ(json["usage"]["completion_tokens"], 5);
  EXPECT_EQ(json["usage"]["total_tokens"], 6);
  EXPECT_GT(json["timings"]["first_token_s"], 0.0);
  EXPECT_GT(json["timings"]["tokens_per_s"], 0.0);
  EXPECT_EQ(json["sampling"]["temperature"], 0.0);
  EXPECT_EQ(json["model"], Model());
  ASSERT_THAT(json["logprobs"], SizeIs(5));
  for (size_t i = 0; i < 5; ++i) {
    const nlohmann::json& entry = json["logprobs"][i];
    EXPECT_EQ(entry["id"], json["ids"][i]);
    EXPECT_THAT(entry["top"], SizeIs(2));
    EXPECT_EQ(entry["top"][0]["id"], entry["id"]);  // greedy
    EXPECT_LT(entry["logprob"], 0.0);
  }
}

TEST_F(Generate, TheSameSeedTheSameText) {
  const Args args = {"-p", "Hello", "-n", "40", "--temp", "1", "--top_k", "0"};
  const auto with_seed = [&](const char* seed) {
    Args more = args;
    more.insert(more.end(), {"--seed", seed});
    return MustJson(more)["ids"];
  };
  EXPECT_EQ(with_seed("7"), with_seed("7"));
  EXPECT_NE(with_seed("7"), with_seed("8"));
  // A seed that was drawn is said, so that the text can be had again.
  const nlohmann::json drawn = MustJson(args);
  EXPECT_EQ(with_seed(drawn["sampling"]["seed"].dump().c_str()), drawn["ids"]);
  EXPECT_THAT(MustRun(args).err, HasSubstr("; seed "));
  // No id beyond the tokenizer's comes out, hot as it may be.
  Args hot = args;
  hot.insert(hot.end(), {"--temp", "1000", "-n", "400"});
  const nlohmann::json noise = MustJson(hot);
  for (const int id : noise["ids"]) EXPECT_LT(id, kTinyTokens);
}

TEST_F(Generate, DefaultsComeFromGenerationConfig) {
  WriteText(Model() + "/generation_config.json",
            R"({"do_sample": true, "temperature": 0.5, "top_k": 7,
                "top_p": 0.9, "eos_token_id": [3, 4]})");
  const nlohmann::json json = MustJson({"-p", "Hello", "-n", "2"});
  EXPECT_EQ(json["sampling"]["temperature"], 0.5);
  EXPECT_EQ(json["sampling"]["top_k"], 7);
  EXPECT_EQ(json["sampling"]["top_p"], 0.9);
  WriteText(Model() + "/generation_config.json", R"({"top_p": "all"})");
  EXPECT_THAT(ErrorOf(1, Command({"-p", "Hello"})),
              HasSubstr("generation_config.json: \"top_p\" is \"all\""));
}

TEST_F(Generate, EosAndStopStringsEndTheText) {
  const nlohmann::json all = MustJson({"-p", "Hello", "-n", "30"});
  const int eos = all["ids"][9];
  WriteText(Model() + "/generation_config.json",
            absl::StrCat("{\"eos_token_id\": [", eos, "]}"));
  const nlohmann::json ended = MustJson({"-p", "Hello", "-n", "30"});
  EXPECT_EQ(ended["finish_reason"], "eos");
  EXPECT_LE(ended["ids"].size(), 10u);
  EXPECT_EQ(ended["ids"].back(), eos);
  EXPECT_EQ(MustJson({"-p", "Hello", "-n", "30", "--ignore_eos"})["ids"],
            all["ids"]);
  const auto text = all["text"].get<std::string>();
  size_t at = text.size() / 2;
  while ((text[at] & 0xc0) == 0x80) ++at;
  size_t end = at + 1;
  while ((text[end] & 0xc0) == 0x80) ++end;
  const std::string stop = text.substr(at, end - at);
  const nlohmann::json stopped =
      MustJson({"-p", "Hello", "-n", "30", "--ignore_eos", "--stop", stop,
                "--stop", "never in there"});
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["stop"], stop);
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
}

TEST_F(Generate, ChatWrapsThePrompt) {
  const std::string messages = TestFolder() + "/messages.json";
  WriteText(messages, R"([{"role": "system", "content": "s"},
                          {"role": "user", "content": "Hello"}])");
  const Outcome rendered =
      RunMkvm({"template", "--model", Model(), "--messages", messages});
  ASSERT_EQ(rendered.exit_code, 0) << rendered.err;
  const std::string file = TestFolder() + "/rendered";
  WriteText(file, rendered.out);
  const Outcome tokens =
      RunMkvm({"tokenize", "--model", Model(), "--json", "-f", file});
  EXPECT_EQ(MustJson({"-p", "Hello", "--chat", "--system", "s", "-n",
                      "1"})["prompt_ids"],
            nlohmann::json::parse(tokens.out, nullptr, false)["ids"]);
}

TEST_F(Generate, AFullContextIsSaidBeforeAndAfter) {
  const Args args = {"-p", "Hello", "-c", "20", "-n", "50"};
  const Outcome stopped = MustRun(args);
  EXPECT_THAT(
      stopped.err,
      AllOf(HasSubstr("has room for 20 more, not for 50: the text ends"),
            HasSubstr("ended: context"),
            HasSubstr("the context of 20 tokens is full")));
  Args shifting = args;
  shifting.insert(shifting.end(), {"--on_full", "shift"});
  const Outcome shifted = MustRun(shifting);
  EXPECT_THAT(shifted.err,
              AllOf(HasSubstr("the older half is forgotten"),
                    HasSubstr("answer: 50 tokens"), HasSubstr("shifted"),
                    Not(HasSubstr("is full"))));
  EXPECT_EQ(shifted.out.compare(0, stopped.out.size(), stopped.out), 0);
  // A context that was not asked for grows with -n.
  EXPECT_EQ(MustJson({"-p", "Hello", "-n", "5"})["usage"]["context_size"],
            4096);
  EXPECT_THAT(ErrorOf(1, Command({"-p", "Hello Hello Hello", "-c", "2"})),
              HasSubstr("the prompt has"));
}

TEST_F(Generate, OfTheHuggingFaceCache) {
  const std::string hub = TestFolder() + "/hub";
  const std::string repository = hub + "/models--Org--Tiny";
  fs::create_directories(repository + "/snapshots");
  fs::create_directories(repository + "/refs");
  fs::create_directory_symlink(Model(), repository + "/snapshots/abc");
  WriteText(repository + "/refs/main", "abc");
  const std::vector<std::string> env = {"HF_HUB_CACHE=" + hub};
  const Args args = {"generate", "--model", "Org/Tiny", "-p", "Hello",
                     "-n",       "4",       "--device", "cpu"};
  const Outcome outcome = RunMkvm(args, env);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, MustRun({"-p", "Hello", "-n", "4"}).out);
  // Every verb that takes a model takes that name.
  for (const Args& other :
       {Args{"tokenize", "Hello", "--model", "Org/Tiny"},
        Args{"run", "--prompt_ids", "5", "-n", "2", "--device", "cpu",
             "--model", "Org/Tiny"},
        Args{"compile", "--target", "cpu", "--max_context", "64", "-o",
             TestFolder() + "/o.bin", "--model", "Org/Tiny"}}) {
    const Outcome done = RunMkvm(other, env);
    EXPECT_EQ(done.exit_code, 0) << other[0] << ": " << done.err;
    EXPECT_THAT(ErrorOf(1, other), HasSubstr("hf download Org/Tiny"));
  }
}

TEST_F(Generate, WithoutAModelItSaysWhichItTook) {
  const Args args = {"generate", "-p", "Hello", "-n", "4", "--device", "cpu"};
  const Outcome own = RunMkvm(args, {"MKVM_MODEL=" + Model()});
  EXPECT_EQ(own.out, MustRun({"-p", "Hello", "-n", "4"}).out);
  EXPECT_THAT(own.err, HasSubstr("model: " + Model() + "\n"));
  const Outcome builtin = RunMkvm(args);
  EXPECT_EQ(builtin.exit_code, 0) << builtin.err;
  EXPECT_THAT(builtin.err, HasSubstr("mkvm-tiny, the built-in model: no "));
}

// Words, and no noise.
TEST_F(Generate, TheBuiltinModelCanRead) {
  for (const char* name : {"tiny", "mkvm-tiny"}) {
    const Outcome outcome =
        RunMkvm({"generate", "-m", name, "-p", "Once upon a time", "-n", "60",
                 "--temp", "0", "--device", "cpu"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_GT(outcome.out.size(), 80u) << outcome.out;
    const auto plain = std::count_if(
        outcome.out.begin(), outcome.out.end(),
        [](char c) { return absl::ascii_isalpha(c) || c == ' '; });
    EXPECT_GT(plain, static_cast<int64_t>(outcome.out.size() * 9 / 10))
        << outcome.out;
    EXPECT_THAT(outcome.out, HasSubstr(" the "));
  }
}

TEST_F(Generate, MistakesOnTheCommandLine) {
  const auto usage_error = [&](const Args& more) {
    return ErrorOf(2, Command(more));
  };
  EXPECT_THAT(usage_error({}), HasSubstr("stdin is empty: no prompt"));
  EXPECT_THAT(usage_error({"-p", "a", "-f", "b"}), HasSubstr("either"));
  EXPECT_THAT(usage_error({"-p", "a", "-n", "0"}), HasSubstr("--num_tokens"));
  EXPECT_THAT(usage_error({"-p", "a", "-c", "-1"}), HasSubstr("--ctx_size"));
  EXPECT_THAT(usage_error({"-p", "a", "--threads", "0"}),
              HasSubstr("--threads"));
  EXPECT_THAT(usage_error({"-p", "a", "--on_full", "panic"}),
              HasSubstr("not stop or shift"));
  EXPECT_THAT(usage_error({"-p", "a", "--stop", ""}), HasSubstr("--stop"));
  EXPECT_THAT(usage_error({"-p", "a", "--logprobs", "2"}),
              HasSubstr("needs --json"));
  EXPECT_THAT(usage_error({"-p", "a", "--json", "--logprobs", "65"}),
              HasSubstr("from 0 to 64"));
  EXPECT_THAT(usage_error({"-p", "a", "--top_p", "1.5"}),
              HasSubstr("top_p is 1.5"));
  EXPECT_THAT(usage_error({"-p", "a", "--temperatur", "1"}),
              HasSubstr("did you mean --temperature?"));
  EXPECT_THAT(usage_error({"-p", "a", "--system", "s"}),
              HasSubstr("needs --chat"));
  EXPECT_THAT(usage_error({"-p", "a", "--device", "tpu"}),
              HasSubstr("--device"));
}

TEST_F(Generate, WhatIsWrongWithModelOrPrompt) {
  EXPECT_THAT(ErrorOf(1, {"generate", "-p", "a", "--model", "/no/such"}),
              HasSubstr("/no/such"));
  EXPECT_THAT(ErrorOf(1, {"generate", "-p", "a", "--model", "synthetic:1"}),
              HasSubstr("without a tokenizer"));
  EXPECT_THAT(ErrorOf(1, Command({"-p", "a\xff"})), HasSubstr("the prompt: "));
  EXPECT_THAT(ErrorOf(1, Command({"-p", "a", "-c", "9000"})),
              HasSubstr("9000 positions are needed, but the model has 4096"));
  fs::remove(Model() + "/tokenizer.json");
  EXPECT_THAT(ErrorOf(1, Command({"-p", "a"})), HasSubstr("tokenizer"));
}

}  // namespace
}  // namespace mkvm
