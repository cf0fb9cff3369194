// The GPU machine with design choices switched off: the same tokens and bits.
// Every test is named Gpu* and skips where there is no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "isa/verifier.h"
#include "model/weights.h"
#include "scheduler/compile.h"
#include "tests/vm/test_program.h"
#include "vm/gpu_machine.h"

namespace mkvm::vm {
namespace {

using ::testing::HasSubstr;

struct Named {
  std::string name;
  GpuAblations ablations;
};

std::vector<Named> AllAblations() {
  std::vector<Named> all;
  all.push_back({"none", {}});
  all.push_back({"no_prefetch", {.no_prefetch = true}});
  for (const uint32_t depth : {1u, 2u, 5u, 8u}) {
    all.push_back(
        {"fetch_depth " + std::to_string(depth), {.fetch_depth = depth}});
  }
  all.push_back(
      {"no_prefetch, fetch_depth 1", {.no_prefetch = true, .fetch_depth = 1}});
  all.push_back({"launch_per_pass", {.launch_per_pass = true}});
  all.push_back({"launch_per_pass, no_prefetch",
                 {.no_prefetch = true, .launch_per_pass = true}});
  all.push_back({"launch_per_op", {.launch_per_op = true}});
  all.push_back(
      {"launch_per_op, no_prefetch, fetch_depth 2",
       {.no_prefetch = true, .fetch_depth = 2, .launch_per_op = true}});
  return all;
}

class GpuAblationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<GpuInfo> info = QueryGpu(0);
    if (!info.ok()) GTEST_SKIP() << "no GPU: " << info.status().message();
  }
};

std::unique_ptr<Machine> MakeGpu(const isa::Program& program,
                                 const GpuAblations& ablations) {
  absl::StatusOr<std::unique_ptr<Machine>> machine =
      CreateGpuMachine(program, {.ablations = ablations});
  EXPECT_TRUE(machine.ok()) << machine.status();
  return machine.ok() ? *std::move(machine) : nullptr;
}

isa::Program PackedCountingProgram(uint32_t workers) {
  isa::Program program = CountingProgram(workers);
  for (isa::Buffer& buffer : program.buffers) {
    if (buffer.dtype == isa::DType::kBf16 && buffer.shape.size() == 2) {
      buffer.layout = isa::Layout::kPanels;
    }
  }
  return program;
}

TEST_F(GpuAblationsTest, GpuCountsInOrder) {
  for (const Named& named : AllAblations()) {
    SCOPED_TRACE(named.name);
    std::unique_ptr<Machine> machine =
        MakeGpu(PackedCountingProgram(8), named.ablations);
    ASSERT_NE(machine, nullptr);
    // Twice: nothing of the first run is left.
    for (const int32_t first : {5, 9}) {
      const int32_t end = GpuPasses(500);
      BindCounting(*machine, first, end);
      std::vector<std::pair<int64_t, int32_t>> tokens;
      RunOptions options;
      options.max_passes = 1000;
      options.on_token = [&](int64_t position, int32_t token) {
        tokens.emplace_back(position, token);
      };
      const absl::StatusOr<RunResult> result = machine->Run(options);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->passes, end);
      ASSERT_EQ(tokens.size(), static_cast<size_t>(end));
      for (size_t i = 0; i < tokens.size(); ++i) {
        ASSERT_EQ(tokens[i].first, static_cast<int64_t>(i) + 1);
        ASSERT_EQ(tokens[i].second, static_cast<int32_t>((first + i + 1) % 64));
      }
    }
  }
}

TEST_F(GpuAblationsTest, GpuStopsAtTheEndOfTheTextOrThePassLimit) {
  for (const Named& named : AllAblations()) {
    SCOPED_TRACE(named.name);
    std::unique_ptr<Machine> machine =
        MakeGpu(PackedCountingProgram(4), named.ablations);
    ASSERT_NE(machine, nullptr);
    // 1: a single pass; 3, 4, 5: around what is launched ahead.
    for (const int64_t limit : {1, 3, 4, 5, 6, 7, 1000}) {
      BindCounting(*machine, /*first=*/5, /*end=*/500, /*eos=*/11);
      RunOptions options;
      options.max_passes = limit;
      const absl::StatusOr<RunResult> result = machine->Run(options);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->passes, std::min<int64_t>(limit, 6));
    }
  }
}

// Every worker runs every pass, the last one too, and a lagged wait is for the
// pass before.
TEST_F(GpuAblationsTest, GpuAccumulates) {
  for (const Named& named : AllAblations()) {
    SCOPED_TRACE(named.name);
    const isa::Program program = AccumulatingProgram();
    std::unique_ptr<Machine> gpu = MakeGpu(program, named.ablations);
    ASSERT_NE(gpu, nullptr);
    std::unique_ptr<Machine> cpu = MakeMachine(program);
    RunOptions options;
    options.max_passes = 37;
    for (Machine* machine : {gpu.get(), cpu.get()}) {
      BindFloats(
          *machine, "c",
          std::vector<float>(
              isa::NumElements(program.buffers[isa::FindBuffer(program, "c")]),
              0.5f));
      const absl::StatusOr<RunResult> result = machine->Run(options);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->passes, 37);
    }
    EXPECT_EQ(ReadFloats(*gpu, "sum"), ReadFloats(*cpu, "sum"));
  }
}

