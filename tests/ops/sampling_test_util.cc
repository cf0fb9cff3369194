#include "tests/ops/sampling_test_util.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace mkvm::ops {
namespace {

constexpr uint64_t kPositions = 64;  // that can be recorded

}  // namespace

std::vector<float> SamplingCase::Numbers() const {
  return {temperature,       top_p, min_p, repetition_penalty, presence_penalty,
          frequency_penalty, 0,     0};
}

std::vector<int32_t> SamplingCase::Ints() const {
  return {top_k,
          static_cast<int32_t>(seed),
          static_cast<int32_t>(seed >> 32),
          token_limit,
          logprobs,
          0,
          0,
          0};
}

std::pair<float, uint32_t> SamplingProgram::Best(size_t slice,
                                                 uint32_t group) const {
  return program.Ranked(sample.best)[slice * kSliceGroups + group];
}

std::pair<float, uint32_t> SamplingProgram::Best(size_t slice) const {
  std::pair<float, uint32_t> best = Best(slice, 0);
  for (uint32_t group = 1; group < kSliceGroups; ++group) {
    const auto other = Best(slice, group);
    if (isa::RanksBefore(other.first, other.second, best.first, best.second)) {
      best = other;
    }
  }
  return best;
}

std::vector<float> SamplingProgram::Group(size_t slice, uint32_t group) const {
  const std::vector<float> numbers = program.Floats(sample.groups);
  const auto first =
      numbers.begin() +
      static_cast<ptrdiff_t>((slice * kSliceGroups + group) * kGroupNumbers);
  return {first, first + kGroupNumbers};
}

std::vector<std::pair<float, uint32_t>> SamplingProgram::Logprobs(
    int64_t position) const {
  const auto all = program.Ranked(sample.logprobs);
  const auto width = static_cast<int64_t>(all.size() / kPositions);
  return {all.begin() + position * width, all.begin() + (position + 1) * width};
}

SamplingProgram MakeSampling(absl::Span<const float> logits,
                             const SamplingCase& options, uint32_t num_slices,
                             absl::Span<const int32_t> counts,
                             int32_t prompt_tokens, uint32_t recorded) {
  const uint64_t n = logits.size();
  SamplingProgram sampling;
  OpProgram& p = sampling.program;
  isa::SampleSliceOperands slice;
  slice.logits = p.Input("logits", isa::DType::kF32, {n});
  slice.numbers = p.Input("numbers", isa::DType::kF32, {kSamplingNumbers});
  slice.ints = p.Input("ints", isa::DType::kI32, {kSamplingInts});
  slice.counts = p.State("counts", isa::DType::kI32, {n});
  slice.best =
      p.Activation("best", isa::DType::kRanked, {num_slices, kSliceGroups});
  slice.groups = p.Activation("groups", isa::DType::kF32,
                              {num_slices, kSliceGroups, kGroupNumbers});
  for (uint32_t i = 0; i < num_slices; ++i) {
    slice.slice = i;
    slice.begin = static_cast<uint32_t>(n * i / num_slices);
    slice.count = static_cast<uint32_t>(n * (i + 1) / num_slices) - slice.begin;
    sampling.slices.push_back(slice);
    p.Append(slice);
  }
  isa::SampleOperands& sample = sampling.sample;
  sample.logits = slice.logits;
  sample.best = slice.best;
  sample.groups = slice.groups;
  sample.numbers = slice.numbers;
  sample.ints = slice.ints;
  sample.run = p.Input("run", isa::DType::kI32, {2});
  sample.counts = slice.counts;
  sample.logprobs = p.State("logprobs", isa::DType::kRanked,
                            {kPositions, uint64_t{recorded} + 1});
  sample.y = p.Activation("y", isa::DType::kRanked, {1});
  sample.n = static_cast<uint32_t>(n);
  p.Append(sample);
  p.Set(slice.logits, logits);
  p.Set(slice.numbers, options.Numbers());
  p.SetInts(slice.ints, options.Ints());
  p.SetInts(slice.counts, counts.empty() ? std::vector<int32_t>(n)
                                         : std::vector<int32_t>(counts.begin(),
                                                                counts.end()));
  p.SetInts(sample.run, {prompt_tokens, 1 << 20});
  return sampling;
}

std::vector<float> FallingLogits(size_t n, uint32_t seed, float scale) {
  std::mt19937 generator(seed);
  std::vector<float> logits(n);
  for (float& logit : logits) {
    // Exponentially distributed, as the tail of a softmax's logits is.
    const double uniform = (generator() + 0.5) / 0x1p32;
    logit = static_cast<float>(-std::log(uniform)) * scale / 4.0f - 3.0f;
  }
  return logits;
}

std::vector<double> ExactProbabilities(absl::Span<const float> logits,
                                       const SamplingCase& o,
                                       absl::Span<const int32_t> counts) {
  const size_t n =
      std::min<size_t>(logits.size(), static_cast<size_t>(o.token_limit));
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) {
    values[i] = logits[i];
    const int32_t count = counts.empty() ? 0 : counts[i];
    if (count == 0) continue;
    values[i] = values[i] > 0 ? values[i] / o.repetition_penalty
                              : values[i] * o.repetition_penalty;
    if (count < 2) continue;
    values[i] -= o.presence_penalty;
    values[i] -= static_cast<double>(o.frequency_penalty) * (count / 2);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  const double max = values[order[0]];
  const auto mass = [&](size_t token) {
    return std::exp((values[token] - max) / o.temperature);
  };
  if (o.top_k > 0 && order.size() > static_cast<size_t>(o.top_k)) {
    order.resize(static_cast<size_t>(o.top_k));
  }
  double total = 0;
  for (const size_t token : order) total += mass(token);
  double before = 0;
  size_t kept = 0;
  while (kept < order.size() && before < o.top_p * total) {
    before += mass(order[kept++]);
  }
  order.resize(kept);
  while (mass(order.back()) < o.min_p) order.pop_back();
  total = 0;
  for (const size_t token : order) total += mass(token);
  std::vector<double> probabilities(logits.size(), 0);
  for (const size_t token : order) probabilities[token] = mass(token) / total;
  return probabilities;
}

}  // namespace mkvm::ops
