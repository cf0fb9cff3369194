// mkvm chat: a conversation with a model, turn by turn.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/chat_loop.h"
#include "cli/conversation.h"
#include "cli/flags.h"
#include "cli/line_reader.h"
#include "cli/text_session.h"
#include "cli/thought_view.h"
#include "cli/verbs.h"
#include "model/chat_template.h"

namespace mkvm::cli {
namespace {

struct ChatFlags {
  std::string system;
  std::string thinking = "dim";
  bool enable_thinking = true;
  std::string history_file;
  bool no_history = false;
  ChatOptions options;
};

Flags MakeFlags(ChatFlags& f) {
  Flags flags("chat [FLAGS]",
              "A conversation with a model. Lines come from the terminal, or "
              "from stdin as they are;\nanswers go to stdout, all else to "
              "stderr. /help lists what can be said to mkvm.");
  flags.Add("system,sys", &f.system, "TEXT", "the system message");
  flags.Add("enable_thinking", &f.enable_thinking,
            "false, to answer without thinking first (true); /think later");
  flags.Add("thinking", &f.thinking, "show|dim|hide",
            "how thoughts look; without a terminal dim is show (dim)");
  f.options.text.AddTo(flags, "tokens of an answer at most; -1: no limit (-1)",
                       "stop: end the answer when the context is full;\n"
                       "shift: forget the oldest turns and go on (stop)");
  flags.Add("stats", &f.options.stats,
            "false: no line of figures after an answer (true)");
  flags.Add("history", &f.history_file, "FILE",
            "lines typed on a terminal are kept there\n"
            "(~/.local/state/mkvm/chat_history)");
  flags.Add("no_history", &f.no_history, "keep no lines");
  return flags;
}

absl::Status Run(ChatFlags& f) {
  absl::StatusOr<TextSession> session = TextSession::Open(f.options.text);
  if (!session.ok()) return session.status();
  const auto chat_template = model::ChatTemplate::Load(session->folder());
  if (!chat_template.ok()) return chat_template.status();
  Conversation conversation(session->tokenizer(), *chat_template);
  conversation.SetSystem(f.system);
  conversation.set_enable_thinking(f.enable_thinking);
  if (const auto ids = session->tokenizer().Encode(f.system); !ids.ok()) {
    return absl::Status(ids.status().code(),
                        absl::StrCat("--system: ", ids.status().message()));
  }
  if (absl::Status s = session->Start(f.options.text, 0, -1); !s.ok()) return s;
  const std::string history = f.no_history             ? ""
                              : f.history_file.empty() ? DefaultHistoryFile()
                                                       : f.history_file;
  const std::unique_ptr<LineReader> reader = LineReader::Create("> ", history);
  absl::FPrintF(
      stderr,
      "%s on %s, %d tokens of context%s\n/help lists commands, Ctrl-D "
      "leaves\n",
      session->name(), session->device(), session->generator().context_tokens(),
      session->sampling().temperature > 0
          ? absl::StrCat(", seed ", session->sampling().seed)
          : ", greedy");
  f.options.terminal = ::isatty(STDOUT_FILENO) == 1;
  return ChatLoop(f.options, *session, conversation).Run(*reader);
}

}  // namespace

absl::Status ChatVerb(Args args) {
  ChatFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> positionals =
      flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!positionals.ok()) return positionals.status();
  if (absl::Status s = f.options.text.Check(); !s.ok()) return s;
  const absl::StatusOr<ThoughtMode> thoughts = ParseThoughtMode(f.thinking);
  if (!thoughts.ok()) {
    return UsageError(
        absl::StrCat("--thinking: ", thoughts.status().message()));
  }
  f.options.thoughts = *thoughts;
  return Run(f);
}

}  // namespace mkvm::cli
