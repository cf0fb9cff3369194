// A layer of the geometry that the kernel's direct bodies are made for, at
// positions where attention works alone, has splits without positions, or has
// several parts a split; part of gpu_machine_test. Every test is named Gpu* and
// skips where there is no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "isa/f24.h"
#include "isa/verifier.h"
#include "model/weights.h"
#include "scheduler/compile.h"
#include "tests/vm/test_program.h"
#include "tests/vm/trace_checks.h"
#include "vm/gpu_machine.h"

namespace mkvm::vm {
namespace {

constexpr uint32_t kContext = 2304;

// One layer of Qwen3-0.6B, and few tokens to choose from.
model::Config LayerConfig() {
  model::Config config = *model::FindConfig("qwen3-0.6b");
  config.num_layers = 1;
  config.vocab_size = 2048;
  return config;
}

class GpuLayerTest : public ::testing::Test {
 protected:
  GpuLayerTest()
      : config_(LayerConfig()),
        weights_(model::MakeSynthetic(config_, 7)),
        rope_(model::RopeTable(config_, kContext)) {
    scheduler::CompileOptions options;
    options.max_context = kContext;
    options.logits = true;
    absl::StatusOr<isa::Program> program =
        scheduler::Compile(config_, *scheduler::FindTarget("h200"), options);
    EXPECT_TRUE(program.ok()) << program.status();
    if (program.ok()) program_ = *std::move(program);
    EXPECT_TRUE(isa::VerifyStatus(program_).ok());
  }
  void SetUp() override {
    const absl::StatusOr<GpuInfo> info = QueryGpu(0);
    if (!info.ok()) GTEST_SKIP() << "no GPU: " << info.status().message();
  }

  static std::unique_ptr<Machine> MakeGpu(const isa::Program& program) {
    absl::StatusOr<std::unique_ptr<Machine>> machine =
        CreateGpuMachine(program);
    EXPECT_TRUE(machine.ok()) << machine.status();
    return machine.ok() ? *std::move(machine) : nullptr;
  }

  struct Outcome {
    std::vector<int32_t> tokens;
    std::vector<float> logits;  // of the last pass
    std::optional<trace::Trace> trace;
  };
  // The passes at positions [first, first + passes), after made-up rows.
  Outcome Run(Machine& machine, int32_t first, int32_t passes,
              bool traced = false) {
    Bind(machine, first, first + passes);
    Outcome outcome;
    RunOptions options;
    options.first_position = first;
    options.max_passes = passes;
    options.on_token = [&](int64_t, int32_t token) {
      outcome.tokens.push_back(token);
    };
    if (traced) options.trace.emplace();
    absl::StatusOr<RunResult> result = machine.Run(options);
    EXPECT_TRUE(result.ok()) << result.status();
    outcome.logits = ReadFloats(machine, "logits");
    if (result.ok()) outcome.trace = std::move(result->trace);
    return outcome;
  }

  isa::Program program_;

 private:
  void Bind(Machine& machine, int32_t first, int32_t end) {
    for (const std::string& name : weights_->names()) {
      const absl::StatusOr<model::Tensor> tensor = weights_->Get(name);
      ASSERT_TRUE(tensor.ok()) << tensor.status();
      BindBf16(machine, name, tensor->shape, tensor->data);
    }
    std::minstd_rand random(5);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (const isa::Buffer& buffer : program_.buffers) {
      if (buffer.kind != isa::BufferKind::kState ||
          buffer.dtype != isa::DType::kBf16) {
        continue;
      }
      std::vector<uint16_t> rows(isa::NumElements(buffer));
      for (uint16_t& value : rows) {
        value = isa::Bf16BitsOfFloat(uniform(random));
      }
      BindBf16(machine, buffer.name, buffer.shape, rows.data());
    }
    const absl::Status status = machine.Bind(
        "rope.cos_sin",
        {isa::DType::kF32, {kContext, config_.head_dim}, rope_.data()});
    ASSERT_TRUE(status.ok()) << status;
    std::vector<int32_t> tokens(kContext + 1, 3);
    BindInts(machine, "tokens", tokens);
    BindInts(machine, "run", {1, end});
    BindInts(machine, "eos", std::vector<int32_t>(8, -1));
    ASSERT_LT(first, end);
  }
  static void BindBf16(Machine& machine, const std::string& name,
                       const std::vector<uint64_t>& shape, const void* data) {
    const absl::Status status =
        machine.Bind(name, {isa::DType::kBf16, shape, data});
    ASSERT_TRUE(status.ok()) << status;
  }

  const model::Config config_;
  const std::unique_ptr<model::Weights> weights_;
  const std::vector<float> rope_;
};

void ExpectSame(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST_F(GpuLayerTest, GpuDecodesAsTheCpuDoes) {
  std::unique_ptr<Machine> gpu = MakeGpu(program_);
  ASSERT_NE(gpu, nullptr);
  std::unique_ptr<Machine> cpu = MakeMachine(program_);
  // The last alone and the first with a merge; two and three parts a split.
  std::vector<int32_t> positions = {63, 1025};
  if (!GpuIsEmulated()) positions = {0, 63, 639, 1025, 2100};
  for (const int32_t first : positions) {
    SCOPED_TRACE(absl::StrCat("position ", first));
    const Outcome on_gpu = Run(*gpu, first, 2);
    const Outcome on_cpu = Run(*cpu, first, 2);
    EXPECT_EQ(on_gpu.tokens.size(), 2u);
    EXPECT_EQ(on_gpu.tokens, on_cpu.tokens);
    EXPECT_LT(RelativeError(on_gpu.logits, on_cpu.logits), 1e-3);
  }
}

TEST_F(GpuLayerTest, GpuGivesTheSameBitsTracedAndOnCounters) {
  constexpr int32_t kFirst = 319;
  constexpr int32_t kPasses = 2;  // the second begins a block
  std::unique_ptr<Machine> tagged = MakeGpu(program_);
  ASSERT_NE(tagged, nullptr);
  const Outcome expected = Run(*tagged, kFirst, kPasses);
  const Outcome traced = Run(*tagged, kFirst, kPasses, /*traced=*/true);
  EXPECT_EQ(traced.tokens, expected.tokens);
  ExpectSame(traced.logits, expected.logits);
  ASSERT_TRUE(traced.trace.has_value());
  ExpectComplete(*traced.trace, 0, kPasses);
  if (!GpuIsEmulated()) {
    ExpectOrdered(*traced.trace,
                  static_cast<trace::Nanos>(traced.trace->skew_ns) + 50);
  }
  std::unique_ptr<Machine> counters = MakeGpu(isa::WithCountersOnly(program_));
  ASSERT_NE(counters, nullptr);
  const Outcome counted = Run(*counters, kFirst, kPasses);
  EXPECT_EQ(counted.tokens, expected.tokens);
  ExpectSame(counted.logits, expected.logits);
}

}  // namespace
}  // namespace mkvm::vm
