// The verifier's time on big programs.
#include <chrono>
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "isa/verifier.h"
#include "scheduler/compile.h"

namespace mkvm::isa {
namespace {

#ifdef MKVM_SANITIZED
constexpr double kSlowness = 20;
#elif !defined(NDEBUG) || !defined(__OPTIMIZE__)
constexpr double kSlowness = 20;
#else
constexpr double kSlowness = 1;
#endif

void ExpectVerifiedWithin(const std::string& model, bool fuse, bool tagged,
                          double seconds) {
  const absl::StatusOr<model::Config> config = model::FindConfig(model);
  ASSERT_TRUE(config.ok()) << config.status();
  absl::StatusOr<scheduler::Target> target = scheduler::FindTarget("h200");
  ASSERT_TRUE(target.ok()) << target.status();
  target->tagged = tagged;
  scheduler::CompileOptions options;
  options.fuse = fuse;
  const absl::StatusOr<Program> program =
      scheduler::Compile(*config, *target, options);
  ASSERT_TRUE(program.ok()) << program.status();
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = VerifyStatus(*program);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(status.ok()) << status;
  std::printf("%s%s%s: %d instructions on %d workers verified in %.3f s\n",
              model.c_str(), fuse ? "" : ", unfused",
              tagged ? "" : ", counters",
              static_cast<int>(NumInstructions(*program)),
              static_cast<int>(program->num_workers()), took.count());
  EXPECT_LT(took.count(), seconds * kSlowness);
}

TEST(VerifierSpeedTest, SmallestModelWithinASecond) {
  ExpectVerifiedWithin("qwen3-0.6b", /*fuse=*/true, /*tagged=*/true, 1);
}

TEST(VerifierSpeedTest, SmallestModelOnCountersWithinASecond) {
  ExpectVerifiedWithin("qwen3-0.6b", /*fuse=*/true, /*tagged=*/false, 1);
}

TEST(VerifierSpeedTest, LargestModelWithinFiveSeconds) {
  ExpectVerifiedWithin("qwen3-32b", /*fuse=*/true, /*tagged=*/true, 5);
}

TEST(VerifierSpeedTest, LargestModelUnfusedWithinFiveSeconds) {
  ExpectVerifiedWithin("qwen3-32b", /*fuse=*/false, /*tagged=*/true, 5);
}

}  // namespace
}  // namespace mkvm::isa
