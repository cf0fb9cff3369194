// A model with its text on a machine: what `generate` and `chat` have in
// common.
#ifndef MKVM_CLI_TEXT_SESSION_H_
#define MKVM_CLI_TEXT_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/completion.h"
#include "cli/flags.h"
#include "cli/generator.h"
#include "cli/sampling_flags.h"
#include "model/generation_config.h"
#include "model/tokenizer.h"
#include "vm/sampling.h"

namespace mkvm::cli {

// The flags that both verbs have.
struct TextFlags {
  std::string model;
  std::string device = "auto";
  std::optional<int64_t> threads;
  std::optional<int64_t> ctx_size;
  std::optional<int64_t> num_tokens;
  std::vector<std::string> stops;
  bool ignore_eos = false;
  std::string on_full = "stop";
  SamplingFlags sampling;

  // `num_tokens_help` and `on_full_help` differ between the verbs.
  void AddTo(Flags& flags, absl::string_view num_tokens_help,
             absl::string_view on_full_help);
  // Usage errors.
  absl::Status Check() const;
  bool shift() const { return on_full == "shift"; }
};

class TextSession {
 public:
  // Finds the model and reads what is needed before its weights: config.json,
  // tokenizer and generation_config.json; says on stderr which it took if the
  // flags don't. Errors: theirs, each naming the file.
  static absl::StatusOr<TextSession> Open(const TextFlags& flags);

  const std::string& folder() const { return folder_; }
  // For people: "Qwen3-0.6B".
  const std::string& name() const { return config_.name; }
  const model::Tokenizer& tokenizer() const { return tokenizer_; }
  const vm::SamplingOptions& sampling() const { return sampling_; }
  // Ids that end the text: the model's, or none with --ignore_eos.
  const std::vector<int32_t>& eos() const { return eos_; }

  // Compiles a program and loads the weights. `positions`: what the text needs;
  // --ctx_size counts when it is given. `logprobs`: see vm::SamplingOptions.
  absl::Status Start(const TextFlags& flags, int64_t positions,
                     int32_t logprobs);
  // REQUIRES: started.
  Generator& generator() { return *generator_; }
  std::string device() { return generator_->decoder().machine().description(); }
  // Prompt and answer as the flags want them, nothing called back.
  CompletionRequest Request(const TextFlags& flags,
                            std::vector<int32_t> prompt) const;

 private:
  TextSession(std::string folder, model::Tokenizer tokenizer)
      : folder_(std::move(folder)), tokenizer_(std::move(tokenizer)) {}

  std::string folder_;
  model::Tokenizer tokenizer_;
  model::Config config_;
  vm::SamplingOptions sampling_;
  std::vector<int32_t> eos_;
  std::unique_ptr<Generator> generator_;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_TEXT_SESSION_H_
