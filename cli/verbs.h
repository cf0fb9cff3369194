// The verbs of the command line, one file each: cli/<verb>.cc.
//
// A verb gets the arguments after its name, writes text to stdout and progress
// and statistics to stderr, and returns why it failed, if it did. main.cc
// turns that into one line and the exit code.
#ifndef MKVM_CLI_VERBS_H_
#define MKVM_CLI_VERBS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::cli {

using Args = absl::Span<const std::string>;

absl::Status ChatVerb(Args args);
absl::Status GenerateVerb(Args args);
absl::Status RunVerb(Args args);
absl::Status CompileVerb(Args args);
absl::Status CalibrateVerb(Args args);
absl::Status TuneVerb(Args args);
absl::Status BenchVerb(Args args);
absl::Status AsmVerb(Args args);
absl::Status DisVerb(Args args);
absl::Status VerifyVerb(Args args);
absl::Status InfoVerb(Args args);
absl::Status IsaVerb(Args args);
absl::Status ScoreVerb(Args args);
absl::Status TraceVerb(Args args);
absl::Status TokenizeVerb(Args args);
absl::Status DetokenizeVerb(Args args);
absl::Status TemplateVerb(Args args);
absl::Status VersionVerb(Args args);
absl::Status HelpVerb(Args args);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_VERBS_H_
