#include "cli/text_session.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/builtin_model.h"
#include "cli/compile.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "cli/model_folder.h"
#include "model/config.h"
#include "model/weights.h"

namespace mkvm::cli {
namespace {

// Without --ctx_size. More costs memory: Qwen3-0.6B's KV cache takes 112 KiB
// a position.
constexpr int64_t kDefaultContext = 8192;

absl::Status Positive(const std::optional<int64_t>& value,
                      absl::string_view flag) {
  if (value.value_or(1) >= 1) return absl::OkStatus();
  return UsageError(absl::StrCat("--", flag, " is not above 0"));
}

}  // namespace

void TextFlags::AddTo(Flags& flags, absl::string_view num_tokens_help,
                      absl::string_view on_full_help) {
  flags.Add("model,m", &model, "DIR|ORG/NAME|tiny",
            "a snapshot's folder, one in the HuggingFace cache, or the\n"
            "built-in model ($MKVM_MODEL, else Qwen3-0.6B in the cache,\n"
            "else the built-in one)");
  flags.Add("num_tokens,n,predict,max_new_tokens", &num_tokens, "N",
            num_tokens_help);
  sampling.AddTo(flags);
  flags.Add("stop,r", &stops, "TEXT",
            "end the answer before this text; may be repeated");
  flags.Add("ignore_eos", &ignore_eos, "go on after an end-of-text token");
  flags.Add("ctx_size,c", &ctx_size, "N",
            "positions of the context; 0: all that the model has (8192)");
  flags.Add("on_full", &on_full, "stop|shift", on_full_help);
  flags.Add("device", &device, "auto|cpu|cuda:K",
            "auto: a GPU if one works, else the CPU");
  flags.Add("threads,t", &threads, "N", "of the CPU machine (one per core)");
}

absl::Status TextFlags::Check() const {
  if (absl::Status s = Positive(threads, "threads"); !s.ok()) return s;
  if (num_tokens.value_or(1) < 1 && *num_tokens != -1) {
    return UsageError("--num_tokens is neither above 0 nor -1");
  }
  if (ctx_size.value_or(0) < 0) return UsageError("--ctx_size is below 0");
  if (on_full != "stop" && on_full != "shift") {
    return UsageError(
        absl::StrCat("--on_full: \"", on_full, "\" is not stop or shift"));
  }
  for (const std::string& stop : stops) {
    if (stop.empty()) return UsageError("--stop: an empty text stops nothing");
  }
  return absl::OkStatus();
}

absl::StatusOr<TextSession> TextSession::Open(const TextFlags& flags) {
  absl::StatusOr<std::string> folder = FindModelFolder(flags.model);
  if (!folder.ok()) return folder.status();
  const absl::StatusOr<model::Config> config = model::LoadConfig(*folder);
  if (!config.ok()) return config.status();
  // The built-in one has been announced.
  if (flags.model.empty() && config->name != kBuiltinModel) {
    absl::FPrintF(stderr, "model: %s\n", *folder);
  }
  const auto defaults = model::LoadGenerationConfig(*folder);
  if (!defaults.ok()) return defaults.status();
  absl::StatusOr<vm::SamplingOptions> sampling =
      flags.sampling.Resolve(*defaults);
  if (!sampling.ok()) return sampling.status();
  absl::StatusOr<model::Tokenizer> tokenizer = model::Tokenizer::Load(*folder);
  if (!tokenizer.ok()) return tokenizer.status();
  if (tokenizer->size() > static_cast<int64_t>(config->vocab_size)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: the tokenizer has ids up to %d, but \"vocab_size\" is %d", *folder,
        tokenizer->size() - 1, config->vocab_size));
  }
  TextSession session(*std::move(folder), *std::move(tokenizer));
  session.config_ = *config;
  session.sampling_ = *sampling;
  session.sampling_.token_limit = session.tokenizer_.size();
  if (!flags.ignore_eos) session.eos_ = config->eos_token_ids;
  return session;
}

absl::Status TextSession::Start(const TextFlags& flags, int64_t positions,
                                int32_t logprobs) {
  const int64_t all = config_.max_positions;
  int64_t context = std::min(std::max(positions, kDefaultContext), all);
  if (flags.ctx_size) context = *flags.ctx_size == 0 ? all : *flags.ctx_size;
  const absl::StatusOr<Device> device = ChooseDevice(flags.device);
  if (!device.ok()) return device.status();
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      model::OpenSnapshot(folder_);
  if (!weights.ok()) return weights.status();
  scheduler::CompileOptions options;
  options.sampling = true;
  options.logprobs = static_cast<uint32_t>(std::max(logprobs, 0));
  absl::StatusOr<isa::Program> program =
      CompileFor(config_, *device, context, false, options);
  if (!program.ok()) return program.status();
  if (absl::Status s = CheckProgram(*program, "the compiled program");
      !s.ok()) {
    return s;
  }
  absl::StatusOr<std::unique_ptr<Decoder>> decoder =
      Decoder::Create(*device, *std::move(program), *std::move(weights),
                      static_cast<int>(flags.threads.value_or(0)));
  if (!decoder.ok()) return decoder.status();
  sampling_.logprobs = logprobs;
  generator_ = std::make_unique<Generator>(*std::move(decoder), context,
                                           device->gpu ? 5.0 : 60.0);
  return absl::OkStatus();
}

CompletionRequest TextSession::Request(const TextFlags& flags,
                                       std::vector<int32_t> prompt) const {
  CompletionRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = flags.num_tokens.value_or(-1);
  request.eos = eos_;
  request.stops = flags.stops;
  request.sampling = sampling_;
  return request;
}

}  // namespace mkvm::cli
