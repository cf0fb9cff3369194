// A program that chooses a token from given logits, for the tests of
// sample_slice and sample, and the same choice in plain double arithmetic.
#ifndef MKVM_TESTS_OPS_SAMPLING_TEST_UTIL_H_
#define MKVM_TESTS_OPS_SAMPLING_TEST_UTIL_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "ops/sampling.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {

// Options with the defaults of vm::SamplingOptions.
struct SamplingCase {
  float temperature = 1;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int32_t top_k = 0;
  uint64_t seed = 1;
  int32_t token_limit = 1 << 24;
  int32_t logprobs = -1;

  std::vector<float> Numbers() const;
  std::vector<int32_t> Ints() const;
};

// One slice after the other, then the sample.
struct SamplingProgram {
  OpProgram program;
  std::vector<isa::SampleSliceOperands> slices;
  isa::SampleOperands sample;

  uint32_t Token() const { return program.Ranked(sample.y)[0].second; }
  std::pair<float, uint32_t> Best(size_t slice, uint32_t group) const;
  std::pair<float, uint32_t> Best(size_t slice) const;  // of its groups
  std::vector<float> Group(size_t slice, uint32_t group) const;
  // {log-probability, token}: the chosen one, then the highest.
  std::vector<std::pair<float, uint32_t>> Logprobs(int64_t position) const;
};

// `num_slices` slices of `logits`. Every position generates unless
// `prompt_tokens` says otherwise.
SamplingProgram MakeSampling(absl::Span<const float> logits,
                             const SamplingCase& options, uint32_t num_slices,
                             absl::Span<const int32_t> counts = {},
                             int32_t prompt_tokens = 0, uint32_t recorded = 8);

// `n` logits that fall off like a language model's: a few high ones, a long
// tail. The same for the same seed.
std::vector<float> FallingLogits(size_t n, uint32_t seed, float scale = 4.0f);

// Probability of each token, after all options, in double.
std::vector<double> ExactProbabilities(absl::Span<const float> logits,
                                       const SamplingCase& options,
                                       absl::Span<const int32_t> counts = {});

}  // namespace mkvm::ops

#endif  // MKVM_TESTS_OPS_SAMPLING_TEST_UTIL_H_
