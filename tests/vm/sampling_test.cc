// vm::SamplingOptions on the CPU machine, with compiled programs.
#include "vm/sampling.h"

#include <cmath>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/weights.h"
#include "scheduler/compile.h"
#include "vm/cpu_machine.h"

namespace mkvm::vm {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Lt;

constexpr int64_t kPrompt = 3;
constexpr int64_t kGenerated = 12;

model::Config Tiny() { return model::FindConfig("qwen3-tiny").value(); }

// A machine with a program of the tiny geometry, everything bound.
class Machines {
 public:
  explicit Machines(uint32_t workers, bool sampling = true,
                    bool check_races = false)
      : weights_(model::MakeSynthetic(Tiny(), 3)),
        rope_(model::RopeTable(Tiny(), 64)) {
    scheduler::Target target = scheduler::CpuTarget(workers);
    scheduler::CompileOptions options;
    options.max_context = 64;
    options.sampling = sampling;
    options.logprobs = sampling ? 4 : 0;
    absl::StatusOr<isa::Program> program =
        scheduler::Compile(Tiny(), target, options);
    EXPECT_TRUE(program.ok()) << program.status();
    CpuMachineOptions machine_options;
    machine_options.threads = 2;
    machine_options.check_races = check_races;
    machine_ = CreateCpuMachine(*std::move(program), machine_options).value();
    for (const std::string& name : weights_->names()) {
      const model::Tensor tensor = weights_->Get(name).value();
      Bind(name,
           tensor.type == model::TensorType::kBf16 ? isa::DType::kBf16
                                                   : isa::DType::kF32,
           tensor.shape, tensor.data);
    }
    Bind("rope.cos_sin", isa::DType::kF32, {64, Tiny().head_dim}, rope_.data());
    const std::vector<int32_t> eos(8, -1);
    Bind("eos", isa::DType::kI32, {8}, eos.data());
    const int32_t run[2] = {kPrompt, kPrompt + kGenerated - 1};
    Bind("run", isa::DType::kI32, {2}, run);
  }

  Machine& machine() { return *machine_; }

  std::vector<int32_t> Generate() {
    std::vector<int32_t> tokens(65, 0);
    tokens[0] = 5;
    tokens[1] = 17;
    tokens[2] = 3;
    Bind("tokens", isa::DType::kI32, {65}, tokens.data());
    EXPECT_TRUE(SetTokenCounts(*machine_, {5, 17, 3}, {}).ok() ||
                !CanSample(machine_->program()));
    std::vector<int32_t> generated;
    RunOptions run;
    run.max_passes = 60;
    run.on_token = [&](int64_t, int32_t token) { generated.push_back(token); };
    const absl::StatusOr<RunResult> result = machine_->Run(run);
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(generated.size(), static_cast<size_t>(kGenerated));
    return generated;
  }
  std::vector<int32_t> Generate(const SamplingOptions& options) {
    const absl::Status set = SetSampling(*machine_, options);
    EXPECT_TRUE(set.ok()) << set;
    return Generate();
  }

