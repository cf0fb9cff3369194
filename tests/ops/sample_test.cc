#include <algorithm>
#include <cmath>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/sampling_test_util.h"

namespace mkvm::ops {
namespace {

using ::testing::ElementsAre;

TEST(SampleTest, Encodes) {
  isa::SampleOperands op;
  op.logits = 1;
  op.best = 2;
  op.groups = 3;
  op.numbers = 4;
  op.ints = 5;
  op.run = 6;
  op.counts = 7;
  op.logprobs = 8;
  op.y = 9;
  op.n = 10;
  ExpectEncodes(op, 0x32, "sample", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
}

TEST(SampleTest, IsValidAndRoundTrips) {
  ExpectValidAndRoundTrips(
      MakeSampling(FallingLogits(100, 1), {.top_k = 5}, 3).program);
}

TEST(SampleTest, RejectsBadOperands) {
  SamplingProgram made = MakeSampling(FallingLogits(100, 1), {}, 3);
  made.program.ClearInstructions();
  for (const uint32_t id : {made.sample.best, made.sample.groups}) {
    made.program.buffer(id).kind = isa::BufferKind::kState;
  }
  made.program.buffer(made.sample.y).kind = isa::BufferKind::kState;
  Rejections reject(made.program, made.sample);
  using Op = isa::SampleOperands;
  reject.Expect("n is 0", [](Op& op) { op.n = 0; });
  reject.Expect("n goes past 2^24 - 1", [](Op& op) { op.n = 1u << 24; });
  reject.Expect("best does not have 8 columns", [](OpProgram& p, Op& op) {
    p.buffer(op.best).shape = {3, 9};
  });
  reject.Expect("groups does not have 8 rows of 4 numbers",
                [](OpProgram& p, Op& op) {
                  p.buffer(op.groups).shape = {3, 8, 5};
                });
  reject.Expect("best and groups differ in slices", [](OpProgram& p, Op& op) {
    p.buffer(op.groups).shape = {2, 8, 4};
  });
  reject.Expect("logprobs does not have columns", [](OpProgram& p, Op& op) {
    p.buffer(op.logprobs).shape = {64};
  });
  reject.ExpectComplete();
}

struct Named {
  const char* name;
  SamplingCase options;
};
// Every option alone and all together.
std::vector<Named> Cases() {
  return {
      {"all", {}},
      {"hot", {.temperature = 2.0f}},
      {"cold", {.temperature = 0.3f}},
      {"top_k", {.top_k = 5}},
      {"top_p", {.top_p = 0.7f}},
      {"min_p", {.min_p = 0.1f}},
      {"limit", {.token_limit = 30}},
      {"repetition", {.repetition_penalty = 1.5f}},
      {"presence", {.presence_penalty = 1.0f}},
      {"frequency", {.frequency_penalty = 0.5f}},
      {"Qwen3's", {.temperature = 0.6f, .top_p = 0.95f, .top_k = 20}},
      {"everything",
       {.temperature = 0.8f,
        .top_p = 0.9f,
        .min_p = 0.02f,
        .repetition_penalty = 1.2f,
        .presence_penalty = 0.3f,
        .frequency_penalty = 0.1f,
        .top_k = 12,
        .token_limit = 45}},
  };
}
std::vector<int32_t> SomeCounts(size_t n) {
  std::vector<int32_t> counts(n);
  for (size_t i = 0; i < n; ++i) counts[i] = i % 3 == 0 ? int(i % 7) : 0;
  return counts;
}

// Pearson's test of the tokens of many positions against the exact
// distribution. The seed is fixed, so it passes always or never; a wrong
// distribution is many times over the bound.
TEST(SampleTest, DrawsFromTheExactDistribution) {
  constexpr int kDraws = 20000;
  const std::vector<float> logits = FallingLogits(50, 7);
  for (const Named& c : Cases()) {
    SCOPED_TRACE(c.name);
    const std::vector<int32_t> counts = SomeCounts(logits.size());
    const std::vector<double> exact =
        ExactProbabilities(logits, c.options, counts);
    SamplingProgram sampling = MakeSampling(logits, c.options, 3, counts);
    std::vector<int> seen(logits.size());
    for (int64_t position = 0; position < kDraws; ++position) {
      sampling.program.SetInts(sampling.sample.counts, counts);
      ASSERT_TRUE(sampling.program.RunReference(position).ok());
      ++seen[sampling.Token()];
    }
    double chi_squared = 0;
    int cells = 0;
    double rare_wanted = 0;
    double rare_seen = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double wanted = exact[i] * kDraws;
      if (wanted == 0) {
        EXPECT_EQ(seen[i], 0) << "token " << i << " is cut off";
      } else if (wanted < 10) {
        rare_wanted += wanted;
        rare_seen += seen[i];
      } else {
        chi_squared += (seen[i] - wanted) * (seen[i] - wanted) / wanted;
        ++cells;
      }
    }
    if (rare_wanted >= 10) {
      chi_squared +=
          (rare_seen - rare_wanted) * (rare_seen - rare_wanted) / rare_wanted;
      ++cells;
    }
    // Four standard deviations above the mean of the distribution.
    const double freedom = cells - 1;
    EXPECT_LT(chi_squared, freedom + 4 * std::sqrt(2 * freedom) + 1e-9)
        << cells << " cells";
  }
}

TEST(SampleTest, PositionsAndSeedsAreIndependentAndRepeatable) {
  const std::vector<float> logits = FallingLogits(1000, 8);
  const auto draw = [&logits](uint64_t seed, int64_t position) {
    SamplingProgram sampling = MakeSampling(logits, {.seed = seed}, 2);
    EXPECT_TRUE(sampling.program.RunReference(position).ok());
    return sampling.Token();
  };
  int same_position = 0;
  int same_seed = 0;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(draw(1, i), draw(1, i));
    same_position += draw(1, i) == draw(2, i) ? 1 : 0;
    same_position += draw(1, i) == draw(uint64_t{1} << 32, i) ? 1 : 0;
    same_seed += draw(1, i) == draw(1, i + 1) ? 1 : 0;
  }
  EXPECT_LT(same_position, 20);
  EXPECT_LT(same_seed, 10);
}

// The same token however the vocabulary is cut.
TEST(SampleTest, SlicesDontMatter) {
  const std::vector<float> logits = FallingLogits(3000, 9);
  for (const Named& c : Cases()) {
    SCOPED_TRACE(c.name);
    for (int64_t position = 0; position < 10; ++position) {
      std::set<uint32_t> tokens;
      for (const uint32_t slices : {2, 3, 17}) {
        SamplingProgram sampling = MakeSampling(logits, c.options, slices);
        ASSERT_TRUE(sampling.program.RunReference(position).ok());
        tokens.insert(sampling.Token());
      }
      EXPECT_EQ(tokens.size(), 1u);
    }
  }
}

// Fewer tokens than top_k: top_p is of the mass of them all.
TEST(SampleTest, TopKOfMoreThanThereAreKeepsAll) {
  const std::vector<float> logits = FallingLogits(60, 21);
  const SamplingCase fewer = {.top_p = 0.8f, .token_limit = 40};
  SamplingCase more = fewer;
  more.top_k = 50;
  for (int64_t position = 0; position < 50; ++position) {
    SamplingProgram without = MakeSampling(logits, fewer, 2);
    SamplingProgram with = MakeSampling(logits, more, 2);
    ASSERT_TRUE(without.program.RunReference(position).ok());
    ASSERT_TRUE(with.program.RunReference(position).ok());
    EXPECT_EQ(with.Token(), without.Token());
  }
}

TEST(SampleTest, CountsWhatItGeneratesOnly) {
  const std::vector<float> logits = {0, 3, 1};
  SamplingProgram sampling =
      MakeSampling(logits, {.temperature = 0}, 1, {1, 3, 0}, 5);
  ASSERT_TRUE(sampling.program.RunReference(3).ok());  // next is the prompt's
  EXPECT_THAT(sampling.program.Ints(sampling.sample.counts),
              ElementsAre(1, 3, 0));
  ASSERT_TRUE(sampling.program.RunReference(4).ok());
  EXPECT_EQ(sampling.Token(), 1u);
  EXPECT_THAT(sampling.program.Ints(sampling.sample.counts),
              ElementsAre(1, 5, 0));
}

TEST(SampleTest, PaddingIsNeverChosen) {
  std::vector<float> logits = FallingLogits(200, 10);
  for (size_t i = 150; i < 200; ++i) logits[i] = 100;
  for (const float temperature : {0.0f, 1.0f}) {
    for (int64_t position = 0; position < 50; ++position) {
      SamplingProgram sampling = MakeSampling(
          logits, {.temperature = temperature, .token_limit = 150}, 2);
      ASSERT_TRUE(sampling.program.RunReference(position).ok());
      EXPECT_LT(sampling.Token(), 150u);
    }
  }
}

TEST(SampleTest, RecordsLogProbabilities) {
  const std::vector<float> logits = FallingLogits(400, 11);
  SamplingProgram sampling =
      MakeSampling(logits, {.temperature = 0.5f, .top_k = 3, .logprobs = 4}, 2);
  ASSERT_TRUE(sampling.program.RunReference(6).ok());
  // Of the distribution before temperature and cuts.
  const std::vector<double> exact = ExactProbabilities(logits, {});
  const auto recorded = sampling.Logprobs(7);
  EXPECT_EQ(recorded[0].second, sampling.Token());
  std::vector<double> sorted = exact;
  std::sort(sorted.rbegin(), sorted.rend());
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(recorded[i].first, std::log(exact[recorded[i].second]), 1e-5);
    if (i == 0) continue;
    EXPECT_EQ(exact[recorded[i].second], sorted[i - 1]);
  }
  EXPECT_EQ(recorded[5].first, 0.0f) << "not asked for";
}

