#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/sampling_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A program of the one instruction, whose outputs are whole.
struct OneSlice {
  OpProgram program;
  isa::SampleSliceOperands op;
};

OneSlice MakeOneSlice() {
  OneSlice one;
  const SamplingProgram made =
      MakeSampling(FallingLogits(100, 1), {.top_k = 5}, 1);
  one.program = made.program;
  one.program.ClearInstructions();
  one.op = made.slices[0];
  one.program.Append(one.op);
  return one;
}

TEST(SampleSliceTest, Encodes) {
  isa::SampleSliceOperands op;
  op.logits = 1;
  op.numbers = 2;
  op.ints = 3;
  op.counts = 4;
  op.candidates = 5;
  op.sums = 6;
  op.begin = 7;
  op.count = 8;
  op.slice = 9;
  op.kept = 10;
  ExpectEncodes(op, 0x31, "sample_slice", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
}

TEST(SampleSliceTest, IsValidAndRoundTrips) {
  OneSlice one = MakeOneSlice();
  for (uint32_t id = 0; id < one.program.num_buffers(); ++id) {
    // What only sample writes.
    if (one.program.buffer(id).name == "y") {
      one.program.buffer(id).kind = isa::BufferKind::kState;
    }
  }
  ExpectValidAndRoundTrips(one.program);
}

TEST(SampleSliceTest, RejectsBadOperands) {
  OneSlice one = MakeOneSlice();
  for (uint32_t id = 0; id < one.program.num_buffers(); ++id) {
    if (one.program.buffer(id).kind == isa::BufferKind::kActivation) {
      one.program.buffer(id).kind = isa::BufferKind::kState;
    }
  }
  Rejections reject(one.program, one.op);
  using Op = isa::SampleSliceOperands;
  reject.Expect("count is not in [1, 2048]", [](Op& op) { op.count = 0; });
  reject.Expect("kept is not in [1, 96]", [](Op& op) { op.kept = 0; });
  reject.Expect("candidates does not have kept + 1 columns",
                [](Op& op) { op.kept = 63; });
  reject.Expect("sums does not have 4 columns", [](OpProgram& p, Op& op) {
    p.buffer(op.sums).shape = {1, 5};
  });
  reject.Expect("begin + count goes past 2^24 - 1",
                [](Op& op) { op.begin = (1u << 24) - 100; });
  reject.ExpectComplete();
}

// The known answers of the generator's authors (Random123, kat_vectors).
TEST(PhiloxTest, GivesTheKnownAnswers) {
  const auto words = [](const PhiloxBlock& counter, uint32_t k0, uint32_t k1) {
    const PhiloxBlock block = Philox(counter, k0, k1);
    return std::vector<uint32_t>(block.words, block.words + 4);
  };
  EXPECT_THAT(
      words({{0, 0, 0, 0}}, 0, 0),
      testing::ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  const uint32_t f = 0xffffffffu;
  EXPECT_THAT(
      words({{f, f, f, f}}, f, f),
      testing::ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(
      words({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, 0xa4093822u,
            0x299f31d0u),
      testing::ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(GumbelTest, HasTheMeanAndTheVarianceOfTheDistribution) {
  const SamplingCase options;
  const SamplingValues s =
      LoadSampling(options.Numbers().data(), options.Ints().data());
  double sum = 0;
  double squares = 0;
  std::set<float> seen;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const float g = Gumbel(s, i / 1000, static_cast<uint32_t>(i % 1000));
    ASSERT_TRUE(std::isfinite(g));
    sum += g;
    squares += double{g} * g;
    seen.insert(g);
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 0.57722, 0.01);  // Euler's constant
  EXPECT_NEAR(squares / kDraws - mean * mean, 1.64493, 0.03);  // pi^2 / 6
  EXPECT_GT(seen.size(), kDraws * 9 / 10);
}

// The best, the maximum, the sums and the candidates against their definition.
void ExpectSlice(const SamplingProgram& sampling, size_t i,
                 const SamplingCase& options) {
  const isa::SampleSliceOperands& op = sampling.slices[i];
  const SamplingValues s =
      LoadSampling(options.Numbers().data(), options.Ints().data());
  const std::vector<float> logits = sampling.program.Floats(op.logits);
  const std::vector<int32_t> counts = sampling.program.Ints(op.counts);
  std::vector<float> values;
  for (uint32_t t = op.begin; t < op.begin + op.count; ++t) {
    values.push_back(Penalized(s, logits[t], t, counts[t]));
  }
  const float max = *std::max_element(values.begin(), values.end());
  double mass = 0;
  double tempered = 0;
  for (const float v : values) {
    if (v == -kInfinity) continue;
    mass += std::exp(double{v} - max);
    tempered +=
        std::exp((double{v} - max) / (s.temperature > 0 ? s.temperature : 1));
  }
  const std::vector<float> sums = sampling.Sums(i);
  EXPECT_EQ(sums[kSliceMax], max);
  EXPECT_NEAR(sums[kSliceMass], mass, 1e-5 * mass);
  EXPECT_NEAR(sums[kSliceTemperedMass], tempered, 1e-5 * tempered);
  const auto candidates = sampling.Candidates(i);
  if (!s.Filters() && s.logprobs <= 0) {
    EXPECT_THAT(candidates, IsEmpty());
    return;
  }
  std::set<uint32_t> tokens;
  for (const auto& [value, token] : candidates) {
    ASSERT_GE(token, op.begin);
    ASSERT_LT(token, op.begin + op.count);
    EXPECT_EQ(value, values[token - op.begin]);
    EXPECT_TRUE(tokens.insert(token).second) << token << " twice";
  }
  float hidden = -kInfinity;
  for (uint32_t t = 0; t < op.count; ++t) {
    if (tokens.count(op.begin + t) == 0) hidden = std::max(hidden, values[t]);
  }
  EXPECT_EQ(sums[kSliceHidden], hidden);
  EXPECT_EQ(tokens.empty(), max == -kInfinity);
}

struct Named {
  const char* name;
  SamplingCase options;
};
std::vector<Named> Cases() {
  return {{"greedy", {.temperature = 0}},
          {"greedy with logprobs", {.temperature = 0, .logprobs = 3}},
          {"all", {}},
          {"cold", {.temperature = 0.1f}},
          {"top_k", {.temperature = 0.6f, .top_k = 20}},
          {"limit", {.top_k = 20, .token_limit = 700}},
          {"penalties",
           {.top_p = 0.9f,
            .repetition_penalty = 1.3f,
            .presence_penalty = 0.5f,
            .frequency_penalty = 0.25f}}};
}
std::vector<int32_t> SomeCounts(size_t n) {
  std::vector<int32_t> counts(n);
  for (size_t i = 0; i < n; ++i) counts[i] = i % 3 == 0 ? int(i % 7) : 0;
  return counts;
}

TEST(SampleSliceTest, SaysWhatTheSliceHolds) {
  for (const Named& c : Cases()) {
    for (const size_t n : {3, 64, 65, 2500}) {
      SCOPED_TRACE(std::string(c.name) + " of " + std::to_string(n));
      const uint32_t slices = n < 64 ? 1 : 2;
      SamplingProgram sampling =
          MakeSampling(FallingLogits(n, 3), c.options, slices, SomeCounts(n));
      SamplingProgram slice_only = sampling;
      slice_only.program.ClearInstructions();
      for (const auto& op : sampling.slices) slice_only.program.Append(op);
      ASSERT_TRUE(slice_only.program.RunReference(5).ok());
      for (size_t i = 0; i < slices; ++i) ExpectSlice(slice_only, i, c.options);
    }
  }
}

TEST(SampleSliceTest, TheBestDrawsOrIsTheHighest) {
  const std::vector<float> logits = FallingLogits(500, 4);
  SamplingProgram greedy = MakeSampling(logits, {.temperature = 0}, 1);
  ASSERT_TRUE(greedy.program.RunReference(0).ok());
  const auto highest = std::max_element(logits.begin(), logits.end());
  EXPECT_EQ(greedy.Best(0).second, highest - logits.begin());
  std::set<uint32_t> drawn;
  for (int64_t position = 0; position < 20; ++position) {
    SamplingProgram draws = MakeSampling(logits, {}, 1);
    ASSERT_TRUE(draws.program.RunReference(position).ok());
    drawn.insert(draws.Best(0).second);
  }
  EXPECT_GT(drawn.size(), 5u);
}

TEST(SampleSliceTest, ANanIsTheBest) {
  std::vector<float> logits = FallingLogits(100, 5);
  logits[42] = std::nanf("");
  for (const float temperature : {0.0f, 1.0f}) {
    SamplingProgram sampling =
        MakeSampling(logits, {.temperature = temperature}, 1);
    ASSERT_TRUE(sampling.program.RunReference(0).ok());
    EXPECT_TRUE(std::isnan(sampling.Best(0).first));
    EXPECT_EQ(sampling.Best(0).second, 42u);
    EXPECT_TRUE(
        std::isnan(sampling.program.Ranked(sampling.sample.y)[0].first));
  }
}

TEST(SampleSliceTest, EqualLogitsLeaveNoneHiddenThatIsHigher) {
  SamplingProgram sampling =
      MakeSampling(std::vector<float>(300, 1.5f), {.top_k = 3}, 1);
  ASSERT_TRUE(sampling.program.RunReference(0).ok());
  ExpectSlice(sampling, 0, {.top_k = 3});
  EXPECT_THAT(sampling.Candidates(0), SizeIs(64));
}

TEST(SampleSliceTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const Named& c : Cases()) {
    for (const size_t n : {3, 64, 65, 300, 2500, 4096}) {
      SCOPED_TRACE(std::string(c.name) + " of " + std::to_string(n));
      const uint32_t slices = n < 64 ? 1 : 2;
      for (const bool equal : {false, true}) {
        SamplingProgram reference = MakeSampling(
            equal ? std::vector<float>(n, 0.5f) : FallingLogits(n, 3),
            c.options, slices, SomeCounts(n));
        SamplingProgram gpu = reference;
        reference.program.ClearInstructions();
        gpu.program.ClearInstructions();
        for (const auto& op : reference.slices) {
          reference.program.Append(op);
          gpu.program.Append(op);
        }
        ASSERT_TRUE(reference.program.RunReference(5).ok());
        const absl::Status status = gpu.program.RunGpu(5);
        ASSERT_TRUE(status.ok()) << status;
        for (size_t i = 0; i < slices; ++i) {
          ExpectSlice(gpu, i, c.options);
          EXPECT_EQ(gpu.Best(i).second, reference.Best(i).second);
          if (gpu.Best(i).first == reference.Best(i).first) continue;
          EXPECT_NEAR(gpu.Best(i).first, reference.Best(i).first, 1e-4);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mkvm::ops
