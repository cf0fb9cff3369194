// Text after tokens: what a Generator makes, decoded as it comes, up to a stop
// string, and on when the context is full.
#ifndef MKVM_CLI_COMPLETION_H_
#define MKVM_CLI_COMPLETION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cli/generator.h"
#include "model/tokenizer.h"
#include "vm/sampling.h"

namespace mkvm::cli {

struct CompletionRequest {
  std::vector<int32_t> prompt;
  int64_t max_tokens = -1;  // -1: as many as there is room for
  std::vector<int32_t> eos;
  std::vector<std::string> stops;
  vm::SamplingOptions sampling;
  // Text as it comes, never "" and never a part of a character.
  std::function<void(absl::string_view text)> on_text;
  std::function<bool()> interrupted;
  // Called when no position is left, with the answer so far: a shorter text to
  // go on from, which ends with all or some of the answer. Not set, or an empty
  // result: the answer ends there.
  struct Room {
    std::vector<int32_t> ids;
    int64_t answer_tokens = 0;  // at the end of `ids`
  };
  std::function<absl::StatusOr<Room>(absl::Span<const int32_t> answer)>
      make_room;
};

struct Completion {
  std::string text;          // without the stop string
  std::vector<int32_t> ids;  // with what ended it
  FinishReason finish_reason = FinishReason::kLength;
  std::string stop;  // the stop string that was met
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;   // of the prompt, not processed again
  double first_token_s = 0;    // from the call
  double generate_s = 0;       // the device's, from the first token to the last
  int64_t times_shifted = 0;   // make_room was called and made some
  int64_t context_tokens = 0;  // taken in the end
  std::vector<vm::PositionLogprobs> logprobs;  // of `ids`, if recorded
};

// Errors: those of Generator::Generate and of make_room; Internal when the
// model makes an id that is no token.
absl::StatusOr<Completion> Complete(Generator& generator,
                                    const model::Tokenizer& tokenizer,
                                    const CompletionRequest& request);

// "1 token", "12 tokens".
std::string Tokens(int64_t count);

// "prompt: 12 tokens, 8 in the cache; first token after 4.1 ms ...":
// two lines for people, no line end after the last. `device` names the machine.
std::string Statistics(const Completion& completion,
                       const vm::SamplingOptions& sampling,
                       absl::string_view device);
// Of the prompt's tokens that were processed, and of those that followed the
// first; 0 where there are none.
double PromptTokensPerSecond(const Completion& completion);
double GeneratedTokensPerSecond(const Completion& completion);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_COMPLETION_H_
