#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/sampling_test_util.h"

namespace mkvm::ops {
namespace {

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
  op.best = 5;
  op.groups = 6;
  op.begin = 7;
  op.count = 8;
  op.slice = 9;
  ExpectEncodes(op, 0x31, "sample_slice", {1, 2, 3, 4, 5, 6, 7, 8, 9});
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
  reject.Expect("best does not have 8 columns", [](OpProgram& p, Op& op) {
    p.buffer(op.best).shape = {1, 9};
  });
  reject.Expect("groups does not have 8 rows of 4 numbers",
                [](OpProgram& p, Op& op) {
                  p.buffer(op.groups).shape = {1, 8, 5};
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

// Every group's tokens, best, maximum and masses against their definition.
void ExpectSlice(const SamplingProgram& sampling, size_t i,
                 const SamplingCase& options, int64_t position) {
  const isa::SampleSliceOperands& op = sampling.slices[i];
  const SamplingValues s =
      LoadSampling(options.Numbers().data(), options.Ints().data());
  const std::vector<float> logits = sampling.program.Floats(op.logits);
  const std::vector<int32_t> counts = sampling.program.Ints(op.counts);
  for (uint32_t group = 0; group < 8; ++group) {
    SCOPED_TRACE("slice " + std::to_string(i) + ", group " +
                 std::to_string(group));
    std::vector<float> values;
    std::pair<float, uint32_t> best = {-kInfinity, (1u << 24) - 1};
    for (uint32_t t = op.begin; t < op.begin + op.count; ++t) {
      if ((t - op.begin) / 8 % 8 != group) continue;
      values.push_back(Penalized(s, logits[t], t, counts[t]));
      const float score = s.temperature > 0 && !s.Filters()
                              ? DrawScore(s, values.back(), position, t)
                              : values.back();
      if (score > best.first || (score == best.first && t < best.second)) {
        best = {score, t};
      }
    }
    float max = -kInfinity;
    for (const float v : values) max = std::max(max, v);
    double mass = 0;
    double tempered = 0;
    for (const float v : values) {
      if (v == -kInfinity || !s.Weighs()) continue;
      mass += std::exp(double{v} - max);
      tempered +=
          std::exp((double{v} - max) / (s.temperature > 0 ? s.temperature : 1));
    }
    const std::vector<float> numbers = sampling.Group(i, group);
    EXPECT_EQ(numbers[kGroupMax], max);
    EXPECT_NEAR(numbers[kGroupMass], mass, 1e-5 * mass);
    EXPECT_NEAR(numbers[kGroupTemperedMass], tempered, 1e-5 * tempered);
    EXPECT_EQ(numbers[kGroupBegin], static_cast<float>(op.begin));
    const std::pair<float, uint32_t> got = sampling.Best(i, group);
    EXPECT_EQ(got.second, best.second);
    if (got.first != best.first) {
      EXPECT_NEAR(got.first, best.first, 1e-4);
    }
  }
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
      for (size_t i = 0; i < slices; ++i)
        ExpectSlice(slice_only, i, c.options, 5);
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

TEST(SampleSliceTest, EveryTokenIsInOneGroup) {
  std::vector<int> seen(kMaxSliceRows);
  for (uint32_t group = 0; group < kSliceGroups; ++group) {
    for (uint32_t member = 0; member < kMaxGroupRows; ++member) {
      ++seen[OffsetInSlice(group, member)];
    }
  }
  EXPECT_THAT(seen, testing::Each(1));
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
          ExpectSlice(gpu, i, c.options, 5);
          EXPECT_EQ(gpu.Best(i).second, reference.Best(i).second);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mkvm::ops
