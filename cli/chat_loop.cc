#include "cli/chat_loop.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/io.h"

namespace mkvm::cli {
namespace {

// Room that an answer should find; less is said beforehand, or made.
constexpr int64_t kAnswerTokens = 512;
constexpr double kNearlyFull = 0.8;

void Say(absl::string_view text) {
  if (text.empty()) return;
  std::fflush(stdout);
  absl::FPrintF(stderr, "%s\n", text);
}

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

struct ChatLoop::Command {
  absl::string_view name;
  absl::string_view argument;
  absl::string_view help;
  std::string (ChatLoop::*run)(const std::string& argument);
};

const ChatLoop::Command ChatLoop::kCommands[] = {
    {"help", "", "this list", &ChatLoop::Help},
    {"reset", "", "forget the conversation, not the system message",
     &ChatLoop::Reset},
    {"system", "TEXT", "set the system message; without TEXT, remove it",
     &ChatLoop::System},
    {"think", "on|off", "let the model think before it answers, or not",
     &ChatLoop::Think},
    {"stats", "", "figures of the last answer, and the context",
     &ChatLoop::Stats},
    {"save", "FILE", "write the conversation as JSON messages",
     &ChatLoop::Save},
    {"load", "FILE", "go on with a conversation that was saved",
     &ChatLoop::Load},
    {"quit", "", "leave, as Ctrl-D does", nullptr},
};

absl::Status ChatLoop::Run(LineReader& reader) {
  while (true) {
    std::string line;
    switch (reader.Read(line)) {
      case LineReader::Result::kEnd:
        return absl::OkStatus();
      case LineReader::Result::kCancelled:
        Say("(/quit or Ctrl-D leaves)");
        continue;
      case LineReader::Result::kLine:
        break;
    }
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (line[0] == '/' && !absl::StartsWith(line, "//")) {
      if (!Obey(line)) return absl::OkStatus();
      continue;
    }
    // Two slashes: a message that begins with one.
    if (line[0] == '/') line.erase(0, 1);
    if (absl::Status s = Answer(line); !s.ok()) return s;
  }
}

bool ChatLoop::Obey(absl::string_view line) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(line.substr(1), absl::MaxSplits(' ', 1));
  const std::string argument(absl::StripAsciiWhitespace(parts.second));
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == absl::StripAsciiWhitespace(parts.first)) {
      if (command.run == nullptr) return false;
      Say((this->*command.run)(argument));
      return true;
    }
    names.emplace_back(command.name);
  }
  const std::string nearest = NearestName(parts.first, names);
  Say(absl::StrCat(
      "unknown command /", parts.first,
      nearest.empty() ? "" : absl::StrCat("; did you mean /", nearest, "?"),
      " (/help lists them; // begins a message with a slash)"));
  return true;
}

// ---- answers ----------------------------------------------------------------

absl::Status ChatLoop::Answer(const std::string& message) {
  if (const auto ids = session_.tokenizer().Encode(message); !ids.ok()) {
    Say(absl::StrCat("not sent: ", ids.status().message()));
    return absl::OkStatus();
  }
  conversation_.Add("user", message);
  absl::StatusOr<std::vector<int32_t>> prompt = PromptWithRoom();
  if (!prompt.ok()) return prompt.status();
  if (prompt->empty()) {
    conversation_.RemoveLast();
    return absl::OkStatus();
  }
  absl::StatusOr<Completion> answer = Complete(*std::move(prompt));
  if (!answer.ok()) return answer.status();
  Print("\n");
  if (answer->finish_reason == FinishReason::kInterrupted) Say("(stopped)");
  if (answer->finish_reason == FinishReason::kContext) {
    Say(absl::StrFormat(
        "the context of %d tokens is full, and the answer ends here; /reset "
        "begins anew, a larger --ctx_size has more room, --on_full shift "
        "forgets the oldest turns",
        session_.generator().context_tokens()));
  }
  conversation_.Add("assistant", CloseThought(answer->text));
  ++answers_;
  answer_tokens_ += static_cast<int64_t>(answer->ids.size());
  last_ = *std::move(answer);
  if (options_.stats) {
    Say(absl::StrFormat(
        "[%s, %.1f/s; first after %.0f ms; prompt %d, %d in the cache]",
        Tokens(static_cast<int64_t>(last_->ids.size())),
        GeneratedTokensPerSecond(*last_), last_->first_token_s * 1e3,
        last_->prompt_tokens, last_->cached_tokens));
  }
  return WarnWhenNearlyFull();
}

absl::StatusOr<std::vector<int32_t>> ChatLoop::PromptWithRoom() {
  const int64_t context = session_.generator().context_tokens();
  const int64_t wanted = std::min({options_.text.num_tokens.value_or(-1) > 0
                                       ? *options_.text.num_tokens
                                       : kAnswerTokens,
                                   kAnswerTokens, context / 4});
  absl::StatusOr<std::vector<int32_t>> prompt = conversation_.Prompt();
  int64_t dropped = 0;
  while (prompt.ok() && options_.text.shift() &&
         static_cast<int64_t>(prompt->size()) + wanted > context &&
         conversation_.DropOldestTurn()) {
    ++dropped;
    prompt = conversation_.Prompt();
  }
  if (!prompt.ok()) return prompt.status();
  if (dropped > 0) {
    Say(absl::StrFormat(
        "(context of %d tokens: the oldest %d turn%s forgotten)", context,
        dropped, dropped == 1 ? " is" : "s are"));
  }
  const int64_t room = context - static_cast<int64_t>(prompt->size()) + 1;
  if (room < 1) {
    Say(absl::StrFormat(
        "not sent: the conversation would have %d tokens, the context is %d; "
        "send less, /reset, or start with a larger --ctx_size%s",
        prompt->size(), context,
        options_.text.shift() ? "" : " or with --on_full shift"));
    return std::vector<int32_t>();
  }
  if (room < wanted) {
    Say(absl::StrFormat("(the context has room for %s of this answer)",
                        Tokens(room)));
  }
  return prompt;
}

