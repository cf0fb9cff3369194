// What `mkvm bench` launches, on the CPU machine.
#include "cli/bench_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "vm/cpu_machine.h"

namespace mkvm::cli {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class BenchMachineTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<model::Config> config = model::FindConfig("qwen3-tiny");
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = *config;
    weights_ = model::MakeSynthetic(config_, 1);
  }

  // For a GPU's target: many workers, tags, panels.
  isa::Program Compile() {
    scheduler::CompileOptions options;
    options.max_context = 64;
    absl::StatusOr<isa::Program> program =
        scheduler::Compile(config_, *scheduler::FindTarget("h200"), options);
    EXPECT_TRUE(program.ok()) << program.status();
    return program.ok() ? *program : isa::Program();
  }

  BenchMachine MakeMachine(isa::Program program, bool checking) {
    vm::CpuMachineOptions options;
    options.check_races = checking;
    absl::StatusOr<std::unique_ptr<vm::Machine>> machine =
        vm::CreateCpuMachine(std::move(program), options);
    EXPECT_TRUE(machine.ok()) << machine.status();
    absl::StatusOr<BenchMachine> bench =
        BenchMachine::Create(*std::move(machine), weights_);
    EXPECT_TRUE(bench.ok()) << bench.status();
    return *std::move(bench);
  }

  static std::vector<int32_t> Tokens(BenchMachine& machine,
                                     const BenchTest& test, int64_t passes) {
    const absl::StatusOr<Launched> launched = machine.Launch(test, passes);
    EXPECT_TRUE(launched.ok()) << launched.status();
    return launched.ok() ? launched->tokens : std::vector<int32_t>();
  }

  model::Config config_;
  std::shared_ptr<model::Weights> weights_;
};

TEST_F(BenchMachineTest, LaunchesFromADepthAndInParts) {
  BenchMachine machine = MakeMachine(Compile(), false);
  constexpr BenchTest kGenerate = {BenchKind::kGenerate, 20, 30};
  const std::vector<int32_t> all = Tokens(machine, kGenerate, 20);
  ASSERT_THAT(all, SizeIs(20));
  const std::vector<int32_t> part = Tokens(machine, kGenerate, 5);
  EXPECT_EQ(part, std::vector<int32_t>(all.begin(), all.begin() + 5));
  EXPECT_EQ(Tokens(machine, kGenerate, 20), all);

  constexpr BenchTest kPrompt = {BenchKind::kPrompt, 12, 8};
  EXPECT_THAT(Tokens(machine, kPrompt, 12), SizeIs(1));
  EXPECT_THAT(Tokens(machine, kPrompt, 4), SizeIs(0));
  // The token after a prompt is the one that generating from its last
  // position gives.
  const std::vector<int32_t> after =
      Tokens(machine, {BenchKind::kFirstToken, 12, 0}, 12);
  EXPECT_EQ(after, Tokens(machine, {BenchKind::kGenerate, 1, 11}, 1));
}

TEST_F(BenchMachineTest, TimesTheFirstTokenWithinTheLaunch) {
  BenchMachine machine = MakeMachine(Compile(), false);
  const absl::StatusOr<Launched> launched =
      machine.Launch({BenchKind::kFirstToken, 40, 0}, 40);
  ASSERT_TRUE(launched.ok()) << launched.status();
  EXPECT_GT(launched->first_token_seconds, 0);
  // The last pass gives it: before that there is nothing to hand out.
  EXPECT_GT(launched->first_token_seconds, launched->seconds / 2);
}

TEST_F(BenchMachineTest, SaysThatAProgramIsTooShort) {
  BenchMachine machine = MakeMachine(Compile(), false);
  const absl::StatusOr<Launched> launched =
      machine.Launch({BenchKind::kPrompt, 70, 0}, 70);
  EXPECT_THAT(launched.status().message(), HasSubstr("70 tokens do not fit"));
}

TEST_F(BenchMachineTest, BytesAreWeightsAndKv) {
  const isa::Program program = Compile();
  const uint64_t weights = WeightBytesPerToken(program);
  // The embedding is the LM head; norms are not counted.
  EXPECT_LT(weights, weights_->total_bytes());
  EXPECT_GT(weights, weights_->total_bytes() * 99 / 100);
  // A position: two layers, two heads of 128, k and v, bf16. Three passes from
  // position 9 on read 10, 11 and 12 of them.
  EXPECT_DOUBLE_EQ(BytesPerToken(program, {BenchKind::kGenerate, 3, 9}),
                   static_cast<double>(weights) + 11 * 2 * 2 * 2 * 128 * 2);
}

TEST_F(BenchMachineTest, TheReferenceDiffersFromWhatIsMeasured) {
  const isa::Program program = Compile();
  const Device cpu;
  const auto reference = MakeReference(program, "tagged", cpu, 2);
  ASSERT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(reference->name, "counters and 1 thread");
  EXPECT_EQ(reference->threads, 1);
  EXPECT_NE(isa::SerializeProgram(reference->program),
            isa::SerializeProgram(program));
  Device gpu;
  gpu.gpu = 0;
  const auto other = MakeReference(program, "counters", gpu, 0);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->name, "tagged");
  gpu.ablations.no_prefetch = true;
  const auto whole = MakeReference(program, "counters", gpu, 0);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->name, "tagged and nothing left out");
  EXPECT_FALSE(whole->device.ablations.no_prefetch);
  EXPECT_EQ(isa::SerializeProgram(other->program),
            isa::SerializeProgram(program));
}

// What `bench` does on a GPU, the GPU's part played by threads.
TEST_F(BenchMachineTest, AProgramForAGpuRunsOnTheCheckingMachine) {
  const isa::Program program = Compile();
  BenchMachine threads = MakeMachine(program, false);
  BenchMachine checking = MakeMachine(program, true);
  constexpr BenchTest kTest = {BenchKind::kGenerate, 24, 0};
  EXPECT_EQ(Tokens(threads, kTest, 24), Tokens(checking, kTest, 24));
}

TEST_F(BenchMachineTest, ThisMachineAgreesWithTheCheckingOne) {
  const absl::Status status = CompareWithCheckingMachine(Device(), "tagged", 2);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace mkvm::cli
