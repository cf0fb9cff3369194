// The GPU machine: the loop, the watchdog, its errors, and whole models against
// the CPU machine. Every test is named Gpu* and skips where there is no GPU.
#include "vm/gpu_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/verifier.h"
#include "model/weights.h"
#include "scheduler/compile.h"
#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using ::testing::HasSubstr;

class GpuMachineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<GpuInfo> info = QueryGpu(0);
    if (!info.ok()) GTEST_SKIP() << "no GPU: " << info.status().message();
  }
};

std::unique_ptr<Machine> MakeGpu(const isa::Program& program) {
  absl::StatusOr<std::unique_ptr<Machine>> machine = CreateGpuMachine(program);
  EXPECT_TRUE(machine.ok()) << machine.status();
  return machine.ok() ? *std::move(machine) : nullptr;
}

// CountingProgram with its matrices as the GPU streams them.
isa::Program PackedCountingProgram(uint32_t workers) {
  isa::Program program = CountingProgram(workers);
  for (isa::Buffer& buffer : program.buffers) {
    if (buffer.dtype == isa::DType::kBf16 && buffer.shape.size() == 2) {
      buffer.layout = isa::Layout::kPanels;
    }
  }
  return program;
}

TEST_F(GpuMachineTest, GpuCountsAndStreamsTokensInOrder) {
  std::unique_ptr<Machine> machine = MakeGpu(PackedCountingProgram(8));
  ASSERT_NE(machine, nullptr);
  const int32_t end = GpuPasses(500);
  BindCounting(*machine, /*first=*/5, end);
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
    EXPECT_EQ(tokens[i].first, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(tokens[i].second, static_cast<int32_t>((5 + i + 1) % 64));
  }
}

TEST_F(GpuMachineTest, GpuStopsAtTheEndOfTheText) {
  std::unique_ptr<Machine> machine = MakeGpu(PackedCountingProgram(4));
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, /*first=*/5, /*end=*/500, /*eos=*/11);
  RunOptions options;
  options.max_passes = 1000;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, 6);
}

TEST_F(GpuMachineTest, GpuWatchdogNamesWorkerInstructionAndCounter) {
  isa::Program program = PackedCountingProgram(4);
  Labelled(program, "mix[2]").signal = isa::kNoCounter;
  std::unique_ptr<Machine> machine = MakeGpu(program);
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, 5, 500);
  RunOptions options;
  options.max_passes = 3;
  options.watchdog_seconds = 0.2;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(result.status().message()),
              ::testing::MatchesRegex(
                  "worker [0-3] waits in pass 0 at pc [0-9]+ "
                  "\\(norm\\[[0-3]\\], rms_norm\\) for counter h: 3 seen, 4 "
                  "wanted"));
  // The GPU is none the worse for it.
  std::unique_ptr<Machine> sound = MakeGpu(PackedCountingProgram(4));
  ASSERT_NE(sound, nullptr);
  BindCounting(*sound, 5, 50);
  options.max_passes = 100;
  EXPECT_TRUE(sound->Run(options).ok());
}

TEST_F(GpuMachineTest, GpuReportsNanScores) {
  std::unique_ptr<Machine> machine = MakeGpu(PackedCountingProgram(4));
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, 5, 500);
  BindFloats(
      *machine, "norm",
      std::vector<float>(kVocabulary, std::numeric_limits<float>::quiet_NaN()));
  RunOptions options;
  options.max_passes = 10;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("the best score at position 0 is NaN"));
}

TEST_F(GpuMachineTest, GpuReportsTokensOutsideTheTable) {
  std::unique_ptr<Machine> machine = MakeGpu(PackedCountingProgram(4));
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, /*first=*/64, 500);
  RunOptions options;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("token 64 is no row of the table, which has 64 rows"));
}

TEST_F(GpuMachineTest, GpuRefusesUnboundBuffers) {
  std::unique_ptr<Machine> machine = MakeGpu(PackedCountingProgram(4));
  ASSERT_NE(machine, nullptr);
  EXPECT_THAT(std::string(machine->Run({}).status().message()),
              HasSubstr("is not bound"));
}

TEST_F(GpuMachineTest, GpuRefusesMoreWorkersThanItHolds) {
  ProgramBuilder builder(5000);
  for (uint32_t w = 0; w < 5000; ++w) {
    builder.Add(w, "halt", isa::HaltOperands{});
  }
  const absl::Status status = CreateGpuMachine(builder.Build()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the program has 5000 workers"));
}

TEST_F(GpuMachineTest, GpuRefusesWeightsInRows) {
  const absl::Status status = CreateGpuMachine(CountingProgram(4)).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("is stored in rows"));
}

