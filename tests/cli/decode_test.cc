// compile, run and score with made-up weights of the tiny geometry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/npy.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"

namespace mkvm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Outcome MustRun(const std::vector<std::string>& args,
                const std::vector<std::string>& environment = {}) {
  Outcome outcome = RunMkvm(args, environment);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome;
}

// Compiles qwen3-tiny for three CPU workers into the test's folder.
std::string Compile(const std::string& file,
                    const std::vector<std::string>& more = {}) {
  const std::string path = absl::StrCat(TestFolder(), "/", file);
  std::vector<std::string> args = {
      "compile", "--config",      "qwen3-tiny", "--target", "cpu", "--workers",
      "3",       "--max_context", "64",         "-o",       path};
  args.insert(args.end(), more.begin(), more.end());
  MustRun(args);
  return path;
}

std::vector<std::string> Tokens(const Outcome& outcome) {
  return absl::StrSplit(outcome.out, absl::ByAnyChar(" \n"), absl::SkipEmpty());
}

nlohmann::json Json(const Outcome& outcome) {
  nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << outcome.out;
  return json;
}

std::vector<std::string> RunArgs(const std::string& program, int num_tokens) {
  return {"run",     program,       "--prompt_ids",
          "5,6,7",   "-n",          absl::StrCat(num_tokens),
          "--model", "synthetic:3", "--device",
          "cpu"};
}

std::vector<std::string> With(std::vector<std::string> args,
                              const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::vector<float> Logits(const std::string& path, size_t rows) {
  const auto array = cli::ReadNpyFile(path);
  EXPECT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(rows, 1024));
  std::vector<float> values(array->data.size() / sizeof(float));
  std::memcpy(values.data(), array->data.data(), array->data.size());
  return values;
}

TEST(Run, PrintsExactlyTheTokensAskedFor) {
  const std::string program = Compile("tiny.bin");
  const Outcome ten = MustRun(RunArgs(program, 10));
  EXPECT_EQ(Tokens(ten).size(), 10u) << ten.out;
  EXPECT_EQ(ten.out.back(), '\n');
  EXPECT_THAT(ten.err, HasSubstr("10 tokens after a prompt of 3: 12 passes"));
  const Outcome one = MustRun(RunArgs(program, 1));
  EXPECT_THAT(Tokens(one), ElementsAre(Tokens(ten)[0]));
  EXPECT_EQ(MustRun(RunArgs(program, 10)).out, ten.out);
}

TEST(Run, Json) {
  const nlohmann::json json =
      Json(MustRun(With(RunArgs(Compile("tiny.bin"), 4), {"--json"})));
  EXPECT_EQ(json["prompt_ids"], (std::vector<int>{5, 6, 7}));
  EXPECT_EQ(json["ids"].size(), 4u);
  EXPECT_EQ(json["positions"], (std::vector<int>{3, 4, 5, 6}));
  EXPECT_EQ(json["passes"], 6);
  EXPECT_GT(json["seconds"], 0.0);
  EXPECT_GT(json["tokens_per_s"], 0.0);
  EXPECT_THAT(json["device"].get<std::string>(), HasSubstr("CPU"));
}

TEST(Run, EveryWayToCompileGivesTheSameText) {
  const std::string wanted = MustRun(RunArgs(Compile("tiny.bin"), 12)).out;
  for (const std::vector<std::string>& way :
       std::vector<std::vector<std::string>>{
           {"--no_fuse"},
           {"--no_split_kv"},
           {"--workers", "1"},
           {"--target", "h200"},
           {"--target", "h200", "--no_attend_alone"},
           {"--logits"}}) {
    EXPECT_EQ(MustRun(RunArgs(Compile("other.bin", way), 12)).out, wanted)
        << way[0];
  }
  const std::string text = Compile("tiny.mkasm");
  EXPECT_THAT(ReadText(text), HasSubstr("gemv"));
  EXPECT_EQ(MustRun(RunArgs(text, 12)).out, wanted);
  EXPECT_EQ(MustRun(With(RunArgs(text, 12), {"--transport", "counters"})).out,
            wanted);
  EXPECT_EQ(MustRun(With(RunArgs(text, 12), {"--threads", "1"})).out, wanted);
}

TEST(Run, SeedsMatter) {
  const std::string program = Compile("tiny.bin");
  EXPECT_NE(MustRun(With(RunArgs(program, 12), {"--model", "synthetic:4"})).out,
            MustRun(RunArgs(program, 12)).out);
}

