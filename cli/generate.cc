// mkvm generate: text -> the text that the model goes on with.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cli/completion.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/text_session.h"
#include "cli/verbs.h"
#include "model/chat_template.h"
#include "nlohmann/json.hpp"
#include "scheduler/compile.h"

namespace mkvm::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kDefaultTokens = 256;
constexpr int64_t kMaxLogprobs = scheduler::kMaxLogprobs;

struct GenerateFlags {
  std::string prompt;
  std::string file;
  bool chat = false;
  std::string system;
  bool enable_thinking = true;
  bool echo = false;
  bool json = false;
  std::optional<int64_t> logprobs;
  TextFlags text;
};

Flags MakeFlags(GenerateFlags& f) {
  Flags flags("generate [-p TEXT|-f FILE] [FLAGS]",
              "Prints what the model goes on with after a text: after that of "
              "-p, of a file or of\nstdin. Text goes to stdout as it comes, "
              "all else to stderr.");
  flags.Add("prompt,p", &f.prompt, "TEXT", "the text to go on from");
  flags.Add("file,f", &f.file, "FILE",
            "the same from a file, without a last line end; \"-\": stdin");
  flags.Add("chat", &f.chat,
            "put the text into the model's chat template, as the first\n"
            "message of the user");
  flags.Add("system,sys", &f.system, "TEXT", "with --chat: a system message");
  flags.Add("enable_thinking", &f.enable_thinking,
            "with --chat: false, to answer without thinking first (true)");
  flags.Add("echo", &f.echo, "print the prompt first");
  f.text.AddTo(flags,
               "tokens at most; -1: until the model ends the text or the\n"
               "context is full (256)",
               "stop: end the text when the context is full;\n"
               "shift: forget its older half and go on (stop)");
  flags.Add("logprobs", &f.logprobs, "N",
            "with --json: log-probabilities of each token and of the N\n"
            "most probable ones in its place, 0 to 64");
  flags.Add("json", &f.json,
            "one object, at the end: text, ids, finish_reason, usage,\n"
            "timings, ... (docs/talking.md)");
  return flags;
}

absl::Status CheckFlags(const GenerateFlags& f) {
  if (!f.prompt.empty() && !f.file.empty()) {
    return UsageError("give either --prompt or --file");
  }
  if (!f.chat && !f.system.empty()) return UsageError("--system needs --chat");
  if (!f.chat && !f.enable_thinking) {
    return UsageError("--enable_thinking needs --chat");
  }
  if (f.echo && f.json) {
    return UsageError("--echo: --json has the prompt's ids");
  }
  if (f.logprobs && !f.json) return UsageError("--logprobs needs --json");
  if (f.logprobs && (*f.logprobs < 0 || *f.logprobs > kMaxLogprobs)) {
    return UsageError(absl::StrFormat("--logprobs: %d is not from 0 to %d",
                                      *f.logprobs, kMaxLogprobs));
  }
  return f.text.Check();
}

// Files end in a line end that nobody means.
absl::StatusOr<std::string> ReadPrompt(const GenerateFlags& f) {
  if (!f.prompt.empty()) return f.prompt;
  if (f.file.empty() && ::isatty(STDIN_FILENO) == 1) {
    return UsageError("no prompt: give -p TEXT, -f FILE or stdin");
  }
  const std::string path = f.file.empty() ? "-" : f.file;
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  const absl::string_view stripped = absl::StripSuffix(*text, "\n");
  if (!stripped.empty()) return std::string(stripped);
  return UsageError(absl::StrCat(path == "-" ? "stdin" : path,
                                 " is empty: no prompt; give -p TEXT or "
                                 "-f FILE"));
}