TEST_F(GpuMachineTest, GpuSaysHowMuchMemoryIsMissing) {
  ProgramBuilder builder(1);
  builder.State("huge", uint64_t{1} << 40);
  builder.Add(0, "halt", isa::HaltOperands{});
  const absl::Status status = CreateGpuMachine(builder.Build()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4398."));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--max_context"));
}

// ---- whole models ----------------------------------------------------------

constexpr uint32_t kContext = 300;

struct Decoder {
  model::Config config;
  std::unique_ptr<model::Weights> weights;
  std::vector<float> rope;  // the CPU machine may alias it, like the weights
  isa::Program program;
};

Decoder MakeDecoder(absl::string_view target_name, uint32_t most_workers,
                    bool fuse = true) {
  const uint32_t workers = GpuWorkers(most_workers);
  Decoder decoder;
  decoder.config = *model::FindConfig("qwen3-tiny");
  decoder.weights = model::MakeSynthetic(decoder.config, 7);
  decoder.rope = model::RopeTable(decoder.config, kContext);
  scheduler::Target target = *scheduler::FindTarget(target_name);
  target.workers = workers;
  scheduler::CompileOptions options;
  options.max_context = kContext;
  options.logits = true;
  options.fuse = fuse;
  absl::StatusOr<isa::Program> program =
      scheduler::Compile(decoder.config, target, options);
  EXPECT_TRUE(program.ok()) << program.status();
  if (program.ok()) decoder.program = *std::move(program);
  EXPECT_TRUE(isa::VerifyStatus(decoder.program).ok());
  return decoder;
}

