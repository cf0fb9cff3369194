// What a user sees after a mistake: one line on stderr that names the offender
// and the mend, and exit code 1 (the run failed) or 2 (the command line did).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/cli/subprocess.h"

namespace mkvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::string& ExamplePath() {
  static const auto* path =
      new std::string(MKVM_SOURCE_DIR "/programs/argmax.mkasm");
  return *path;
}

// The error line of a command that must fail with `exit_code`.
std::string ErrorOf(int exit_code, const std::vector<std::string>& args) {
  const Outcome outcome = RunMkvm(args);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  const size_t at = outcome.err.find("mkvm: error: ");
  EXPECT_NE(at, std::string::npos) << outcome.err;
  if (at == std::string::npos) return "";
  const std::string line = outcome.err.substr(at);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << "more than one line: " << line;
  return line;
}

// A compiled program for qwen3-tiny in the test's folder.
std::string TinyProgram() {
  const std::string path = TestFolder() + "/tiny.bin";
  const Outcome outcome =
      RunMkvm({"compile", "--config", "qwen3-tiny", "--target", "cpu",
               "--workers", "3", "--max_context", "32", "-o", path});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return path;
}

TEST(Usage, NoArgumentsPrintsTheOverview) {
  const Outcome outcome = RunMkvm({});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("usage: mkvm VERB"));
  EXPECT_EQ(outcome.out, "");
}

TEST(Usage, HelpAndVersion) {
  for (const char* flag : {"help", "--help", "-h"}) {
    const Outcome outcome = RunMkvm({flag});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("usage: mkvm VERB"));
    EXPECT_EQ(outcome.err, "");
  }
  EXPECT_THAT(RunMkvm({"version"}).out, StartsWith("mkvm 0."));
  EXPECT_EQ(RunMkvm({"--version"}).out, RunMkvm({"version"}).out);
}