TEST(SampleTest, InfiniteLogitsChooseTheFirstOfTheHighest) {
  std::vector<float> logits(10, -INFINITY);
  for (const float top : {-INFINITY, INFINITY}) {
    logits[4] = logits[6] = top;
    SamplingProgram sampling = MakeSampling(logits, {.top_k = 2}, 1);
    ASSERT_TRUE(sampling.program.RunReference(0).ok());
    EXPECT_EQ(sampling.Token(), top > 0 ? 4u : 0u);
  }
}

// The GPU's token, counts and records of the pass are the reference's, up to
// rounding.
void ExpectSameOnGpu(SamplingProgram reference, int64_t position) {
  SamplingProgram gpu = reference;
  ASSERT_TRUE(reference.program.RunReference(position).ok());
  const absl::Status status = gpu.program.RunGpu(position);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(gpu.Token(), reference.Token());
  EXPECT_EQ(gpu.program.Ints(gpu.sample.counts),
            reference.program.Ints(reference.sample.counts));
  const auto got = gpu.Logprobs(position + 1);
  const auto want = reference.Logprobs(position + 1);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].second, want[i].second) << i;
    EXPECT_NEAR(got[i].first, want[i].first, 1e-4) << i;
  }
}

// Tokens and records of the GPU, of cases that it samples from a few values,
// from the bests alone, and over all logits.
TEST(SampleTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  std::vector<Named> cases = Cases();
  cases.push_back({"greedy", {.temperature = 0, .logprobs = 5}});
  cases.push_back({"recorded", {.top_k = 20, .logprobs = 8}});
  cases.push_back({"more than groups", {.top_k = 300, .logprobs = 2}});
  cases.push_back({"flat", {.temperature = 5, .top_p = 0.8f}});
  cases.push_back({"nearly all", {.top_p = 0.99999f, .logprobs = 3}});
  cases.push_back({"low min_p", {.min_p = 1e-6f}});
  const std::vector<int32_t> counts = SomeCounts(6000);
  for (const Named& c : cases) {
    for (const float scale : {4.0f, 0.5f}) {
      for (int64_t position = 0; position < 4; ++position) {
        SCOPED_TRACE(std::string(c.name) + " at " + std::to_string(position));
        ExpectSameOnGpu(
            MakeSampling(FallingLogits(6000, 12, scale), c.options, 5, counts),
            position);
      }
    }
  }
}

