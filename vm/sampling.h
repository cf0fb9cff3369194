// How tokens are chosen by a program compiled with CompileOptions::sampling:
// its buffers "sampling.numbers", "sampling.ints", "token_counts" and
// "logprobs", by name and meaning (docs/sampling.md).
#ifndef MKVM_VM_SAMPLING_H_
#define MKVM_VM_SAMPLING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "vm/machine.h"

namespace mkvm::vm {

// Applied in this order, as HuggingFace transformers does: penalties,
// temperature, top_k, top_p, min_p. The defaults choose from the model's own
// distribution.
struct SamplingOptions {
  float temperature = 1;         // >= 0; 0: the most probable token (greedy)
  int32_t top_k = 0;             // tokens kept; 0: all
  float top_p = 1;               // (0, 1]: mass kept; 1: all
  float min_p = 0;               // [0, 1): of the most probable one; 0: all
  float repetition_penalty = 1;  // > 0, of tokens of prompt and answer; 1: none
  float presence_penalty = 0;    // off logits of tokens of the answer
  float frequency_penalty = 0;   // the same, times how often they are in it
  uint64_t seed = 0;
  // Ids from here on are never chosen: the tokenizer's size. 0: all can be.
  int32_t token_limit = 0;
  // Most probable tokens to record beside the chosen one; at most what the
  // program has room for (MaxLogprobs). -1: record nothing.
  int32_t logprobs = -1;
};

// InvalidArgument naming the option, its value and the range.
absl::Status CheckSampling(const SamplingOptions& options);

// Whether the program can sample.
bool CanSample(const isa::Program& program);
// Most probable tokens that it can record beside the chosen one; -1 when it
// can't sample.
int32_t MaxLogprobs(const isa::Program& program);

// Binds the options. FailedPrecondition when the program can't sample or can't
// record so many logprobs.
absl::Status SetSampling(Machine& machine, const SamplingOptions& options);

// What the penalties count: tokens of the prompt and tokens of the answer so
// far (the program counts what it generates from then on). To be called before
// a run when a penalty is set; a program counts on by itself otherwise.
absl::Status SetTokenCounts(Machine& machine, absl::Span<const int32_t> prompt,
                            absl::Span<const int32_t> answer);

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural, of the distribution before temperature
};
struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // most probable first, `logprobs` of them
};
// Of the tokens generated at positions [begin, end).
absl::StatusOr<std::vector<PositionLogprobs>> ReadLogprobs(Machine& machine,
                                                           int64_t begin,
                                                           int64_t end);

}  // namespace mkvm::vm

#endif  // MKVM_VM_SAMPLING_H_
