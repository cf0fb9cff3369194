// Names of ablations, and what they set.
#include "cli/ablation_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/flags.h"

namespace mkvm::cli {
namespace {

using ::testing::HasSubstr;

Device SomeGpu() {
  Device device;
  device.gpu = 0;
  return device;
}

TEST(AblationFlags, NamesGoBothWays) {
  for (const char* name :
       {"none", "no_prefetch", "fetch_depth=3", "launch_per_pass",
        "launch_per_op", "no_fuse", "no_split_kv", "no_attend_alone", "nops",
        "no_prefetch+launch_per_op+fetch_depth=1+no_fuse+no_split_kv+nops"}) {
    const absl::StatusOr<AblationFlags> flags = ParseAblation(name, "--ablate");
    ASSERT_TRUE(flags.ok()) << flags.status();
    EXPECT_EQ(flags->Name(), name);
  }
  EXPECT_EQ(AblationFlags().Name(), "none");
}

TEST(AblationFlags, SetTheMachineAndTheCompiler) {
  const AblationFlags flags =
      *ParseAblation("no_prefetch+fetch_depth=2+launch_per_pass+no_fuse", "");
  Device device = SomeGpu();
  ASSERT_TRUE(flags.ApplyTo(device).ok());
  EXPECT_EQ(device.ablations, (vm::GpuAblations{.no_prefetch = true,
                                                .fetch_depth = 2,
                                                .launch_per_pass = true}));
  EXPECT_TRUE(flags.OfMachine());
  scheduler::CompileOptions options;
  flags.ApplyTo(options);
  EXPECT_FALSE(options.fuse);
  EXPECT_TRUE(options.split_kv);
  EXPECT_TRUE(options.attend_alone);
  ParseAblation("no_attend_alone", "")->ApplyTo(options);
  EXPECT_FALSE(options.attend_alone);
  EXPECT_FALSE(options.nops);
  ParseAblation("nops", "")->ApplyTo(options);
  EXPECT_TRUE(options.nops);
  // None sets everything back.
  ASSERT_TRUE(AblationFlags().ApplyTo(device).ok());
  EXPECT_EQ(device.ablations, vm::GpuAblations());
  AblationFlags().ApplyTo(options);
  EXPECT_TRUE(options.fuse);
  EXPECT_FALSE(ParseAblation("no_split_kv", "")->OfMachine());
}

TEST(AblationFlags, TheCpuRefusesThoseOfTheGpuMachine) {
  Device cpu;
  for (const char* name :
       {"no_prefetch", "fetch_depth=3", "launch_per_pass", "launch_per_op"}) {
    const absl::Status status = ParseAblation(name, "")->ApplyTo(cpu);
    EXPECT_TRUE(IsUsageError(status));
    EXPECT_THAT(status.message(), HasSubstr(name));
    EXPECT_THAT(status.message(), HasSubstr("CPU machine"));
  }
  EXPECT_TRUE(ParseAblation("no_fuse+no_split_kv", "")->ApplyTo(cpu).ok());
}

TEST(AblationFlags, MistakesNameTheFlag) {
  for (const char* name :
       {"", "x", "no_prefetch+", "none+no_fuse", "fetch_depth",
        "fetch_depth=", "fetch_depth=two", "no_prefetch=1"}) {
    const absl::Status status = ParseAblation(name, "--ablate").status();
    EXPECT_TRUE(IsUsageError(status)) << name;
    EXPECT_THAT(status.message(), HasSubstr("--ablate: \""));
  }
  EXPECT_THAT(ParseAblation("fetch_depth=0", "")->Check("").message(),
              HasSubstr("--fetch_depth"));
  EXPECT_THAT(ParseAblation("fetch_depth=9876543210", "")->Check("").message(),
              HasSubstr("--fetch_depth"));
  EXPECT_THAT(
      ParseAblation("launch_per_pass+launch_per_op", "")->Check("").message(),
      HasSubstr("--launch_per_pass and --launch_per_op"));
  EXPECT_THAT(ParseAblation("no_split_kv", "")->Check("q.bin").message(),
              HasSubstr("--no_split_kv: q.bin is compiled already"));
  EXPECT_TRUE(ParseAblation("no_prefetch", "")->Check("q.bin").ok());
}

}  // namespace
}  // namespace mkvm::cli