absl::StatusOr<std::string> InTemplate(const GenerateFlags& f,
                                       const std::string& folder,
                                       const std::string& text) {
  const auto chat_template = model::ChatTemplate::Load(folder);
  if (!chat_template.ok()) return chat_template.status();
  Json messages = Json::array();
  if (!f.system.empty()) {
    messages.push_back({{"role", "system"}, {"content", f.system}});
  }
  messages.push_back({{"role", "user"}, {"content", text}});
  return chat_template->Render(
      messages.dump(-1, ' ', false, Json::error_handler_t::replace), "",
      {.add_generation_prompt = true, .enable_thinking = f.enable_thinking});
}

// The context's newer half: cheap enough per token, and few enough times.
CompletionRequest::Room NewerHalf(const std::vector<int32_t>& prompt,
                                  absl::Span<const int32_t> answer,
                                  int64_t context_tokens) {
  const auto kept =
      static_cast<size_t>(std::max<int64_t>(context_tokens / 2, 1));
  CompletionRequest::Room room;
  room.ids = prompt;
  room.ids.insert(room.ids.end(), answer.begin(), answer.end());
  if (room.ids.size() > kept) {
    room.ids.erase(room.ids.begin(), room.ids.end() - kept);
  }
  room.answer_tokens =
      static_cast<int64_t>(std::min(answer.size(), room.ids.size()));
  return room;
}

// A float as people would write it: 0.6 and not 0.6000000238418579.
double Short(float value) {
  double number = value;
  // 6 digits hold what a float's 24 bits mean.
  return absl::SimpleAtod(absl::StrFormat("%.6g", value), &number) ? number
                                                                   : value;
}

Json LogprobsJson(const Completion& completion,
                  const model::Tokenizer& tokenizer) {
  const auto entry = [&](const vm::TokenLogprob& token) {
    // As the vocabulary writes it: a token may be a part of a character.
    const absl::StatusOr<std::string> name = tokenizer.NameOf(token.token);
    return Json{{"id", token.token},
                {"token", name.ok() ? *name : ""},
                {"logprob", Short(token.logprob)}};
  };
  Json list = Json::array();
  for (const vm::PositionLogprobs& position : completion.logprobs) {
    Json json = entry(position.chosen);
    json["top"] = Json::array();
    for (const vm::TokenLogprob& token : position.top) {
      json["top"].push_back(entry(token));
    }
    list.push_back(std::move(json));
  }
  return list;
}

std::string ToJson(const GenerateFlags& f, const std::vector<int32_t>& prompt,
                   const Completion& completion, TextSession& session) {
  Json json;
  json["text"] = completion.text;
  json["ids"] = completion.ids;
  json["finish_reason"] = std::string(Name(completion.finish_reason));
  if (!completion.stop.empty()) json["stop"] = completion.stop;
  json["prompt_ids"] = prompt;
  json["usage"] = {
      {"prompt_tokens", completion.prompt_tokens},
      {"completion_tokens", completion.ids.size()},
      {"total_tokens", completion.prompt_tokens + completion.ids.size()},
      {"context_size", session.generator().context_tokens()},
      {"times_shifted", completion.times_shifted}};
  json["timings"] = {{"first_token_s", completion.first_token_s},
                     {"generate_s", completion.generate_s},
                     {"prompt_tokens_per_s", PromptTokensPerSecond(completion)},
                     {"tokens_per_s", GeneratedTokensPerSecond(completion)}};
  const vm::SamplingOptions& sampling = session.sampling();
  json["sampling"] = {
      {"temperature", Short(sampling.temperature)},
      {"top_k", sampling.top_k},
      {"top_p", Short(sampling.top_p)},
      {"min_p", Short(sampling.min_p)},
      {"repetition_penalty", Short(sampling.repetition_penalty)},
      {"presence_penalty", Short(sampling.presence_penalty)},
      {"frequency_penalty", Short(sampling.frequency_penalty)},
      {"seed", sampling.seed}};
  json["model"] = session.folder();
  json["device"] = session.device();
  if (f.logprobs) {
    json["logprobs"] = LogprobsJson(completion, session.tokenizer());
  }
  return absl::StrCat(json.dump(-1, ' ', false, Json::error_handler_t::replace),
                      "\n");
}

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

