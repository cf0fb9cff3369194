#include "cli/sampling_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mkvm::cli {
namespace {

using testing::HasSubstr;

constexpr model::GenerationConfig kSampling = {.do_sample = true,
                                               .temperature = 0.6,
                                               .top_k = 20,
                                               .top_p = 0.95,
                                               .min_p = 0.1,
                                               .repetition_penalty = 1.5};

absl::StatusOr<vm::SamplingOptions> Resolve(
    const std::vector<std::string>& args,
    const model::GenerationConfig& defaults) {
  SamplingFlags sampling;
  Flags flags("verb", "Tests.");
  sampling.AddTo(flags);
  if (const auto rest = flags.Parse(args, 0, 0); !rest.ok()) {
    return rest.status();
  }
  return sampling.Resolve(defaults);
}

vm::SamplingOptions MustResolve(const std::vector<std::string>& args,
                                const model::GenerationConfig& defaults) {
  const auto options = Resolve(args, defaults);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? *options : vm::SamplingOptions();
}

TEST(SamplingFlags, TheModelsDefaults) {
  const vm::SamplingOptions options = MustResolve({}, kSampling);
  EXPECT_EQ(options.temperature, 0.6f);
  EXPECT_EQ(options.top_k, 20);
  EXPECT_EQ(options.top_p, 0.95f);
  EXPECT_EQ(options.min_p, 0.1f);
  EXPECT_EQ(options.repetition_penalty, 1.5f);
  EXPECT_EQ(options.presence_penalty, 0);
  EXPECT_EQ(options.frequency_penalty, 0);
}

TEST(SamplingFlags, FlagsUnderEveryNameComeFirst) {
  for (const auto& [flag, value] :
       {std::pair("--temp", "0.5"), std::pair("--temperature", "0.5")}) {
    EXPECT_EQ(MustResolve({flag, value}, kSampling).temperature, 0.5f);
  }
  for (const char* flag :
       {"--repeat_penalty", "--repetition_penalty", "--repeat-penalty"}) {
    EXPECT_EQ(MustResolve({flag, "2"}, kSampling).repetition_penalty, 2);
  }
  const vm::SamplingOptions options = MustResolve(
      {"--top-k", "3", "--top_p", "0.25", "--min_p", "0", "--presence_penalty",
       "-1", "--frequency_penalty", "0.75", "-s", "42"},
      kSampling);
  EXPECT_EQ(options.top_k, 3);
  EXPECT_EQ(options.top_p, 0.25f);
  EXPECT_EQ(options.min_p, 0);
  EXPECT_EQ(options.presence_penalty, -1);
  EXPECT_EQ(options.frequency_penalty, 0.75f);
  EXPECT_EQ(options.seed, 42u);
}

TEST(SamplingFlags, GreedyUntilSomebodyAsksForChance) {
  const model::GenerationConfig greedy;
  EXPECT_EQ(MustResolve({}, greedy).temperature, 0);
  EXPECT_EQ(MustResolve({"--seed", "1"}, greedy).temperature, 0);
  for (const char* flag : {"--top_k", "--top_p", "--min_p"}) {
    const std::string value = flag == std::string("--min_p") ? "0.5" : "1";
    EXPECT_EQ(MustResolve({flag, value}, greedy).temperature, 1) << flag;
  }
  // A file's other keys count all the same.
  const model::GenerationConfig penalised = {.repetition_penalty = 1.25};
  EXPECT_EQ(MustResolve({}, penalised).repetition_penalty, 1.25f);
  EXPECT_EQ(MustResolve({"--temp", "0"}, kSampling).temperature, 0);
}

TEST(SamplingFlags, SeedsAreDrawn) {
  std::vector<uint64_t> seeds;
  for (int i = 0; i < 4; ++i) seeds.push_back(MustResolve({}, kSampling).seed);
  EXPECT_FALSE(std::equal(seeds.begin() + 1, seeds.end(), seeds.begin()));
}

TEST(SamplingFlags, Mistakes) {
  const auto error = [](const std::vector<std::string>& args) {
    const absl::Status status = Resolve(args, kSampling).status();
    EXPECT_TRUE(IsUsageError(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error({"--temp", "-1"}), HasSubstr("temperature is -1"));
  EXPECT_THAT(error({"--top_k", "-1"}), HasSubstr("top_k"));
  EXPECT_THAT(error({"--top_p", "0"}), HasSubstr("top_p is 0"));
  EXPECT_THAT(error({"--min_p", "1"}), HasSubstr("min_p is 1"));
  EXPECT_THAT(error({"--repeat_penalty", "0"}),
              HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(error({"--seed", "-1"}), HasSubstr("--seed is below 0"));
  EXPECT_THAT(error({"--temp", "warm"}), HasSubstr("not a number"));
}

}  // namespace
}  // namespace mkvm::cli