TEST_F(GpuAblationsTest, GpuReportsFaultsAndRunsAgain) {
  for (const Named& named : AllAblations()) {
    SCOPED_TRACE(named.name);
    std::unique_ptr<Machine> machine =
        MakeGpu(PackedCountingProgram(4), named.ablations);
    ASSERT_NE(machine, nullptr);
    BindCounting(*machine, 5, 500);
    BindFloats(*machine, "norm",
               std::vector<float>(kVocabulary,
                                  std::numeric_limits<float>::quiet_NaN()));
    RunOptions options;
    options.max_passes = 10;
    EXPECT_THAT(std::string(machine->Run(options).status().message()),
                HasSubstr("the best score at position 0 is NaN"));
    BindCounting(*machine, 5, 500);
    const absl::StatusOr<RunResult> result = machine->Run(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->passes, 10);
  }
}

TEST_F(GpuAblationsTest, GpuRefusesWhatCannotBe) {
  const auto error_of = [](const GpuAblations& ablations) {
    const absl::Status status =
        CreateGpuMachine(PackedCountingProgram(4), {.ablations = ablations})
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error_of({.launch_per_pass = true, .launch_per_op = true}),
              HasSubstr("launch_per_pass and launch_per_op"));
  EXPECT_THAT(error_of({.fetch_depth = 0}), HasSubstr("fetch_depth is 0"));
  EXPECT_THAT(error_of({.fetch_depth = 1000}),
              HasSubstr("fetch_depth is 1000"));
  // launch_per_op on a program whose waits nothing meets.
  isa::Program stuck = PackedCountingProgram(4);
  Labelled(stuck, "mix[2]").signal = isa::kNoCounter;
  EXPECT_THAT(std::string(CreateGpuMachine(
                              stuck, {.ablations = {.launch_per_op = true}})
                              .status()
                              .message()),
              HasSubstr("waits for counter h"));
}

TEST_F(GpuAblationsTest, GpuRefusesToTraceThem) {
  for (const Named& named : AllAblations()) {
    SCOPED_TRACE(named.name);
    std::unique_ptr<Machine> machine =
        MakeGpu(PackedCountingProgram(4), named.ablations);
    ASSERT_NE(machine, nullptr);
    BindCounting(*machine, 5, 500);
    RunOptions options;
    options.max_passes = 2;
    options.trace = TraceOptions();
    EXPECT_EQ(machine->Run(options).status().code(),
              named.name == "none" ? absl::StatusCode::kOk
                                   : absl::StatusCode::kUnimplemented);
    // The machine is none the worse for it.
    options.trace.reset();
    EXPECT_TRUE(machine->Run(options).ok());
  }
}

// ---- a whole model ----------------------------------------------------------

constexpr uint32_t kContext = 160;

struct Generated {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // of the last pass
};

Generated Generate(model::Weights& weights, Machine& machine) {
  const int32_t passes = GpuPasses(120);
  for (const std::string& name : weights.names()) {
    const absl::StatusOr<model::Tensor> tensor = weights.Get(name);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    const absl::Status status =
        machine.Bind(name, {isa::DType::kBf16, tensor->shape, tensor->data});
    EXPECT_TRUE(status.ok()) << status;
  }
  const std::vector<float> rope = model::RopeTable(weights.config(), kContext);
  const absl::Status status = machine.Bind(
      "rope.cos_sin",
      {isa::DType::kF32, {kContext, weights.config().head_dim}, rope.data()});
  EXPECT_TRUE(status.ok()) << status;
  std::vector<int32_t> tokens(kContext + 1, 0);
  tokens[0] = 3;
  tokens[1] = 141;
  BindInts(machine, "tokens", tokens);
  BindInts(machine, "run", {2, passes});
  BindInts(machine, "eos", std::vector<int32_t>(8, -1));
  Generated generated;
  RunOptions options;
  options.max_passes = passes;
  options.on_token = [&](int64_t, int32_t token) {
    generated.tokens.push_back(token);
  };
  const absl::StatusOr<RunResult> result = machine.Run(options);
  EXPECT_TRUE(result.ok()) << result.status();
  generated.logits = ReadFloats(machine, "logits");
  return generated;
}

TEST_F(GpuAblationsTest, GpuGivesTheSameBitsOfAModel) {
  const model::Config config = *model::FindConfig("qwen3-tiny");
  const std::unique_ptr<model::Weights> weights =
      model::MakeSynthetic(config, 7);
  for (const bool fuse : {true, false}) {
    if (!fuse && GpuIsEmulated()) continue;
    scheduler::Target target = *scheduler::FindTarget("h200");
    target.workers = GpuWorkers(target.workers);
    const isa::Program tagged = *scheduler::Compile(
        config, target,
        {.max_context = kContext, .logits = true, .fuse = fuse, .kv_block = 8});
    ASSERT_TRUE(isa::VerifyStatus(tagged).ok());
    for (const isa::Program& program :
         {tagged, isa::WithCountersOnly(tagged)}) {
      Generated expected;
      for (const Named& named : AllAblations()) {
        SCOPED_TRACE(named.name);
        std::unique_ptr<Machine> machine = MakeGpu(program, named.ablations);
        ASSERT_NE(machine, nullptr);
        const Generated seen = Generate(*weights, *machine);
        if (expected.tokens.empty()) expected = seen;
        EXPECT_EQ(seen.tokens, expected.tokens);
        EXPECT_EQ(std::memcmp(seen.logits.data(), expected.logits.data(),
                              expected.logits.size() * sizeof(float)),
                  0);
      }
      EXPECT_FALSE(expected.tokens.empty());
    }
  }
}

}  // namespace
}  // namespace mkvm::vm
