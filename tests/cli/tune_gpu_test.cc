// mkvm tune on a GPU; skips where there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "scheduler/target.h"
#include "tests/cli/subprocess.h"
#include "vm/gpu_machine.h"

namespace mkvm {
namespace {

using nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;

TEST(TuneGpuTest, LeavesOutWhatDoesNotFitAndFindsTheRest) {
  const auto gpu = vm::QueryGpu(0);
  if (!gpu.ok()) GTEST_SKIP() << gpu.status().message();
  const std::string path = absl::StrCat(TestFolder(), "/target.json");
  const Outcome outcome =
      RunMkvm({"tune", "--device", "cuda:0", "--config", "qwen3-tiny",
               "--no_calibrate", "--positions", "0,100", "-n", "64", "-r", "3",
               "--budget_seconds", "60", "--json", "-o", path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto target = scheduler::ParseTarget(ReadText(path));
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_LE(target->shared_memory_bytes, gpu->shared_memory_bytes);
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["hardware"], gpu->name);
  int measured = 0;
  for (const json& candidate : report["candidates"]) {
    SCOPED_TRACE(candidate.dump());
    if (candidate.contains("us_per_token")) {
      ++measured;
      continue;
    }
    EXPECT_THAT(candidate.value("left_out", ""),
                AnyOf(HasSubstr("at once"), HasSubstr("shared memory")));
  }
  EXPECT_GT(measured, 5);
  const std::string program = absl::StrCat(TestFolder(), "/p.bin");
  const Outcome compiled = RunMkvm(
      {"compile", "--config", "qwen3-tiny", "--target", path, "-o", program});
  ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
  const Outcome run = RunMkvm(
      {"run", program, "--device", "cuda:0", "--prompt_ids", "1", "-n", "4"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

}  // namespace
}  // namespace mkvm