TEST(Run, WithoutAProgramItCompilesInMemory) {
  const Outcome outcome =
      MustRun({"run", "--prompt_ids", "5,6,7", "-n", "12", "--model",
               "synthetic:3", "--device", "cpu"});
  EXPECT_EQ(outcome.out, MustRun(RunArgs(Compile("tiny.bin"), 12)).out);
  EXPECT_THAT(outcome.err, HasSubstr("compiled qwen3 hidden=256"));
}

TEST(Run, StopsAtTheEndOfText) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  // A copy of a snapshot whose end-of-text id is the third token it makes.
  namespace fs = std::filesystem;
  const std::string from = SharedFolder() + "/reference/tiny-mha";
  const std::string to = TestFolder() + "/model";
  fs::create_directories(to);
  fs::copy_file(from + "/model.safetensors", to + "/model.safetensors");
  nlohmann::json config =
      nlohmann::json::parse(ReadText(from + "/config.json"));
  const auto run = [&](const std::vector<std::string>& more) {
    WriteText(to + "/config.json", config.dump());
    return Tokens(MustRun(With({"run", "--model", to, "--prompt_ids", "241",
                                "-n", "8", "--device", "cpu"},
                               more)));
  };
  const std::vector<std::string> all = run({"--ignore_eos"});
  ASSERT_EQ(all.size(), 8u);
  config["eos_token_id"] = std::stoi(all[2]);
  EXPECT_THAT(run({}), ElementsAre(all[0], all[1], all[2]));
  EXPECT_EQ(run({"--ignore_eos"}), all);
}

TEST(Run, SaysWhichModelItTook) {
  const std::string program = Compile("tiny.bin");
  const std::vector<std::string> args = {"run", program, "--prompt_ids", "5",
                                         "-n",  "2",     "--device",     "cpu"};
  EXPECT_THAT(MustRun(args).err,
              AllOf(HasSubstr("model: synthetic:1"), HasSubstr("made-up")));
  EXPECT_THAT(MustRun(args, {"MKVM_MODEL=synthetic:9"}).err,
              HasSubstr("model: synthetic:9 ($MKVM_MODEL)"));
}

TEST(Run, TakesASnapshotOfTheHuggingFaceCacheOnlyIfItFits) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  const std::string hub = TestFolder() + "/hub";
  const std::string snapshots = hub + "/models--Qwen--Qwen3-0.6B/snapshots";
  std::filesystem::create_directories(snapshots);
  std::filesystem::create_directory_symlink(
      std::filesystem::absolute(SharedFolder() + "/reference/tiny-mha"),
      snapshots + "/abc");
  const std::vector<std::string> env = {"HF_HUB_CACHE=" + hub};
  const std::vector<std::string> args = {"run", "--prompt_ids", "5",  "-n",
                                         "2",   "--device",     "cpu"};
  EXPECT_THAT(MustRun(args, env).err,
              HasSubstr(snapshots + "/abc (found in the HuggingFace cache)"));
  const std::string program = Compile("tiny.bin");  // another geometry
  EXPECT_THAT(MustRun(With(args, {program}), env).err,
              HasSubstr("model: synthetic:1"));
  EXPECT_THAT(MustRun(With(args, {"--config", "qwen3-tiny"}), env).err,
              HasSubstr("made-up weights for --config qwen3-tiny"));
}

TEST(Run, AStuckProgramEndsInOneLine) {
  // The first instruction that signals a counter no longer does.
  std::string text = ReadText(Compile("tiny.mkasm"));
  const size_t begin = text.find("signal(");
  ASSERT_NE(begin, std::string::npos);
  const size_t end = text.find(')', begin);
  std::string counter = text.substr(begin + 7, end - begin - 7);
  counter = counter.substr(0, counter.find(' '));
  text.erase(begin, end - begin + 1);
  const std::string program = TestFolder() + "/stuck.mkasm";
  WriteText(program, text);
  EXPECT_EQ(RunMkvm(RunArgs(program, 2)).exit_code, 1);  // not proven
  const Outcome outcome = RunMkvm(
      With(RunArgs(program, 2), {"--no_verify", "--watchdog_seconds", "0.5"}));
  EXPECT_EQ(outcome.exit_code, 1);
  const std::string error =
      outcome.err.substr(outcome.err.find("mkvm: error: "));
  EXPECT_EQ(error.find('\n'), error.size() - 1) << error;
  EXPECT_THAT(error,
              AllOf(HasSubstr("worker "), HasSubstr("pc "), HasSubstr(counter),
                    HasSubstr(" seen"), HasSubstr(" wanted")));
}

