// Every built-in target with every built-in geometry: a program that is proven
// and fits the machine described, also where none of them is at hand.
#include <algorithm>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/verifier.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

class EveryTargetTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(EveryTargetTest, CompilesAndVerifiesAtAContextOf4096) {
  const Target target = FindTarget(std::get<0>(GetParam())).value();
  const model::Config config =
      model::FindConfig(std::get<1>(GetParam())).value();
  isa::Program program = MustCompile(config, target, {.max_context = 4096});
  EXPECT_EQ(program.target.name, target.name);
  EXPECT_EQ(program.model_fingerprint, model::Fingerprint(config));
  EXPECT_EQ(NumElements(*BufferNamed(program, "tokens")), 4097u);
  EXPECT_EQ(
      program.num_workers(),
      std::min(target.workers, config.vocab_size / (target.panels ? 8 : 1)));
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    EXPECT_GT(queue.size(), 1u);  // more than a halt
  }
  if (target.shared_memory_bytes != 0) {
    EXPECT_LE(uint64_t{program.target.stages} * program.target.stage_bytes,
              target.shared_memory_bytes);
    EXPECT_GE(program.target.stages, 2u);  // one is read, one on its way
  }
  const absl::Status proven = isa::VerifyStatus(program);
  EXPECT_TRUE(proven.ok()) << proven;
}

std::string NameOf(
    const ::testing::TestParamInfo<EveryTargetTest::ParamType>& info) {
  std::string name = std::get<0>(info.param) + "_" + std::get<1>(info.param);
  for (char& c : name) {
    if (c == '-' || c == '.') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryTargetTest,
    ::testing::Combine(::testing::ValuesIn(TargetNames()),
                       ::testing::ValuesIn(model::ConfigNames())),
    NameOf);

}  // namespace
}  // namespace mkvm::scheduler
