// Tokens after tokens on a decode program, and the KV cache between calls.
#ifndef MKVM_CLI_GENERATOR_H_
#define MKVM_CLI_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cli/decoder.h"
#include "vm/sampling.h"

namespace mkvm::cli {

enum class FinishReason : uint8_t {
  kEos,          // the model ended the text
  kLength,       // as many tokens as were asked for
  kContext,      // no position is left
  kStop,         // on_token said so
  kInterrupted,  // interrupted() said so
};
// "eos", "length", "context", "stop", "interrupted".
absl::string_view Name(FinishReason reason);

struct GenerateRequest {
  // Everything from position 0 on. Not empty.
  absl::Span<const int32_t> prompt;
  // How many at the prompt's end the model has made itself, for the penalties
  // that count only those.
  int64_t answer_tokens = 0;
  int64_t max_tokens = -1;  // -1: as many as there is room for
  std::vector<int32_t> eos;
  vm::SamplingOptions sampling;
  // Called for every token, the one that ends the text included. False: that
  // was the last one wanted.
  std::function<bool(int32_t id)> on_token;
  // Asked between launches; true ends the run.
  std::function<bool()> interrupted;
};

struct Generated {
  std::vector<int32_t> ids;  // up to the last one wanted
  FinishReason finish_reason = FinishReason::kLength;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, not processed again
  double first_token_s = 0;   // from the call until on_token had the first one
  // From the call until the device had made the first and the last of `ids`.
  double first_made_s = 0;
  double last_made_s = 0;
  std::vector<vm::PositionLogprobs> logprobs;  // of `ids`, if recorded
};

class Generator {
 public:
  // REQUIRES: `decoder` has a program that can sample. At most `context_tokens`
  // positions are used, however many the program has.
  // `watchdog_seconds`: as in vm::RunOptions.
  Generator(std::unique_ptr<Decoder> decoder, int64_t context_tokens,
            double watchdog_seconds);

  // Processes what the KV cache lacks of the prompt, then generates. Errors:
  // OutOfRange when the prompt does not fit the context, and the machine's; the
  // cache counts as empty after these.
  absl::StatusOr<Generated> Generate(const GenerateRequest& request);

  // Positions. A text can have one token more: the last is never processed.
  int64_t context_tokens() const { return context_tokens_; }
  // The tokens whose KV entries are there, from position 0 on.
  const std::vector<int32_t>& cached_ids() const { return cached_ids_; }
  Decoder& decoder() { return *decoder_; }

 private:
  struct State;
  absl::Status Prepare(const GenerateRequest& request, int64_t end_position);
  absl::Status RunChunk(State& state);
  int64_t ChunkPasses() const;

  std::unique_ptr<Decoder> decoder_;
  int64_t context_tokens_;
  double watchdog_seconds_;
  std::vector<int32_t> cached_ids_;
  double pass_s_ = 0;  // of the last chunk; 0: none yet
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_GENERATOR_H_
