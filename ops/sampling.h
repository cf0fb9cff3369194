// What choosing a token by chance needs on every machine: the options as the
// program's buffers hold them, the penalties, and the random numbers.
// docs/sampling.md explains the whole.
#ifndef MKVM_OPS_SAMPLING_H_
#define MKVM_OPS_SAMPLING_H_

#include <cmath>
#include <cstdint>

#include "isa/f24.h"
#include "ops/float_order.h"

namespace mkvm::ops {

// Elements of the buffers of options.
inline constexpr uint32_t kSamplingNumbers = 8;
enum SamplingNumber : uint32_t {
  kTemperature = 0,
  kTopP = 1,
  kMinP = 2,
  kRepetitionPenalty = 3,
  kPresencePenalty = 4,
  kFrequencyPenalty = 5,
};
inline constexpr uint32_t kSamplingInts = 8;
enum SamplingInt : uint32_t {
  kTopK = 0,
  kSeedLow = 1,
  kSeedHigh = 2,
  kTokenLimit = 3,
  kLogprobs = 4,
};

// A slice's tokens are in groups, eight neighbours (32 bytes of logits) in the
// one, the next eight in the next: likely tokens are often neighbours, and are
// spread so. On the GPU a group is what a warp looks at.
inline constexpr uint32_t kSliceGroups = 8;
inline constexpr uint32_t kGroupRun = 8;
inline constexpr uint32_t kMaxSliceRows = 2048;
inline constexpr uint32_t kMaxGroupRows = kMaxSliceRows / kSliceGroups;

// Where in the slice the group's token `member` is; past the slice's end there
// is none. Ascending.
MKVM_HOST_DEVICE inline uint32_t OffsetInSlice(uint32_t group,
                                               uint32_t member) {
  return member / kGroupRun * (kGroupRun * kSliceGroups) + group * kGroupRun +
         member % kGroupRun;
}

// What is known of a group beside its best token.
enum GroupNumber : uint32_t {
  kGroupMax = 0,
  kGroupMass = 1,          // sum of e^(v - max)
  kGroupTemperedMass = 2,  // sum of e^((v - max) / temperature)
  kGroupBegin = 3,         // the slice's first token
};
inline constexpr uint32_t kGroupNumbers = 4;

struct SamplingValues {
  float temperature;
  float inverse_temperature;  // 1 at temperature 0
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  int32_t top_k;
  uint32_t seed_low;
  uint32_t seed_high;
  uint32_t token_limit;
  int32_t logprobs;