 private:
  void Bind(absl::string_view name, isa::DType dtype,
            std::vector<uint64_t> shape, const void* data) {
    const absl::Status status =
        machine_->Bind(name, {dtype, std::move(shape), data});
    EXPECT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<model::Weights> weights_;
  std::vector<float> rope_;
  std::unique_ptr<Machine> machine_;
};

TEST(SamplingTest, TemperatureZeroIsTheArgmaxProgram) {
  const std::vector<int32_t> argmax = Machines(2, false).Generate();
  for (const uint32_t workers : {1, 3}) {
    EXPECT_EQ(Machines(workers).Generate({.temperature = 0}), argmax);
  }
}

TEST(SamplingTest, ASeedGivesTheSameTokensWhateverTheWorkers) {
  const SamplingOptions options = {
      .temperature = 0.9f, .top_k = 30, .top_p = 0.9f, .seed = 11};
  const std::vector<int32_t> tokens = Machines(2).Generate(options);
  EXPECT_EQ(Machines(2).Generate(options), tokens);
  EXPECT_EQ(Machines(5).Generate(options), tokens);
  SamplingOptions other = options;
  other.seed = 12;
  EXPECT_NE(Machines(2).Generate(other), tokens);
}

TEST(SamplingTest, HasNoRaces) {
  Machines checked(3, true, true);
  Machines plain(3);
  const SamplingOptions options = {
      .top_k = 5, .repetition_penalty = 1.2f, .logprobs = 2};
  EXPECT_EQ(checked.Generate(options), plain.Generate(options));
}

TEST(SamplingTest, NothingBeyondTheLimitIsChosen) {
  Machines machines(2);
  EXPECT_THAT(machines.Generate({.temperature = 5, .token_limit = 40}),
              Each(Lt(40)));
}

TEST(SamplingTest, PenaltiesEndRepetition) {
  Machines machines(2);
  const std::vector<int32_t> tokens =
      machines.Generate({.temperature = 0, .presence_penalty = 100});
  std::vector<int32_t> sorted = tokens;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end())
      << "a token came twice";
}

TEST(SamplingTest, LogprobsAreReadBack) {
  Machines machines(2);
  const std::vector<int32_t> tokens =
      machines.Generate({.temperature = 0, .logprobs = 4});
  const auto logprobs =
      ReadLogprobs(machines.machine(), kPrompt, kPrompt + kGenerated);
  ASSERT_TRUE(logprobs.ok()) << logprobs.status();
  ASSERT_EQ(logprobs->size(), tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const PositionLogprobs& at = (*logprobs)[i];
    EXPECT_EQ(at.chosen.token, tokens[i]);
    EXPECT_EQ(at.top[0].token, tokens[i]);
    EXPECT_EQ(at.top[0].logprob, at.chosen.logprob);
    ASSERT_EQ(at.top.size(), 4u);
    double mass = 0;
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_LE(at.top[k].logprob, at.top[k > 0 ? k - 1 : 0].logprob);
      mass += std::exp(at.top[k].logprob);
    }
    EXPECT_GT(mass, 0);
    EXPECT_LE(mass, 1 + 1e-5);
  }
  EXPECT_THAT(ReadLogprobs(machines.machine(), 5, 100).status().message(),
              HasSubstr("no logprobs of positions [5, 100)"));
}

TEST(SamplingTest, WrongOptionsAreNamed) {
  const auto message = [](const SamplingOptions& options) {
    return std::string(CheckSampling(options).message());
  };
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.temperature = -1}), "temperature is -1, not 0 or more");
  EXPECT_THAT(message({.temperature = NAN}), HasSubstr("temperature is nan"));
  EXPECT_EQ(message({.top_k = -5}), "top_k is -5, not 0 or more");
  EXPECT_EQ(message({.top_p = 0}), "top_p is 0, not in (0, 1]");
  EXPECT_EQ(message({.top_p = 1.5f}), "top_p is 1.5, not in (0, 1]");
  EXPECT_EQ(message({.min_p = 1}), "min_p is 1, not in [0, 1)");
  EXPECT_EQ(message({.repetition_penalty = 0}),
            "repetition_penalty is 0, not above 0");
  EXPECT_THAT(message({.presence_penalty = INFINITY}),
              HasSubstr("presence_penalty is inf"));
  EXPECT_THAT(message({.frequency_penalty = NAN}),
              HasSubstr("frequency_penalty is nan"));
  EXPECT_THAT(message({.token_limit = -1}), HasSubstr("token_limit is -1"));
  EXPECT_THAT(message({.logprobs = -2}), HasSubstr("logprobs is -2"));
}

TEST(SamplingTest, WhatAProgramCantDoIsSaid) {
  Machines greedy(2, false);
  EXPECT_FALSE(CanSample(greedy.machine().program()));
  EXPECT_EQ(MaxLogprobs(greedy.machine().program()), -1);
  EXPECT_THAT(SetSampling(greedy.machine(), {}).message(),
              HasSubstr("compile it with --sampling"));
  Machines sampling(2);
  EXPECT_EQ(MaxLogprobs(sampling.machine().program()), 4);
  EXPECT_THAT(SetSampling(sampling.machine(), {.logprobs = 5}).message(),
              HasSubstr("compile it with --logprobs=5"));
  EXPECT_THAT(SetTokenCounts(sampling.machine(), {1 << 30}, {}).message(),
              HasSubstr("outside the vocabulary"));
}

}  // namespace
}  // namespace mkvm::vm
