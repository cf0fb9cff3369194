// Compiled programs on the CPU machine, against an oracle that knows nothing of
// programs, and against each other.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "model/weights.h"
#include "tests/scheduler/naive_qwen3.h"
#include "tests/scheduler/testing.h"
#include "vm/cpu_machine.h"

namespace mkvm::scheduler {
namespace {

const std::vector<int32_t> kTokens = {17, 202, 0,  5,  99, 17, 17, 64, 131,
                                      8,  150, 77, 31, 30, 29, 2,  1,  111};

// Binds everything that a decode program needs.
absl::Status BindAll(vm::Machine& machine, model::Weights& weights,
                     const std::vector<float>& rope,
                     const std::vector<int32_t>& prompt, int32_t end) {
  for (const std::string& name : weights.names()) {
    const absl::StatusOr<model::Tensor> tensor = weights.Get(name);
    if (!tensor.ok()) return tensor.status();
    const isa::DType dtype = tensor->type == model::TensorType::kBf16
                                 ? isa::DType::kBf16
                                 : isa::DType::kF32;
    absl::Status status =
        machine.Bind(name, {dtype, tensor->shape, tensor->data});
    if (!status.ok()) return status;
  }
  const auto bind = [&](const char* name, isa::DType dtype, const void* data) {
    const isa::Buffer* buffer = BufferNamed(machine.program(), name);
    return machine.Bind(name, {dtype, buffer->shape, data});
  };
  std::vector<int32_t> tokens(
      isa::NumElements(*BufferNamed(machine.program(), "tokens")), 0);
  std::copy(prompt.begin(), prompt.end(), tokens.begin());
  const int32_t run[2] = {static_cast<int32_t>(prompt.size()), end};
  const int32_t eos[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
  absl::Status status = bind("rope.cos_sin", isa::DType::kF32, rope.data());
  if (status.ok()) status = bind("tokens", isa::DType::kI32, tokens.data());
  if (status.ok()) status = bind("run", isa::DType::kI32, run);
  if (status.ok()) status = bind("eos", isa::DType::kI32, eos);
  return status;
}

using Logits = std::vector<std::vector<double>>;  // per position

// Blocks so small that kTokens goes past the first.
CompileOptions SmallBlocks() {
  CompileOptions options;
  options.kv_block = 8;
  return options;
}

struct RunSetup {
  uint32_t workers = 3;
  CompileOptions options = SmallBlocks();
  vm::CpuMachineOptions machine;
  bool panels = true;
  bool tagged = true;
};

// Teacher-forced logits of kTokens.
Logits Score(const model::Config& config, model::Weights& weights,
             RunSetup setup) {
  setup.options.logits = true;
  Target target = TestTarget(setup.workers, setup.panels);
  target.tagged = setup.tagged;
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine = vm::CreateCpuMachine(
      MustCompile(config, target, setup.options), setup.machine);
  EXPECT_TRUE(machine.ok()) << machine.status();
  if (!machine.ok()) return {};
  const std::vector<float> rope =
      model::RopeTable(config, config.max_positions);
  const absl::Status bound =
      BindAll(**machine, weights, rope, kTokens,
              static_cast<int32_t>(config.max_positions));
  EXPECT_TRUE(bound.ok()) << bound;
  Logits all;
  std::vector<float> logits(config.vocab_size);
  for (size_t p = 0; p < kTokens.size(); ++p) {
    vm::RunOptions run;
    run.first_position = static_cast<int64_t>(p);
    const absl::StatusOr<vm::RunResult> result = (*machine)->Run(run);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    const absl::Status read = (*machine)->Read(
        "logits", absl::MakeSpan(reinterpret_cast<char*>(logits.data()),
                                 logits.size() * sizeof(float)));
    EXPECT_TRUE(read.ok()) << read;
    all.emplace_back(logits.begin(), logits.end());
  }
  return all;
}

// The largest difference, as a share of the largest logit of its position.
double Difference(const Logits& a, const Logits& b) {
  EXPECT_EQ(a.size(), kTokens.size());
  EXPECT_EQ(b.size(), kTokens.size());
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (size_t p = 0; p < a.size(); ++p) {
    double scale = 0;
    double difference = 0;
    for (size_t i = 0; i < a[p].size(); ++i) {
      if (std::isnan(a[p][i]) || std::isnan(b[p][i])) return INFINITY;
      scale = std::max(scale, std::abs(b[p][i]));
      difference = std::max(difference, std::abs(a[p][i] - b[p][i]));
    }
    worst = std::max(worst, difference / scale);
  }
  return worst;
}

class EndToEndTest : public ::testing::TestWithParam<bool> {
 protected:
  EndToEndTest() : config_(OddConfig()) {
    config_.tie_word_embeddings = GetParam();
    weights_ = model::MakeSynthetic(config_, 7);
  }

  Logits Score(const RunSetup& setup) {
    return scheduler::Score(config_, *weights_, setup);
  }

  model::Config config_;
  std::unique_ptr<model::Weights> weights_;
};

// A key or value that lies between two bf16 numbers may round the other way in
// another order of sums: 2^-8 of one element.
constexpr double kOracleTolerance = 3e-3;
constexpr double kVariantTolerance = 3e-3;

TEST_P(EndToEndTest, LogitsMatchTheOracle) {
  NaiveQwen3 naive(*weights_);
  Logits want;
  for (const int32_t token : kTokens) want.push_back(naive.Step(token));
  EXPECT_LT(Difference(Score({}), want), kOracleTolerance);
  // And the oracle can tell: another order of tokens gives other logits.
  std::swap(want[3], want[4]);
  EXPECT_GT(Difference(Score({}), want), 10 * kOracleTolerance);
}

// Where the work goes changes no bit: each row's sum is its own.
TEST_P(EndToEndTest, WorkersAndTargetsGiveTheSameBits) {
  const Logits base = Score({});
  RunSetup one;
  one.workers = 1;
  EXPECT_EQ(Difference(Score(one), base), 0.0);
  RunSetup many;
  many.workers = 16;
  many.options.split_kv = false;
  EXPECT_EQ(Difference(Score(many), base), 0.0);
  RunSetup rows;
  rows.panels = false;
  rows.tagged = false;
  EXPECT_EQ(Difference(Score(rows), base), 0.0);
}

TEST_P(EndToEndTest, SplitsAndFusionAgree) {
  const Logits base = Score({});
  RunSetup split;
  split.workers = 16;
  EXPECT_LT(Difference(Score(split), base), kVariantTolerance);
  RunSetup unfused;
  unfused.options.fuse = false;
  EXPECT_LT(Difference(Score(unfused), base), kVariantTolerance);
  unfused.workers = 16;
  EXPECT_LT(Difference(Score(unfused), base), kVariantTolerance);
  RunSetup small_blocks = split;
  small_blocks.options.kv_block = 1;
  EXPECT_LT(Difference(Score(small_blocks), base), kVariantTolerance);
  RunSetup short_context = split;
  short_context.options.max_context = kTokens.size();
  EXPECT_EQ(Difference(Score(short_context), Score(split)), 0.0);
}

// One part merged is that part, so that who attends changes no bit.
TEST_P(EndToEndTest, AttendingAloneGivesTheSameBits) {
  for (const bool tagged : {true, false}) {
    for (const uint32_t block : {1u, 4u, 8u, 64u}) {
      SCOPED_TRACE(testing::Message() << "block " << block);
      RunSetup alone;
      alone.workers = 16;
      alone.tagged = tagged;
      alone.options.kv_block = block;
      RunSetup merged = alone;
      merged.options.attend_alone = false;
      EXPECT_EQ(Difference(Score(alone), Score(merged)), 0.0);
    }
  }
}

TEST_P(EndToEndTest, TheCheckingMachineFindsNoRace) {
  for (const bool fuse : {true, false}) {
    for (const uint64_t seed : {1u, 2u, 3u}) {
      RunSetup setup;
      setup.workers = 16;
      setup.options.fuse = fuse;
      setup.machine.check_races = true;
      setup.machine.seed = seed;
      RunSetup plain = setup;
      plain.machine.check_races = false;
      EXPECT_EQ(Difference(Score(setup), Score(plain)), 0.0);
    }
  }
}

// The greedy tokens after `prompt` positions, up to position kEnd.
std::vector<int32_t> Generate(const model::Config& config,
                              model::Weights& weights, size_t prompt,
                              const CompileOptions& options,
                              const vm::CpuMachineOptions& machine_options) {
  constexpr int kEnd = 16;
  auto machine = vm::CreateCpuMachine(
      MustCompile(config, TestTarget(16), options), machine_options);
  EXPECT_TRUE(machine.ok()) << machine.status();
  if (!machine.ok()) return {};
  const std::vector<float> rope =
      model::RopeTable(config, config.max_positions);
  const std::vector<int32_t> tokens(kTokens.begin(), kTokens.begin() + prompt);
  EXPECT_TRUE(BindAll(**machine, weights, rope, tokens, kEnd).ok());
  std::vector<int32_t> generated;
  vm::RunOptions run;
  run.max_passes = 1000;
  run.on_token = [&](int64_t, int32_t token) { generated.push_back(token); };
  const absl::StatusOr<vm::RunResult> result = (*machine)->Run(run);
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(generated.size(), kEnd - prompt + 1);
  return generated;
}

// One run that begins below the position and ends above it.
TEST_P(EndToEndTest, ARunGoesOnWhereNobodyAttendsAlone) {
  constexpr uint32_t kAlone = 8;
  for (size_t prompt = kAlone - 2; prompt <= kAlone + 2; ++prompt) {
    SCOPED_TRACE(prompt);
    CompileOptions options;
    options.kv_block = kAlone;
    CompileOptions merged = options;
    merged.attend_alone = false;
    const auto tokens = Generate(config_, *weights_, prompt, merged, {});
    EXPECT_EQ(Generate(config_, *weights_, prompt, options, {}), tokens);
    for (const uint64_t seed : {1u, 2u, 3u}) {
      const vm::CpuMachineOptions checking = {.check_races = true,
                                              .seed = seed};
      EXPECT_EQ(Generate(config_, *weights_, prompt, options, checking),
                tokens);
    }
  }
}

// Many passes in one run: the loop on the machine feeds itself.
TEST_P(EndToEndTest, GreedyRunMatchesItsOwnLogits) {
  constexpr int kPrompt = 3;
  constexpr int kEnd = 24;
  const std::vector<int32_t> prompt(kTokens.begin(), kTokens.begin() + kPrompt);
  const std::vector<float> rope =
      model::RopeTable(config_, config_.max_positions);
  CompileOptions options = SmallBlocks();
  options.logits = true;
  auto machine =
      vm::CreateCpuMachine(MustCompile(config_, TestTarget(7), options));
  ASSERT_TRUE(machine.ok()) << machine.status();
  ASSERT_TRUE(BindAll(**machine, *weights_, rope, prompt, kEnd).ok());
  std::vector<int32_t> generated;
  vm::RunOptions run;
  run.max_passes = 1000;
  run.on_token = [&](int64_t position, int32_t token) {
    EXPECT_EQ(position, static_cast<int64_t>(kPrompt + generated.size()));
    generated.push_back(token);
  };
  absl::StatusOr<vm::RunResult> result = (*machine)->Run(run);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, kEnd);
  ASSERT_EQ(generated.size(), size_t{kEnd - kPrompt + 1});

  NaiveQwen3 naive(*weights_);
  std::vector<double> logits;
  for (const int32_t token : prompt) logits = naive.Step(token);
  for (const int32_t token : generated) {
    const double best = *std::max_element(logits.begin(), logits.end());
    double scale = 0;
    for (const double l : logits) scale = std::max(scale, std::abs(l));
    // Its choice is the best one, or as good within the error.
    EXPECT_GE(logits[token], best - 2 * kOracleTolerance * scale);
    logits = naive.Step(token);
  }
}

INSTANTIATE_TEST_SUITE_P(TiedAndUntied, EndToEndTest, ::testing::Bool());

}  // namespace
}  // namespace mkvm::scheduler