TEST(Usage, EveryVerbHasHelp) {
  for (const char* verb :
       {"chat", "generate", "run", "compile", "asm", "dis", "verify", "info",
        "isa", "score", "tokenize", "detokenize", "template"}) {
    const Outcome outcome = RunMkvm({verb, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << verb;
    EXPECT_THAT(outcome.out, StartsWith(absl::StrCat("usage: mkvm ", verb)));
    EXPECT_EQ(RunMkvm({"help", verb}).out, outcome.out);
  }
}

TEST(Usage, UnknownVerbAndFlag) {
  EXPECT_THAT(ErrorOf(2, {"rum"}),
              HasSubstr("unknown verb \"rum\"; did you mean run?"));
  EXPECT_THAT(ErrorOf(2, {"run", "--promt_ids", "1"}),
              HasSubstr("did you mean --prompt_ids?"));
  EXPECT_THAT(ErrorOf(2, {"help", "nothing"}), HasSubstr("unknown verb"));
}

TEST(Usage, MissingAndExtraArguments) {
  EXPECT_THAT(ErrorOf(2, {"dis"}), HasSubstr("usage: mkvm dis PROGRAM"));
  EXPECT_THAT(ErrorOf(2, {"verify", "a", "b"}), HasSubstr("\"b\""));
  EXPECT_THAT(ErrorOf(2, {"asm", ExamplePath()}), HasSubstr("-o FILE"));
  EXPECT_THAT(ErrorOf(2, {"compile", "-o", "x"}), HasSubstr("--config NAME"));
  EXPECT_THAT(ErrorOf(2, {"compile", "--config", "qwen3-tiny"}),
              HasSubstr("-o FILE"));
  EXPECT_THAT(ErrorOf(2, {"score", "-o", "x.npy"}), HasSubstr("--ids FILE"));
  EXPECT_THAT(ErrorOf(2, {"score", "--ids", "x"}), HasSubstr("-o FILE"));
}

TEST(Usage, BadValues) {
  EXPECT_THAT(ErrorOf(2, {"run", "--prompt_ids", "1,x", "--device", "cpu"}),
              HasSubstr("\"x\" is not a token id"));
  EXPECT_THAT(ErrorOf(2, {"run", "--prompt_ids", "1", "-n", "0"}),
              HasSubstr("--num_tokens is not above 0"));
  EXPECT_THAT(ErrorOf(2, {"run", "--prompt_ids", "1", "--device", "tpu"}),
              HasSubstr("\"tpu\" is not auto, cpu, cuda or cuda:K"));
  EXPECT_THAT(ErrorOf(2, {"run", "--device", "cpu"}),
              HasSubstr("--prompt_ids is missing"));
  EXPECT_THAT(ErrorOf(2, {"run", ExamplePath(), "--transport", "pigeon",
                          "--device", "cpu"}),
              HasSubstr("\"pigeon\" is not tagged or counters"));
  EXPECT_THAT(
      ErrorOf(2, {"run", ExamplePath(), "--bind", "x", "--device", "cpu"}),
      HasSubstr("\"x\" is not BUFFER=FILE.npy"));
  EXPECT_THAT(ErrorOf(2, {"run", ExamplePath(), "--prompt_ids", "1", "--device",
                          "cpu"}),
              HasSubstr("was not compiled from a model"));
  EXPECT_THAT(
      ErrorOf(2, {"compile", "--config", "qwen3-tiny", "--dump", "everything"}),
      HasSubstr("\"everything\" is not graph"));
  EXPECT_THAT(ErrorOf(2, {"isa", "gem"}),
              HasSubstr("unknown opcode \"gem\"; did you mean gemv?"));
  EXPECT_THAT(ErrorOf(2, {"run", "--device", "cpu", "--prompt_ids", "1",
                          "--model", "synthetic:many"}),
              HasSubstr("synthetic:SEED"));
}

TEST(Files, MissingProgram) {
  for (const char* verb : {"run", "dis", "verify", "info"}) {
    EXPECT_EQ(ErrorOf(1, {verb, "/no/such.bin"}),
              "mkvm: error: cannot open /no/such.bin: No such file or "
              "directory\n");
  }
}

TEST(Files, DirectoryAsProgram) {
  for (const char* verb : {"run", "dis", "verify", "info"}) {
    EXPECT_EQ(ErrorOf(1, {verb, TestFolder()}),
              absl::StrCat("mkvm: error: ", TestFolder(),
                           " is a directory, not a file\n"));
  }
}

TEST(Files, DamagedProgram) {
  const std::string path = TinyProgram();
  const std::string bytes = ReadText(path);
  WriteText(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(ErrorOf(1, {"run", path, "--prompt_ids", "1"}), HasSubstr(path));
  std::string flipped = bytes;
  flipped[flipped.size() / 3] ^= 4;
  WriteText(path, flipped);
  EXPECT_THAT(ErrorOf(1, {"run", path, "--prompt_ids", "1"}), HasSubstr(path));
  WriteText(path, "");
  EXPECT_THAT(ErrorOf(1, {"run", path, "--prompt_ids", "1"}), HasSubstr(path));
}

TEST(Files, AssemblyErrorHasItsPlace) {
  const std::string path = TestFolder() + "/bad.mkasm";
  WriteText(path, "program bad\n\nworker 0\n  frobnicate\n  halt\n");
  const Outcome outcome = RunMkvm({"asm", path, "-o", "/dev/null"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr(absl::StrCat(path, ":4:3: error:")));
}

TEST(Files, UnwritableOutput) {
  EXPECT_THAT(ErrorOf(1, {"asm", ExamplePath(), "-o", "/no/such/dir/x.bin"}),
              HasSubstr("cannot create /no/such/dir/x.bin"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_THAT(ErrorOf(1, {"asm", ExamplePath(), "-o", "/dev/full"}),
                HasSubstr("cannot write /dev/full"));
  }
}

TEST(Program, UnprovenIsRefused) {
  // Worker 1 no longer waits before it overwrites its candidate.
  std::string text = ReadText(ExamplePath());
  const std::string wait = "wait(picked lag) ";
  ASSERT_NE(text.find(wait), std::string::npos);
  text.erase(text.find(wait), wait.size());
  const std::string path = TestFolder() + "/race.mkasm";
  WriteText(path, text);
  const Outcome verify = RunMkvm({"verify", path});
  EXPECT_EQ(verify.exit_code, 1);
  EXPECT_THAT(verify.out, AllOf(HasSubstr("worker"), HasSubstr("candidates")));
  EXPECT_THAT(verify.err, HasSubstr("does not verify"));
  const Outcome run = RunMkvm({"run", path, "--device", "cpu"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("does not verify"));
  EXPECT_THAT(RunMkvm({"info", path}).err, HasSubstr("does not verify"));
}

TEST(Program, UnboundInputIsNamed) {
  EXPECT_THAT(ErrorOf(1, {"run", ExamplePath(), "--device", "cpu"}),
              AllOf(HasSubstr("bound"), HasSubstr("x")));
}

TEST(Program, BadBindings) {
  const std::string npy = TestFolder() + "/x.npy";
  WriteText(npy, "not numpy");
  EXPECT_THAT(ErrorOf(1, {"run", ExamplePath(), "--device", "cpu", "--bind",
                          "x=" + npy}),
              HasSubstr(npy + ": is not a .npy file"));
  EXPECT_THAT(ErrorOf(1, {"run", ExamplePath(), "--device", "cpu", "--bind",
                          "x=/no/such.npy"}),
              HasSubstr("cannot open /no/such.npy"));
}

TEST(Model, MissingFolder) {
  EXPECT_THAT(ErrorOf(1, {"run", "--device", "cpu", "--model", "/no/model",
                          "--prompt_ids", "1"}),
              HasSubstr("/no/model"));
  EXPECT_THAT(ErrorOf(1, {"compile", "--model", "/no/model", "-o", "x.bin"}),
              HasSubstr("/no/model"));
}

TEST(Model, UnknownConfigListsTheKnown) {
  EXPECT_THAT(ErrorOf(1, {"compile", "--config", "llama", "-o", "x.bin"}),
              AllOf(HasSubstr("\"llama\""), HasSubstr("qwen3-0.6b")));
}

TEST(Model, UnknownTargetListsTheKnown) {
  EXPECT_THAT(ErrorOf(1, {"compile", "--config", "qwen3-tiny", "--target",
                          "z80", "-o", "x.bin"}),
              AllOf(HasSubstr("z80"), HasSubstr("h200")));
}

TEST(Model, OtherGeometryIsRefusedWithTheMend) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  const std::string model = SharedFolder() + "/reference/tiny-mha";
  const std::string program = TinyProgram();
  EXPECT_THAT(ErrorOf(1, {"run", program, "--model", model, "--prompt_ids", "1",
                          "--device", "cpu"}),
              AllOf(HasSubstr("compiled for qwen3 hidden=256 ff=768"),
                    HasSubstr("is qwen3 hidden=256 ff=512"),
                    HasSubstr("mkvm compile --model " + model)));
}

TEST(Model, ProgramThatIsNoBuiltinNeedsASnapshot) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
  const std::string program = TestFolder() + "/mha.bin";
  ASSERT_EQ(
      RunMkvm({"compile", "--model", SharedFolder() + "/reference/tiny-mha",
               "--target", "cpu", "--max_context", "32", "-o", program})
          .exit_code,
      0);
  EXPECT_THAT(
      ErrorOf(1, {"run", program, "--prompt_ids", "1", "--device", "cpu"}),
      HasSubstr("--model DIR"));
}

TEST(Context, TooManyTokens) {
  const std::string program = TinyProgram();
  EXPECT_THAT(ErrorOf(1, {"run", program, "--prompt_ids", "1,2", "-n", "32",
                          "--device", "cpu"}),
              AllOf(HasSubstr("need 33 positions"), HasSubstr("are 32"),
                    HasSubstr("--max_context")));
  EXPECT_EQ(RunMkvm({"run", program, "--prompt_ids", "1,2", "-n", "31",
                     "--device", "cpu"})
                .exit_code,
            0);
}

TEST(Context, TokenOutsideTheVocabulary) {
  EXPECT_THAT(ErrorOf(1, {"run", TinyProgram(), "--prompt_ids", "1,1024", "-n",
                          "2", "--device", "cpu"}),
              HasSubstr("token id 1024 is outside the vocabulary of 1024"));
}

TEST(Score, BadIds) {
  const std::string ids = TestFolder() + "/ids.txt";
  const std::string out = TestFolder() + "/out.npy";
  const auto score = [&](int exit_code, std::vector<std::string> more) {
    std::vector<std::string> args = {"score", "--ids",    ids,  "-o",
                                     out,     "--device", "cpu"};
    args.insert(args.end(), more.begin(), more.end());
    return ErrorOf(exit_code, args);
  };
  WriteText(ids, "");
  EXPECT_THAT(score(1, {}), HasSubstr(ids + " holds no ids"));
  WriteText(ids, "1 two 3");
  EXPECT_THAT(score(1, {}), HasSubstr("\"two\" is not a token id"));
  WriteText(ids, "1 2 3");
  EXPECT_THAT(score(2, {"--positions", "0,3"}), HasSubstr("below 3"));
  EXPECT_THAT(score(2, {"--positions", "1,1"}), HasSubstr("not ascending"));
  EXPECT_THAT(score(2, {"--last", "4"}), HasSubstr("not in 1..3"));
  EXPECT_THAT(score(2, {"--last", "1", "--positions", "1"}),
              HasSubstr("exclude each other"));
}

}  // namespace
}  // namespace mkvm
