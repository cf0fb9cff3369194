// mkvm: the command line. Finds the verb, runs it, reports its status.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/flags.h"
#include "cli/verbs.h"

namespace mkvm::cli {
namespace {

struct Verb {
  absl::string_view name;
  absl::string_view summary;
  absl::Status (*run)(Args args);
};

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2 };

constexpr Verb kVerbs[] = {
    {"chat", "talk with a model", ChatVerb},
    {"generate", "go on with a text", GenerateVerb},
    {"run", "run a program: decode with a model, or .npy in and out", RunVerb},
    {"compile", "compile a model's geometry for a target", CompileVerb},
    {"calibrate", "measure this machine, for compile and info", CalibrateVerb},
    {"tune", "find the fastest shape of program for this machine", TuneVerb},
    {"bench", "measure decoding, beside the stream and a check", BenchVerb},
    {"asm", "assemble a .mkasm text into a program", AsmVerb},
    {"dis", "print a program as .mkasm text", DisVerb},
    {"verify", "prove a program safe to run", VerifyVerb},
    {"info", "what a program does and what it should cost", InfoVerb},
    {"isa", "print the instruction set's documentation", IsaVerb},
    {"score", "teacher-forced logits of given tokens as .npy", ScoreVerb},
    {"trace", "what a recorded or predicted trace says", TraceVerb},
    {"tokenize", "the token ids of a text", TokenizeVerb},
    {"detokenize", "the text of token ids", DetokenizeVerb},
    {"template", "a conversation as the model's chat template has it",
     TemplateVerb},
    {"version", "print the version", VersionVerb},
    {"help", "print this, or a verb's flags", HelpVerb},
};

std::string Overview() {
  std::string text =
      "mkvm: an instruction-set machine for LLM decoding\n\n"
      "usage: mkvm VERB [ARGUMENTS]\n\n";
  for (const Verb& verb : kVerbs) {
    absl::StrAppend(&text, "  ", verb.name,
                    std::string(12 - verb.name.size(), ' '), verb.summary,
                    "\n");
  }
  absl::StrAppend(&text, "\n`mkvm VERB --help` lists the flags of a verb.\n");
  return text;
}

absl::StatusOr<const Verb*> FindVerb(const std::string& name) {
  std::vector<std::string> names;
  for (const Verb& verb : kVerbs) {
    if (verb.name == name) return &verb;
    names.emplace_back(verb.name);
  }
  const std::string nearest = NearestName(name, names);
  return UsageError(absl::StrCat(
      "unknown verb \"", name, "\"",
      nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"),
      " (mkvm help lists them)"));
}

int Report(const absl::Status& status) {
  if (status.ok()) return kOk;
  std::fprintf(stderr, "mkvm: error: %s\n",
               std::string(status.message()).c_str());
  return IsUsageError(status) ? kUsage : kFailed;
}

int Main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  if (args.empty()) {
    std::fputs(Overview().c_str(), stderr);
    return kUsage;
  }
  if (args[0] == "--help" || args[0] == "-h") args[0] = "help";
  if (args[0] == "--version") args[0] = "version";
  absl::StatusOr<const Verb*> verb = FindVerb(args[0]);
  if (!verb.ok()) return Report(verb.status());
  absl::Status status = (*verb)->run(Args(args).subspan(1));
  // What was printed counts only if it arrived, e.g. on a full disk.
  if (std::fflush(stdout) != 0 && status.ok()) {
    status = absl::DataLossError("cannot write stdout");
  }
  return Report(status);
}

}  // namespace

absl::Status HelpVerb(Args args) {
  if (args.empty() || args[0] == "help") {
    std::fputs(Overview().c_str(), stdout);
    return absl::OkStatus();
  }
  absl::StatusOr<const Verb*> verb = FindVerb(args[0]);
  if (!verb.ok()) return verb.status();
  return (*verb)->run({"--help"});
}

}  // namespace mkvm::cli

int main(int argc, char** argv) { return mkvm::cli::Main(argc, argv); }