  // Whether some tokens are cut off before one is chosen by chance.
  MKVM_HOST_DEVICE bool Filters() const {
    return temperature > 0 && (top_k > 0 || top_p < 1 || min_p > 0);
  }
  // Whether the masses of all tokens matter. With top_k those of the tokens
  // that it keeps do.
  MKVM_HOST_DEVICE bool Weighs() const {
    return logprobs >= 0 || (temperature > 0 && top_p < 1 && top_k <= 0);
  }
  MKVM_HOST_DEVICE bool Penalizes() const {
    return repetition_penalty != 1 || presence_penalty != 0 ||
           frequency_penalty != 0;
  }
};

MKVM_HOST_DEVICE inline SamplingValues LoadSampling(const float* numbers,
                                                    const int32_t* ints) {
  SamplingValues s;
  s.temperature = numbers[kTemperature];
  s.inverse_temperature = s.temperature > 0 ? 1 / s.temperature : 1.0f;
  s.top_p = numbers[kTopP];
  s.min_p = numbers[kMinP];
  s.repetition_penalty = numbers[kRepetitionPenalty];
  s.presence_penalty = numbers[kPresencePenalty];
  s.frequency_penalty = numbers[kFrequencyPenalty];
  s.top_k = ints[kTopK];
  s.seed_low = static_cast<uint32_t>(ints[kSeedLow]);
  s.seed_high = static_cast<uint32_t>(ints[kSeedHigh]);
  s.token_limit = static_cast<uint32_t>(ints[kTokenLimit]);
  s.logprobs = ints[kLogprobs];
  return s;
}

// A token's count: twice the times that it was generated, plus one if the
// prompt has it.
inline constexpr int32_t kCountGenerated = 2;
inline constexpr int32_t kCountPrompt = 1;

// The logit of `token` after the penalties; -inf when it can't be chosen.
// repetition_penalty: Keskar et al. 2019, "CTRL".
MKVM_HOST_DEVICE inline float Penalized(const SamplingValues& s, float logit,
                                        uint32_t token, int32_t count) {
  if (token >= s.token_limit) return -INFINITY;
  if (count == 0) return logit;
  logit =
      logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
  const int32_t generated = count / kCountGenerated;
  if (generated > 0) {
    logit -= s.presence_penalty +
             s.frequency_penalty * static_cast<float>(generated);
  }
  return logit;
}

struct PhiloxBlock {
  uint32_t words[4];
};

MKVM_HOST_DEVICE inline uint32_t MultiplyHigh(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1,
// 2, 3". Random words as a function of a counter and a key.
MKVM_HOST_DEVICE inline PhiloxBlock Philox(PhiloxBlock counter, uint32_t key0,
                                           uint32_t key1) {
  uint32_t* const c = counter.words;
#if defined(__CUDA_ARCH__)
#pragma unroll 1  // the GPU's instructions for this come from afar
#endif
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = MultiplyHigh(0xd2511f53u, c[0]);
    const uint32_t low0 = 0xd2511f53u * c[0];
    const uint32_t high1 = MultiplyHigh(0xcd9e8d57u, c[2]);
    const uint32_t low1 = 0xcd9e8d57u * c[2];
    c[0] = high1 ^ c[1] ^ key0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ key1;
    c[3] = low0;
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

// The stream of random numbers: counter {token / 4, position, 0, this}, key
// the seed; word token % 4 is the token's.
inline constexpr uint32_t kSamplingStream = 0x6d6b766d;  // "mkvm"

// A variate of the Gumbel distribution for the token at the position. Adding
// it to the logits and taking the highest draws from their softmax: Gumbel
// 1954; Maddison et al. 2014, "A* sampling".
MKVM_HOST_DEVICE inline float Gumbel(const SamplingValues& s, int64_t position,
                                     uint32_t token) {
  const PhiloxBlock counter = {
      {token / 4, static_cast<uint32_t>(position), 0, kSamplingStream}};
  const PhiloxBlock block = Philox(counter, s.seed_low, s.seed_high);
  // Not by index: an array in registers has none.
  const uint32_t low = token % 2 == 0 ? block.words[0] : block.words[1];
  const uint32_t high = token % 2 == 0 ? block.words[2] : block.words[3];
  const uint32_t word = token % 4 < 2 ? low : high;
  // In (0, 1), exact towards 0, which is where high variates come from.
  const float uniform =
      fminf((static_cast<float>(word) + 0.5f) * 0x1p-32f, 0x1.fffffep-1f);
  return -logf(-log1pf(-uniform));
}

// What a token is ranked by when chance decides.
MKVM_HOST_DEVICE inline float DrawScore(const SamplingValues& s, float value,
                                        int64_t position, uint32_t token) {
  return value * s.inverse_temperature + Gumbel(s, position, token);
}

// Probabilities are relative to that of the highest value.
MKVM_HOST_DEVICE inline float RelativeMass(float value, float max) {
  return value == -INFINITY ? 0.0f : expf(value - max);
}
MKVM_HOST_DEVICE inline float TemperedMass(const SamplingValues& s, float value,
                                           float max) {
  return value == -INFINITY ? 0.0f
                            : expf((value - max) * s.inverse_temperature);
}

// The lowest value that min_p keeps.
MKVM_HOST_DEVICE inline float MinPThreshold(const SamplingValues& s,
                                            float max) {
  return s.min_p > 0 ? max + s.temperature * logf(s.min_p) : -INFINITY;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLING_H_