absl::Status Generate(const GenerateFlags& f, const std::string& text,
                      std::vector<int32_t> prompt, TextSession& session) {
  CompletionRequest request = session.Request(f.text, prompt);
  if (!f.text.num_tokens) request.max_tokens = kDefaultTokens;
  if (!f.json) request.on_text = Print;
  request.interrupted = InterruptGuard::Requested;
  if (f.text.shift()) {
    request.make_room = [&](absl::Span<const int32_t> answer) {
      return NewerHalf(prompt, answer, session.generator().context_tokens());
    };
  }
  if (f.echo) Print(text);
  const InterruptGuard guard;
  const absl::StatusOr<Completion> completion =
      Complete(session.generator(), session.tokenizer(), request);
  // A prompt of the shell or of an error begins a line of its own.
  if (!f.json && ::isatty(STDOUT_FILENO) == 1) Print("\n");
  if (!completion.ok()) return completion.status();
  if (f.json) Print(ToJson(f, prompt, *completion, session));
  absl::FPrintF(stderr, "%s\n",
                Statistics(*completion, session.sampling(), session.device()));
  if (completion->finish_reason == FinishReason::kContext) {
    absl::FPrintF(stderr,
                  "the context of %d tokens is full; a larger --ctx_size or "
                  "--on_full shift goes on\n",
                  session.generator().context_tokens());
  }
  if (completion->finish_reason == FinishReason::kInterrupted) EndInterrupted();
  return absl::OkStatus();
}

// What is known beforehand is said beforehand.
void WarnOfContext(const GenerateFlags& f, int64_t prompt_tokens,
                   int64_t context_tokens) {
  const int64_t room = context_tokens - prompt_tokens + 1;
  const int64_t wanted = f.text.num_tokens.value_or(kDefaultTokens);
  if (room < 1 || wanted <= room) return;
  absl::FPrintF(
      stderr,
      "the context of %d tokens has room for %d more, not for %d: %s"
      " then (--on_full)\n",
      context_tokens, room, wanted,
      f.text.shift() ? "the older half is forgotten" : "the text ends");
}

absl::Status Run(const GenerateFlags& f) {
  absl::StatusOr<std::string> text = ReadPrompt(f);
  if (!text.ok()) return text.status();
  absl::StatusOr<TextSession> session = TextSession::Open(f.text);
  if (!session.ok()) return session.status();
  absl::StatusOr<std::vector<int32_t>> ids = session->tokenizer().Encode(*text);
  if (ids.ok() && f.chat) {
    if (ids = session->tokenizer().Encode(f.system); !ids.ok()) {
      return absl::Status(ids.status().code(),
                          absl::StrCat("--system: ", ids.status().message()));
    }
    text = InTemplate(f, session->folder(), *text);
    if (!text.ok()) return text.status();
    ids = session->tokenizer().Encode(*text);
  }
  if (!ids.ok()) {
    return absl::Status(ids.status().code(),
                        absl::StrCat("the prompt: ", ids.status().message()));
  }
  const auto prompt_tokens = static_cast<int64_t>(ids->size());
  const int64_t tokens = f.text.num_tokens.value_or(kDefaultTokens);
  if (absl::Status s =
          session->Start(f.text, prompt_tokens + std::max<int64_t>(tokens, 0),
                         static_cast<int32_t>(f.logprobs.value_or(-1)));
      !s.ok()) {
    return s;
  }
  WarnOfContext(f, prompt_tokens, session->generator().context_tokens());
  return Generate(f, *text, *std::move(ids), *session);
}

}  // namespace

absl::Status GenerateVerb(Args args) {
  GenerateFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> positionals =
      flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!positionals.ok()) return positionals.status();
  if (absl::Status s = CheckFlags(f); !s.ok()) return s;
  return Run(f);
}

}  // namespace mkvm::cli