TEST(Compile, Dumps) {
  for (const char* dump : {"graph", "tiles", "placement", "queues"}) {
    const Outcome outcome =
        MustRun({"compile", "--config", "qwen3-tiny", "--target", "cpu",
                 "--max_context", "64", "--dump", dump});
    EXPECT_GT(outcome.out.size(), 100u) << dump;
  }
}

TEST(Compile, TargetsOfAFileAndOfThisMachine) {
  const std::string json = TestFolder() + "/target.json";
  WriteText(json, R"({"name": "mine", "workers": 5})");
  const std::string program =
      Compile("a.bin", {"--target", json, "--workers", "5"});
  const nlohmann::json info =
      Json(MustRun({"info", program, "--json", "--target", json}));
  EXPECT_EQ(info["workers"], 5);
  MustRun({"verify", Compile("b.bin", {"--target", "auto"})});
}

TEST(Score, RowsOfAllLastAndChosenAgree) {
  const std::string ids = TestFolder() + "/ids.txt";
  const std::string out = TestFolder() + "/out.npy";
  WriteText(ids, "5, 6 7\n8\n9");
  const std::vector<std::string> args = {"score",       "--ids",    ids,
                                         "-o",          out,        "--model",
                                         "synthetic:3", "--device", "cpu"};
  MustRun(args);
  const std::vector<float> all = Logits(out, 5);
  MustRun(With(args, {"--last", "2"}));
  EXPECT_EQ(Logits(out, 2),
            std::vector<float>(all.begin() + 3 * 1024, all.end()));
  MustRun(With(args, {"--positions", "0,3"}));
  std::vector<float> chosen(all.begin(), all.begin() + 1024);
  chosen.insert(chosen.end(), all.begin() + 3 * 1024, all.begin() + 4 * 1024);
  EXPECT_EQ(Logits(out, 2), chosen);
  // The ids may come as .npy too.
  const std::vector<int32_t> values = {5, 6, 7, 8, 9};
  const std::string npy = TestFolder() + "/ids.npy";
  WriteText(npy, cli::ToNpy(isa::DType::kI32, {5},
                            {reinterpret_cast<const char*>(values.data()),
                             values.size() * sizeof(int32_t)}));
  MustRun(With(args, {"--ids", npy}));
  EXPECT_EQ(Logits(out, 5), all);
}

TEST(Score, ItsBestTokensAreWhatRunPrints) {
  const Outcome run = MustRun(RunArgs(Compile("tiny.bin"), 6));
  const std::string ids = TestFolder() + "/ids.txt";
  const std::string out = TestFolder() + "/out.npy";
  WriteText(ids, "5 6 7 " + run.out);
  MustRun({"score", "--ids", ids, "-o", out, "--model", "synthetic:3",
           "--device", "cpu", "--positions", "2,3,4,5,6,7"});
  const std::vector<float> logits = Logits(out, 6);
  const std::vector<std::string> tokens = Tokens(run);
  for (size_t i = 0; i < 6; ++i) {
    const auto row = logits.begin() + i * 1024;
    EXPECT_EQ(absl::StrCat(std::max_element(row, row + 1024) - row), tokens[i]);
  }
}

TEST(Run, DumpsTheLogitsOfTheLastPass) {
  const std::string program = Compile("logits.bin", {"--logits"});
  const std::string dump = TestFolder() + "/dump.npy";
  const Outcome run =
      MustRun(With(RunArgs(program, 1), {"--dump", "logits=" + dump}));
  const auto array = cli::ReadNpyFile(dump);
  ASSERT_TRUE(array.ok()) << array.status();
  ASSERT_THAT(array->shape, ElementsAre(1024));
  std::vector<float> logits(1024);
  std::memcpy(logits.data(), array->data.data(), array->data.size());
  EXPECT_THAT(
      Tokens(run),
      ElementsAre(absl::StrCat(std::max_element(logits.begin(), logits.end()) -
                               logits.begin())));
}

}  // namespace
}  // namespace mkvm
