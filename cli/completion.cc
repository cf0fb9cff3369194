#include "cli/completion.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/stop_matcher.h"

namespace mkvm::cli {
namespace {

// Ids in, text out.
class TextSink {
 public:
  TextSink(const model::Tokenizer& tokenizer, const CompletionRequest& request)
      : request_(request),
        decoder_(tokenizer, /*skip_special=*/true),
        stops_(request.stops) {}

  // False: no more is wanted.
  bool Push(int32_t id) {
    if (std::find(request_.eos.begin(), request_.eos.end(), id) !=
        request_.eos.end()) {
      return true;  // The generator ends it; its name is not for show.
    }
    absl::StatusOr<std::string> piece = decoder_.Push(id);
    if (!piece.ok()) {
      status_ = absl::InternalError(
          absl::StrCat("the model made ", piece.status().message()));
      return false;
    }
    Show(stops_.Push(*piece));
    return !stops_.stopped();
  }

  void Finish() {
    Show(stops_.Push(decoder_.Finish()));
    if (!stops_.stopped()) Show(stops_.Finish());
  }

  const absl::Status& status() const { return status_; }
  const std::string& text() const { return text_; }
  const std::string& stop() const { return stops_.match(); }

 private:
  void Show(const std::string& text) {
    if (text.empty()) return;
    text_ += text;
    if (request_.on_text) request_.on_text(text);
  }

  const CompletionRequest& request_;
  model::StreamDecoder decoder_;
  StopMatcher stops_;
  std::string text_;
  absl::Status status_;
};

// The time of a completion so far, over several calls of the generator.
struct Clocks {
  double before_s = 0;  // of the calls before
  double first_made_s = 0;
};

// Adds what one more call of the generator made.
void Append(Generated generated, Clocks& clocks, Completion& out) {
  if (out.ids.empty()) {
    out.first_token_s = clocks.before_s + generated.first_token_s;
    clocks.first_made_s = clocks.before_s + generated.first_made_s;
  }
  clocks.before_s += generated.last_made_s;
  if (!generated.ids.empty()) {
    out.generate_s = clocks.before_s - clocks.first_made_s;
  }
  out.context_tokens =
      generated.prompt_tokens + static_cast<int64_t>(generated.ids.size());
  out.finish_reason = generated.finish_reason;
  out.ids.insert(out.ids.end(), generated.ids.begin(), generated.ids.end());
  std::move(generated.logprobs.begin(), generated.logprobs.end(),
            std::back_inserter(out.logprobs));
}

}  // namespace

absl::StatusOr<Completion> Complete(Generator& generator,
                                    const model::Tokenizer& tokenizer,
                                    const CompletionRequest& request) {
  TextSink sink(tokenizer, request);
  Completion out;
  std::vector<int32_t> prompt = request.prompt;
  GenerateRequest next = {
      .prompt = {},
      .answer_tokens = 0,
      .max_tokens = request.max_tokens,
      .eos = request.eos,
      .sampling = request.sampling,
      .on_token = [&sink](int32_t id) { return sink.Push(id); },
      .interrupted = request.interrupted};
  Clocks clocks;
  while (true) {
    next.prompt = prompt;
    absl::StatusOr<Generated> generated = generator.Generate(next);
    if (!generated.ok()) return generated.status();
    if (!sink.status().ok()) return sink.status();
    if (out.times_shifted == 0) {
      out.prompt_tokens = generated->prompt_tokens;
      out.cached_tokens = generated->cached_tokens;
    }
    Append(*std::move(generated), clocks, out);
    if (out.finish_reason != FinishReason::kContext || !request.make_room) {
      break;
    }
    absl::StatusOr<CompletionRequest::Room> room = request.make_room(out.ids);
    if (!room.ok()) return room.status();
    if (room->ids.empty()) break;
    ++out.times_shifted;
    // Chance hangs on the position, and positions come again now: with the same
    // seed the text could run in circles.
    ++next.sampling.seed;
    prompt = std::move(room->ids);
    next.answer_tokens = room->answer_tokens;
    if (request.max_tokens >= 0) {
      next.max_tokens =
          request.max_tokens - static_cast<int64_t>(out.ids.size());
    }
  }
  sink.Finish();
  out.text = sink.text();
  out.stop = sink.stop();
  return out;
}

double PromptTokensPerSecond(const Completion& c) {
  if (c.first_token_s <= 0) return 0;
  return static_cast<double>(c.prompt_tokens - c.cached_tokens) /
         c.first_token_s;
}

double GeneratedTokensPerSecond(const Completion& c) {
  if (c.ids.size() < 2 || c.generate_s <= 0) return 0;
  return static_cast<double>(c.ids.size() - 1) / c.generate_s;
}

std::string Tokens(int64_t count) {
  return absl::StrCat(count, count == 1 ? " token" : " tokens");
}

std::string Statistics(const Completion& c, const vm::SamplingOptions& sampling,
                       absl::string_view device) {
  const auto made = static_cast<int64_t>(c.ids.size());
  std::string text = absl::StrFormat("prompt: %s, %d in the cache",
                                     Tokens(c.prompt_tokens), c.cached_tokens);
  if (made > 0) {
    absl::StrAppendFormat(&text, "; first token after %.1f ms (%.1f tokens/s)",
                          c.first_token_s * 1e3, PromptTokensPerSecond(c));
  }
  absl::StrAppend(&text, "\nanswer: ", Tokens(made));
  if (made > 1) {
    absl::StrAppendFormat(&text, ", %.1f tokens/s",
                          GeneratedTokensPerSecond(c));
  }
  absl::StrAppend(&text, " on ", device, "; ended: ", Name(c.finish_reason));
  if (c.times_shifted > 0) {
    absl::StrAppendFormat(&text, "; the context was shifted %d time%s",
                          c.times_shifted, c.times_shifted == 1 ? "" : "s");
  }
  absl::StrAppend(&text, sampling.temperature > 0
                             ? absl::StrCat("; seed ", sampling.seed)
                             : "; greedy");
  return text;
}

}  // namespace mkvm::cli