absl::StatusOr<CompletionRequest::Room> ChatLoop::MakeRoom(
    absl::Span<const int32_t> answer) {
  const int64_t context = session_.generator().context_tokens();
  CompletionRequest::Room room;
  int64_t dropped = 0;
  while (conversation_.DropOldestTurn()) {
    ++dropped;
    absl::StatusOr<std::vector<int32_t>> prompt = conversation_.Prompt();
    if (!prompt.ok()) return prompt.status();
    room.ids = *std::move(prompt);
    room.ids.insert(room.ids.end(), answer.begin(), answer.end());
    // Half free: it is not to happen again soon.
    if (static_cast<int64_t>(room.ids.size()) <= context / 2) break;
  }
  if (dropped == 0 || static_cast<int64_t>(room.ids.size()) > context) {
    return CompletionRequest::Room();
  }
  room.answer_tokens = static_cast<int64_t>(answer.size());
  return room;
}

absl::StatusOr<Completion> ChatLoop::Complete(std::vector<int32_t> prompt) {
  ThoughtView view(options_.thoughts, options_.terminal, Print);
  CompletionRequest request =
      session_.Request(options_.text, std::move(prompt));
  request.on_text = [&view](absl::string_view text) { view.Push(text); };
  request.interrupted = InterruptGuard::Requested;
  // So that a question asked again after /reset has another answer.
  request.sampling.seed += static_cast<uint64_t>(answers_);
  if (options_.text.shift()) {
    request.make_room = [this](absl::Span<const int32_t> answer) {
      return MakeRoom(answer);
    };
  }
  absl::StatusOr<Completion> answer;
  {
    const InterruptGuard guard;
    answer = cli::Complete(session_.generator(), session_.tokenizer(), request);
  }
  view.Finish();
  return answer;
}

absl::Status ChatLoop::WarnWhenNearlyFull() {
  const absl::StatusOr<int64_t> tokens = conversation_.TokensOfNextPrompt();
  if (!tokens.ok()) return tokens.status();
  const int64_t context = session_.generator().context_tokens();
  const double share =
      static_cast<double>(*tokens) / static_cast<double>(context);
  if (share < kNearlyFull) {
    warned_ = false;
  } else if (!warned_) {
    warned_ = true;
    Say(absl::StrFormat(
        "(the conversation takes %d of the context's %d tokens; when it is "
        "full, %s)",
        *tokens, context,
        options_.text.shift()
            ? "the oldest turns are forgotten"
            : "answers end: /reset begins anew, --on_full shift goes on"));
  }
  return absl::OkStatus();
}

// ---- commands ---------------------------------------------------------------

std::string ChatLoop::Help(const std::string& /*argument*/) {
  std::string text;
  for (const Command& command : kCommands) {
    absl::StrAppendFormat(
        &text, "  %-16s%s\n",
        absl::StrCat("/", command.name, command.argument.empty() ? "" : " ",
                     command.argument),
        command.help);
  }
  return absl::StrCat(text,
                      "  A backslash at a line's end continues it. Ctrl-C "
                      "stops an answer.");
}

std::string ChatLoop::Reset(const std::string& /*argument*/) {
  conversation_.Reset();
  warned_ = false;
  return "(the conversation begins anew)";
}

std::string ChatLoop::System(const std::string& argument) {
  if (const auto ids = session_.tokenizer().Encode(argument); !ids.ok()) {
    return absl::StrCat("not set: ", ids.status().message());
  }
  conversation_.SetSystem(argument);
  return argument.empty() ? "(no system message)"
                          : "(the system message is set)";
}

std::string ChatLoop::Think(const std::string& argument) {
  if (argument != "on" && argument != "off") return "/think on, or /think off";
  conversation_.set_enable_thinking(argument == "on");
  return absl::StrCat("(thinking ", argument, ")");
}

std::string ChatLoop::Stats(const std::string& /*argument*/) {
  const absl::StatusOr<int64_t> tokens = conversation_.TokensOfNextPrompt();
  std::string text;
  if (last_) {
    text = absl::StrCat(
        Statistics(*last_, session_.sampling(), session_.device()), "\n");
  }
  return absl::StrFormat(
      "%s%d answer%s, %s; the conversation takes %d of the context's %d tokens",
      text, answers_, answers_ == 1 ? "" : "s", Tokens(answer_tokens_),
      tokens.ok() ? *tokens : 0, session_.generator().context_tokens());
}

std::string ChatLoop::Save(const std::string& argument) {
  if (argument.empty()) return "/save FILE";
  const absl::Status status = WriteFile(argument, conversation_.ToJson());
  if (!status.ok()) return absl::StrCat("not saved: ", status.message());
  return absl::StrFormat("(%d messages in %s)", conversation_.size(), argument);
}

std::string ChatLoop::Load(const std::string& argument) {
  if (argument.empty()) return "/load FILE";
  const absl::StatusOr<std::string> json = ReadFile(argument);
  absl::Status status = json.status();
  if (status.ok()) status = conversation_.FromJson(*json);
  if (!status.ok()) {
    return absl::StrCat("not loaded: ", argument, ": ", status.message());
  }
  return absl::StrFormat("(%d messages from %s)", conversation_.size(),
                         argument);
}

}  // namespace mkvm::cli