// More slices than tokens kept, and more groups than the threads hold; tokens
// that one warp sorts, and more.
TEST(SampleTest, GpuMatchesReferenceOfManySlices) {
  MKVM_SKIP_WITHOUT_GPU();
  const std::vector<float> logits = FallingLogits(20000, 13);
  const std::vector<int32_t> counts = SomeCounts(logits.size());
  for (const SamplingCase& options :
       {SamplingCase{}, SamplingCase{.temperature = 0, .logprobs = 8},
        SamplingCase{.temperature = 0.6f, .top_p = 0.95f, .top_k = 20},
        SamplingCase{.top_k = 50, .token_limit = 9999},
        SamplingCase{.top_p = 0.9f, .top_k = 200, .logprobs = 8},
        SamplingCase{.temperature = 0.5f, .top_p = 0.3f, .logprobs = 0},
        SamplingCase{.top_p = 0.5f, .min_p = 0.2f, .logprobs = 8},
        SamplingCase{.min_p = 0.05f, .repetition_penalty = 1.2f}}) {
    for (const uint32_t slices : {20, 130, 200}) {
      for (int64_t position = 0; position < 3; ++position) {
        SCOPED_TRACE(std::to_string(slices) + " slices, top_k " +
                     std::to_string(options.top_k) + ", top_p " +
                     std::to_string(options.top_p) + " at " +
                     std::to_string(position));
        ExpectSameOnGpu(MakeSampling(logits, options, slices, counts),
                        position);
      }
    }
  }
}