void BindDecoder(Decoder& decoder, Machine& machine,
                 const std::vector<int32_t>& prompt, int32_t end) {
  for (const std::string& name : decoder.weights->names()) {
    const absl::StatusOr<model::Tensor> tensor = decoder.weights->Get(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    const absl::Status status =
        machine.Bind(name, {isa::DType::kBf16, tensor->shape, tensor->data});
    ASSERT_TRUE(status.ok()) << status;
  }
  const absl::Status status =
      machine.Bind("rope.cos_sin", {isa::DType::kF32,
                                    {kContext, decoder.config.head_dim},
                                    decoder.rope.data()});
  ASSERT_TRUE(status.ok()) << status;
  std::vector<int32_t> tokens(kContext + 1, 0);
  std::copy(prompt.begin(), prompt.end(), tokens.begin());
  BindInts(machine, "tokens", tokens);
  BindInts(machine, "run", {static_cast<int32_t>(prompt.size()), end});
  BindInts(machine, "eos", std::vector<int32_t>(8, -1));
}

struct Generated {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // of the last pass
};

Generated Generate(Decoder& decoder, Machine& machine, int32_t most_passes) {
  const int32_t passes = GpuPasses(most_passes);
  Generated generated;
  BindDecoder(decoder, machine, {3, 141, 59, 265, 35}, passes);
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

TEST_F(GpuMachineTest, GpuDecodesAsTheCpuDoes) {
  for (const bool fuse : {true, false}) {
    for (const uint32_t workers : {1u, 5u, 64u, 128u}) {
      SCOPED_TRACE(absl::StrCat("workers ", workers, " fuse ", fuse));
      Decoder decoder = MakeDecoder("h200", workers, fuse);
      std::unique_ptr<Machine> gpu = MakeGpu(decoder.program);
      ASSERT_NE(gpu, nullptr);
      const Generated on_gpu = Generate(decoder, *gpu, 150);
      std::unique_ptr<Machine> cpu = MakeMachine(decoder.program);
      const Generated on_cpu = Generate(decoder, *cpu, 150);
      EXPECT_EQ(on_gpu.tokens, on_cpu.tokens);
      EXPECT_LT(RelativeError(on_gpu.logits, on_cpu.logits), 1e-3);
    }
  }
}

TEST_F(GpuMachineTest, GpuGivesTheSameBitsAgainAndOnCounters) {
  Decoder decoder = MakeDecoder("h200", 128);
  std::unique_ptr<Machine> tagged = MakeGpu(decoder.program);
  ASSERT_NE(tagged, nullptr);
  const Generated first = Generate(decoder, *tagged, 280);
  const Generated again = Generate(decoder, *tagged, 280);
  std::unique_ptr<Machine> counters =
      MakeGpu(isa::WithCountersOnly(decoder.program));
  ASSERT_NE(counters, nullptr);
  const Generated on_counters = Generate(decoder, *counters, 280);
  EXPECT_EQ(first.tokens, again.tokens);
  EXPECT_EQ(first.tokens, on_counters.tokens);
  const size_t bytes = first.logits.size() * sizeof(float);
  EXPECT_EQ(std::memcmp(first.logits.data(), again.logits.data(), bytes), 0);
  EXPECT_EQ(std::memcmp(first.logits.data(), on_counters.logits.data(), bytes),
            0);
}

TEST_F(GpuMachineTest, GpuGivesTheSameBitsPassByPass) {
  Decoder decoder = MakeDecoder("h200", 128);
  std::unique_ptr<Machine> machine = MakeGpu(decoder.program);
  ASSERT_NE(machine, nullptr);
  const Generated at_once = Generate(decoder, *machine, 40);
  const int32_t passes = GpuPasses(40);
  BindDecoder(decoder, *machine, {3, 141, 59, 265, 35}, passes);
  std::vector<int32_t> tokens;
  for (int64_t position = 0; position < passes; ++position) {
    RunOptions options;
    options.first_position = position;
    options.on_token = [&](int64_t, int32_t token) { tokens.push_back(token); };
    ASSERT_TRUE(machine->Run(options).ok());
  }
  EXPECT_EQ(tokens, at_once.tokens);
  EXPECT_EQ(
      std::memcmp(ReadFloats(*machine, "logits").data(), at_once.logits.data(),
                  at_once.logits.size() * sizeof(float)),
      0);
}

TEST_F(GpuMachineTest, GpuGivesTheSameBitsWithFewerStages) {
  Decoder decoder = MakeDecoder("h200", 16);
  std::unique_ptr<Machine> many = MakeGpu(decoder.program);
  decoder.program.target.stages = 2;
  std::unique_ptr<Machine> few = MakeGpu(decoder.program);
  ASSERT_NE(many, nullptr);
  ASSERT_NE(few, nullptr);
  const Generated a = Generate(decoder, *many, 60);
  const Generated b = Generate(decoder, *few, 60);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(std::memcmp(a.logits.data(), b.logits.data(),
                        a.logits.size() * sizeof(float)),
            0);
}

TEST_F(GpuMachineTest, GpuWatchdogNamesTheCounterOfATaggedEdge) {
  const uint32_t workers = GpuWorkers(16);
  Decoder decoder = MakeDecoder("h200", workers);
  // One producer of the first layer's h does nothing: its tags never come.
  isa::Instruction& silent = Labelled(decoder.program, "L00.gate_up[3]");
  silent = isa::Encode(isa::NopOperands{});
  std::unique_ptr<Machine> machine = MakeGpu(decoder.program);
  ASSERT_NE(machine, nullptr);
  BindDecoder(decoder, *machine, {3}, 10);
  RunOptions options;
  options.max_passes = 10;
  options.watchdog_seconds = 0.2;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(
      std::string(result.status().message()),
      HasSubstr(absl::StrFormat("gemv) for counter L00.h: %d seen, %d wanted",
                                workers - 1, workers)));
}

// A candidate for the token never comes: what the others say is no token.
TEST_F(GpuMachineTest, GpuShowsNoTokenAfterALostWait) {
  Decoder decoder = MakeDecoder("h200", 16);
  Labelled(decoder.program, "lm_head[3]") = isa::Encode(isa::NopOperands{});
  std::unique_ptr<Machine> machine = MakeGpu(decoder.program);
  ASSERT_NE(machine, nullptr);
  BindDecoder(decoder, *machine, {3}, 10);
  std::vector<int32_t> tokens;
  RunOptions options;
  options.max_passes = 10;
  options.watchdog_seconds = 0.2;
  options.on_token = [&](int64_t, int32_t token) { tokens.push_back(token); };
  EXPECT_EQ(machine->Run(options).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(tokens, ::testing::IsEmpty());
}

// When the compute warps give up, the loader waits for a free stage, and with
// rings of some of these sizes it has loaded half of a chunk by then.
TEST_F(GpuMachineTest, GpuLeavesWithAChunkHalfLoaded) {
  Decoder decoder = MakeDecoder("h200", 4);
  Labelled(decoder.program, "L00.gate_up[1]") = isa::Encode(isa::NopOperands{});
  for (const uint32_t stages : {2u, 3u, 4u, 5u, 7u, 9u}) {
    SCOPED_TRACE(absl::StrCat("stages ", stages));
    decoder.program.target.stages = stages;
    std::unique_ptr<Machine> machine = MakeGpu(decoder.program);
    ASSERT_NE(machine, nullptr);
    BindDecoder(decoder, *machine, {3}, 10);
    RunOptions options;
    options.max_passes = 10;
    options.watchdog_seconds = 0.2;
    EXPECT_EQ(machine->Run(options).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
}

TEST_F(GpuMachineTest, GpuRefusesPositionsPastTheCache) {
  Decoder decoder = MakeDecoder("h200", 16);
  std::unique_ptr<Machine> machine = MakeGpu(decoder.program);
  ASSERT_NE(machine, nullptr);
  BindDecoder(decoder, *machine, {3}, 1 << 20);
  RunOptions options;
  options.first_position = kContext + 20;
  const absl::StatusOr<RunResult> result = machine->Run(options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace mkvm::vm
