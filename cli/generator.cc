#include "cli/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace mkvm::cli {
namespace {

using Clock = std::chrono::steady_clock;

// How long one launch should take: short beside a person's patience after
// Ctrl-C, long beside what a launch costs (10 to 20 us on a GPU).
constexpr double kChunkSeconds = 0.03;
constexpr int64_t kMaxChunkPasses = 256;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int64_t CommonPrefix(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const size_t size = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + size, b.begin()).first -
         a.begin();
}

bool HasPenalties(const vm::SamplingOptions& options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 ||
         options.frequency_penalty != 0;
}

}  // namespace

absl::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  return "";
}

struct Generator::State {
  const GenerateRequest& request;
  Clock::time_point begin;
  int64_t position;      // of the next pass
  int64_t end_position;  // where the program stops
  // All tokens, those behind a stop too: their KV entries are there.
  std::vector<int32_t> ids;
  Generated generated;
  bool done = false;

  // A token that the program has made.
  void Take(int32_t id) {
    ids.push_back(id);
    // The device runs ahead: it does not know of stop strings.
    if (done) return;
    generated.ids.push_back(id);
    if (generated.ids.size() == 1) {
      generated.first_token_s = SecondsSince(begin);
    }
    const bool wanted = !request.on_token || request.on_token(id);
    const bool is_eos = std::find(request.eos.begin(), request.eos.end(), id) !=
                        request.eos.end();
    if (is_eos || !wanted) {
      generated.finish_reason =
          is_eos ? FinishReason::kEos : FinishReason::kStop;
      done = true;
    }
  }

  // Dates the tokens that a launch of `passes` passes up to `position` has made
  // since `before_s`, by their passes: on a busy CPU they are handed out late
  // and several at a time.
  void Date(int64_t passes, double before_s) {
    const auto tokens = static_cast<int64_t>(generated.ids.size());
    if (tokens == 0) return;
    const double pass_s =
        (SecondsSince(begin) - before_s) / static_cast<double>(passes);
    const auto made_s = [&](int64_t token) {
      const int64_t pass = generated.prompt_tokens - 1 + token;
      return before_s +
             pass_s * static_cast<double>(pass + 1 - (position - passes));
    };
    if (generated.first_made_s == 0) generated.first_made_s = made_s(0);
    generated.last_made_s = made_s(tokens - 1);
  }
};

Generator::Generator(std::unique_ptr<Decoder> decoder, int64_t context_tokens,
                     double watchdog_seconds)
    : decoder_(std::move(decoder)),
      context_tokens_(std::min(
          context_tokens, MaxContextTokens(decoder_->machine().program()))),
      watchdog_seconds_(watchdog_seconds) {}

int64_t Generator::ChunkPasses() const {
  if (pass_s_ <= 0) return 1;  // to see what one takes
  return std::clamp(static_cast<int64_t>(kChunkSeconds / pass_s_), int64_t{1},
                    kMaxChunkPasses);
}

absl::Status Generator::Prepare(const GenerateRequest& request,
                                int64_t end_position) {
  const absl::Span<const int32_t> prompt = request.prompt;
  if (absl::Status s =
          decoder_->SetTokens(prompt, prompt.size(), end_position, request.eos);
      !s.ok()) {
    return s;
  }
  if (absl::Status s = vm::SetSampling(decoder_->machine(), request.sampling);
      !s.ok()) {
    return s;
  }
  if (!HasPenalties(request.sampling)) return absl::OkStatus();
  const size_t given = prompt.size() - request.answer_tokens;
  return vm::SetTokenCounts(decoder_->machine(), prompt.first(given),
                            prompt.subspan(given));
}

absl::Status Generator::RunChunk(State& state) {
  vm::RunOptions options;
  options.first_position = state.position;
  options.max_passes =
      std::min(ChunkPasses(), state.end_position - state.position);
  options.watchdog_seconds = watchdog_seconds_;
  options.on_token = [&state](int64_t, int32_t id) { state.Take(id); };
  const double before_s = SecondsSince(state.begin);
  const absl::StatusOr<vm::RunResult> result = decoder_->machine().Run(options);
  if (!result.ok()) return result.status();
  state.position += result->passes;
  if (result->passes > 0) {
    pass_s_ = result->seconds / static_cast<double>(result->passes);
    state.Date(result->passes, before_s);
  }
  cached_ids_.assign(state.ids.begin(), state.ids.begin() + state.position);
  return absl::OkStatus();
}

absl::StatusOr<Generated> Generator::Generate(const GenerateRequest& request) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens == 0) {
    return absl::InvalidArgumentError("the prompt has no token");
  }
  if (prompt_tokens > context_tokens_) {
    return absl::OutOfRangeError(absl::StrFormat(
        "the prompt has %d tokens, but the context is %d; shorten it, or give "
        "a larger --ctx_size",
        prompt_tokens, context_tokens_));
  }
  // The pass of the prompt's last token makes the first new one.
  const int64_t first =
      std::min(CommonPrefix(cached_ids_, request.prompt), prompt_tokens - 1);
  const int64_t room = context_tokens_ - prompt_tokens + 1;
  const bool limited = request.max_tokens >= 0 && request.max_tokens <= room;
  const int64_t end_position =
      limited ? prompt_tokens + request.max_tokens - 1 : context_tokens_;
  State state = {.request = request,
                 .begin = Clock::now(),
                 .position = first,
                 .end_position = end_position,
                 .ids = {request.prompt.begin(), request.prompt.end()},
                 .generated = {}};
  state.generated.finish_reason =
      limited ? FinishReason::kLength : FinishReason::kContext;
  state.generated.prompt_tokens = prompt_tokens;
  state.generated.cached_tokens = first;
  cached_ids_.resize(first);
  if (absl::Status s = Prepare(request, end_position); !s.ok()) return s;
  while (!state.done && state.position < end_position) {
    if (request.interrupted && request.interrupted()) {
      state.generated.finish_reason = FinishReason::kInterrupted;
      break;
    }
    if (absl::Status s = RunChunk(state); !s.ok()) {
      cached_ids_.clear();
      return s;
    }
  }
  Generated& generated = state.generated;
  if (request.sampling.logprobs >= 0) {
    absl::StatusOr<std::vector<vm::PositionLogprobs>> logprobs =
        vm::ReadLogprobs(
            decoder_->machine(), prompt_tokens,
            prompt_tokens + static_cast<int64_t>(generated.ids.size()));
    if (!logprobs.ok()) return logprobs.status();
    generated.logprobs = *std::move(logprobs);
  }
  return std::move(generated);
}

}  // namespace mkvm::cli