TEST(SampleTest, GpuOfNansAndInfinitiesMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const float odd : {NAN, INFINITY, -INFINITY}) {
    for (const int32_t top_k : {0, 3}) {
      std::vector<float> logits = odd == -INFINITY
                                      ? std::vector<float>(500, -INFINITY)
                                      : FallingLogits(500, 14);
      logits[123] = logits[321] = odd;
      SamplingProgram reference =
          MakeSampling(logits, {.top_k = top_k, .logprobs = 2}, 3);
      SamplingProgram gpu = reference;
      ASSERT_TRUE(reference.program.RunReference(0).ok());
      const absl::Status status = gpu.program.RunGpu(0);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(gpu.Token(), reference.Token()) << odd << ", " << top_k;
      EXPECT_EQ(std::isnan(gpu.program.Ranked(gpu.sample.y)[0].first),
                std::isnan(odd));
    }
  }
}

TEST(SampleTest, GpuDrawsOfEqualLogitsMatchReference) {
  MKVM_SKIP_WITHOUT_GPU();
  for (const SamplingCase& options :
       {SamplingCase{.top_k = 3, .logprobs = 4}, SamplingCase{.top_p = 0.5f},
        SamplingCase{.temperature = 0, .logprobs = 8}, SamplingCase{}}) {
    SamplingProgram reference =
        MakeSampling(std::vector<float>(700, 2.0f), options, 2);
    SamplingProgram gpu = reference;
    ASSERT_TRUE(reference.program.RunReference(3).ok());
    const absl::Status status = gpu.program.RunGpu(3);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(gpu.Token(), reference.Token());
    EXPECT_EQ(gpu.Logprobs(4), reference.Logprobs(4));
  }
}

}  // namespace
}  // namespace mkvm::ops
