#include "vm/cpu_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using testing::ElementsAre;
using testing::MatchesRegex;

using Tokens = std::vector<std::pair<int64_t, int32_t>>;

RunOptions Passes(int64_t n) {
  RunOptions options;
  options.max_passes = n;
  options.watchdog_seconds = 60;
  return options;
}

// Tokens first + 1, first + 2, ... of `n` passes.
Tokens Expected(int32_t first, int n) {
  Tokens tokens;
  for (int i = 1; i <= n; ++i) {
    tokens.emplace_back(i, (first + i) % kVocabulary);
  }
  return tokens;
}

class CpuMachineTest
    : public testing::TestWithParam<std::tuple<int, uint32_t>> {
 protected:
  int threads() const { return std::get<0>(GetParam()); }
  uint32_t workers() const { return std::get<1>(GetParam()); }
};

TEST_P(CpuMachineTest, CountsThroughManyPasses) {
  auto machine =
      MakeMachine(CountingProgram(workers()), {.threads = threads()});
  ASSERT_NE(machine, nullptr);
  BindCounting(*machine, 3, kPositions);
  Tokens tokens;
  RunOptions options = Passes(300);
  options.on_token = [&](int64_t position, int32_t token) {
    tokens.emplace_back(position, token);
  };
  const auto result = machine->Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, 300);
  EXPECT_GT(result->seconds, 0.0);
  EXPECT_EQ(tokens, Expected(3, 300));
  const std::vector<int32_t> stored = ReadInts(*machine, "tokens");
  for (const auto& [position, token] : tokens) {
    EXPECT_EQ(stored[position], token);
  }
}

// Odd numbers of threads, more threads than workers, more workers than any
// machine has cores.
INSTANTIATE_TEST_SUITE_P(ThreadsAndWorkers, CpuMachineTest,
                         testing::Values(std::pair(1, 1u), std::pair(1, 16u),
                                         std::pair(2, 64u), std::pair(3, 8u),
                                         std::pair(8, 2u), std::pair(5, 64u),
                                         std::pair(0, 32u)),
                         [](const auto& param) {
                           return absl::StrCat(
                               std::get<0>(param.param), "Threads",
                               std::get<1>(param.param), "Workers");
                         });

TEST(CpuMachine, StopsAtTheEndPosition) {
  auto machine = MakeMachine(CountingProgram(4), {.threads = 2});
  BindCounting(*machine, 0, 7);
  const auto result = machine->Run(Passes(100));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, 7);
  EXPECT_THAT(ReadInts(*machine, "stop"), ElementsAre(1));
}

TEST(CpuMachine, StopsAtEos) {
  auto machine = MakeMachine(CountingProgram(4), {.threads = 2});
  BindCounting(*machine, 0, kPositions, /*eos=*/5);
  const auto result = machine->Run(Passes(100));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, 5);
}

TEST(CpuMachine, KeepsThePromptAndReportsOnlyGeneratedTokens) {
  auto machine = MakeMachine(CountingProgram(4), {.threads = 2});
  BindCounting(*machine, 0, 6);
  std::vector<int32_t> tokens(kPositions + 1, 0);
  tokens[1] = 20;
  tokens[2] = 40;
  BindInts(*machine, "tokens", tokens);
  BindInts(*machine, "run", {3, 6});
  Tokens seen;
  RunOptions options = Passes(100);
  options.on_token = [&](int64_t position, int32_t token) {
    seen.emplace_back(position, token);
  };
  ASSERT_TRUE(machine->Run(options).ok());
  EXPECT_EQ(seen, (Tokens{{3, 41}, {4, 42}, {5, 43}, {6, 44}}));
}

TEST(CpuMachine, ASecondRunContinuesFromTheState) {
  auto machine = MakeMachine(CountingProgram(8), {.threads = 2});
  BindCounting(*machine, 3, kPositions);
  ASSERT_TRUE(machine->Run(Passes(10)).ok());
  Tokens tokens;
  RunOptions options = Passes(5);
  options.first_position = 10;
  options.on_token = [&](int64_t position, int32_t token) {
    tokens.emplace_back(position, token);
  };
  const auto result = machine->Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->passes, 5);
  EXPECT_EQ(tokens, (Tokens{{11, 14}, {12, 15}, {13, 16}, {14, 17}, {15, 18}}));
}

TEST(CpuMachine, DeliversTokensOnTheCallersThreadWhileTheProgramRuns) {
  // The program hangs in its last pass, so a token that is delivered only at
  // the end would come with the watchdog.
  isa::Program program = CountingProgram(4);
  constexpr double kPatience = 1.0;  // seconds
  auto machine = MakeMachine(program, {.threads = 2});
  BindCounting(*machine, 3, kPositions);
  const std::thread::id caller = std::this_thread::get_id();
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> times;
  // A callback that takes its time must not upset the order.
  RunOptions options = Passes(20);
  options.on_token = [&](int64_t position, int32_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(position, static_cast<int64_t>(times.size()) + 1);
    times.push_back(Clock::now());
    if (position % 7 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  ASSERT_TRUE(machine->Run(options).ok());
  EXPECT_EQ(times.size(), 20u);

  // Nobody tells the workers that the token is out: they stay in pass 0.
  isa::Instruction& advance = Labelled(program, "advance");
  advance.signal = isa::kNoCounter;
  machine = MakeMachine(program, {.threads = 2});
  BindCounting(*machine, 3, kPositions);
  times.clear();
  options.watchdog_seconds = kPatience;
  const auto stuck = machine->Run(options);
  const Clock::time_point end = Clock::now();
  EXPECT_EQ(stuck.status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_EQ(times.size(), 1u);
  EXPECT_GT(end - times[0], std::chrono::duration<double>(kPatience / 2));
}

TEST(CpuMachine, LaggedWaitsOrderPassesWithoutABarrier) {
  for (const int threads : {1, 2, 4}) {
    auto machine = MakeMachine(AccumulatingProgram(), {.threads = threads});
    BindFloats(*machine, "c", std::vector<float>(16, 0.5f));
    const auto result = machine->Run(Passes(5000));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(ReadFloats(*machine, "sum"), std::vector<float>(16, 5000.0f));
    // A launch starts with counters of zero, whatever the last one left.
    ASSERT_TRUE(machine->Run(Passes(11)).ok());
    EXPECT_EQ(ReadFloats(*machine, "sum"), std::vector<float>(16, 5011.0f));
  }
}

TEST(CpuMachine, InputsMayChangeBetweenRuns) {
  auto machine = MakeMachine(AccumulatingProgram(), {.threads = 2});
  BindFloats(*machine, "c", std::vector<float>(16, 1.0f));
  BindFloats(*machine, "sum", std::vector<float>(16, 100.0f));
  ASSERT_TRUE(machine->Run(Passes(1)).ok());
  BindFloats(*machine, "c", std::vector<float>(16, 2.0f));
  ASSERT_TRUE(machine->Run(Passes(1)).ok());
  EXPECT_EQ(ReadFloats(*machine, "sum"), std::vector<float>(16, 106.0f));
}

// A real mixture of values: the bits may not depend on threads, interleaving
// or repetition.
TEST(CpuMachine, SameProgramSameBits) {
  std::vector<float> expected;
  std::vector<int32_t> expected_tokens;
  for (const CpuMachineOptions& options :
       {CpuMachineOptions{.threads = 1}, CpuMachineOptions{.threads = 1},
        CpuMachineOptions{.threads = 2}, CpuMachineOptions{.threads = 7},
        CpuMachineOptions{.check_races = true, .seed = 5}}) {
    auto machine = MakeMachine(CountingProgram(16), options);
    BindCounting(*machine, 3, kPositions);
    uint32_t noise = 12345;
    for (const char* name : {"table", "mix", "head"}) {
      std::vector<float> values(kVocabulary * kVocabulary);
      for (float& value : values) {
        noise = noise * 1664525u + 1013904223u;
        value = static_cast<float>(noise >> 8) / 8388608.0f - 1.0f;
      }
      BindFloats(*machine, name, values);
    }
    ASSERT_TRUE(machine->Run(Passes(40)).ok());
    const std::vector<float> scores = ReadFloats(*machine, "scores");
    const std::vector<int32_t> tokens = ReadInts(*machine, "tokens");
    if (expected.empty()) {
      expected = scores;
      expected_tokens = tokens;
    }
    EXPECT_EQ(scores, expected);
    EXPECT_EQ(tokens, expected_tokens);
  }
}

// The example of vm/machine.h: 128 producers, of which one has lost its
// signal.
TEST(CpuMachine, WatchdogNamesWorkerInstructionCounterAndValues) {
  ProgramBuilder b(4);
  const uint32_t w =
      b.Buffer("w", isa::DType::kBf16, isa::BufferKind::kWeight, {8, 8});
  const uint32_t x = b.State("x", 8);
  const uint32_t y = b.Activation("y", 8);
  const uint32_t counter = b.Counter("L03.x");
  for (int i = 0; i < 128; ++i) {
    b.Add(i % 3, absl::StrCat("L03.x[", i, "]"), isa::NopOperands(), {},
          counter);
  }
  for (int i = 0; i < 17; ++i) b.Add(3, "early", isa::NopOperands());
  isa::GemvOperands gemv;
  gemv.x = x;
  gemv.w = w;
  gemv.y = y;
  gemv.rows = 8;
  gemv.k = 8;
  gemv.tokens_per_pass = 1;
  b.Add(3, "L03.qkv[17]", gemv, {{counter}});
  for (int i = 0; i < 4; ++i) b.Add(i, "halt", isa::HaltOperands());
  isa::Program program = b.Build();
  Labelled(program, "L03.x[77]").signal = isa::kNoCounter;
  for (const int threads : {1, 3}) {
    auto machine = MakeMachine(program, {.threads = threads});
    BindFloats(*machine, "w", std::vector<float>(64, 1.0f));
    RunOptions options;
    options.watchdog_seconds = 0.3;
    EXPECT_EQ(machine->Run(options).status(),
              absl::DeadlineExceededError(
                  "worker 3 waits in pass 0 at pc 17 (L03.qkv[17], gemv) for "
                  "counter L03.x: 127 seen, 128 wanted"));
  }
}

TEST(CpuMachine, WatchdogNamesTheCauseAmongManyStuckWorkers) {
  isa::Program program = CountingProgram(16);
  Labelled(program, "norm[9]").signal = isa::kNoCounter;
  auto machine = MakeMachine(program, {.threads = 2});
  BindCounting(*machine, 0, kPositions);
  RunOptions options = Passes(3);
  options.watchdog_seconds = 0.3;
  EXPECT_THAT(std::string(machine->Run(options).status().message()),
              MatchesRegex("worker [0-9]+ waits in pass 0 at pc [0-9] "
                           "\\(head\\[[0-9]+\\], gemv\\) for counter y: 15 "
                           "seen, 16 wanted"));
}

TEST(CpuMachine, CanRunAgainAfterAFault) {
  auto machine = MakeMachine(CountingProgram(4), {.threads = 2});
  BindCounting(*machine, 0, kPositions);
  // Position kPositions has no room for the token after it.
  RunOptions options = Passes(1);
  options.first_position = kPositions;
  EXPECT_FALSE(machine->Run(options).ok());
  options.first_position = 0;
  const auto result = machine->Run(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ReadInts(*machine, "tokens")[1], 1);
}

TEST(CpuMachine, AnOpsErrorEndsTheRunAtOnceWithItsPlace) {
  auto machine = MakeMachine(CountingProgram(8), {.threads = 2});
  BindCounting(*machine, 0, kPositions);
  BindFloats(
      *machine, "norm",
      std::vector<float>(kVocabulary, std::numeric_limits<float>::quiet_NaN()));
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = machine->Run(Passes(100)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              MatchesRegex("worker 0, pass 0, pc 5 \\(advance, advance\\): "
                           ".*NaN.*"));
  // Not by the watchdog, which would take a minute.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(CpuMachine, RefusesToRunUnbound) {
  auto machine = MakeMachine(CountingProgram(4));
  EXPECT_EQ(machine->Run({}).status(),
            absl::FailedPreconditionError(
                "input run is not bound, nor are 5 other buffers"));
}

TEST(CpuMachine, ChecksRunOptions) {
  auto machine = MakeMachine(AccumulatingProgram());
  BindFloats(*machine, "c", std::vector<float>(16, 1.0f));
  EXPECT_EQ(machine->Run(Passes(-1)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(machine->Run(Passes(int64_t{1} << 31)).status().code(),
            absl::StatusCode::kInvalidArgument);
  RunOptions options = Passes(1);
  options.first_position = -1;
  EXPECT_EQ(machine->Run(options).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto nothing = machine->Run(Passes(0));
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing->passes, 0);
  EXPECT_EQ(ReadFloats(*machine, "sum"), std::vector<float>(16, 0.0f));
}

TEST(CpuMachine, TaggedWaitsAreCounterWaits) {
  isa::Program program = AccumulatingProgram();
  isa::Instruction& take = Labelled(program, "take");
  take.tagged = 1;
  take.polled = 2;
  Labelled(program, "make").flags = 0;
  auto machine = MakeMachine(program, {.threads = 2});
  BindFloats(*machine, "c", std::vector<float>(16, 0.5f));
  ASSERT_TRUE(machine->Run(Passes(1000)).ok());
  EXPECT_EQ(ReadFloats(*machine, "sum"), std::vector<float>(16, 1000.0f));
}

TEST(CpuMachine, DescribesItself) {
  const isa::Program program = CountingProgram(4);
  EXPECT_THAT(MakeMachine(program, {.threads = 2})->description(),
              MatchesRegex("CPU \\(2 threads, [-A-Za-z0-9]+\\)"));
  EXPECT_THAT(MakeMachine(program, {.threads = 1})->description(),
              MatchesRegex("CPU \\(1 thread, [-A-Za-z0-9]+\\)"));
  // More threads than workers would have nothing to do.
  EXPECT_THAT(MakeMachine(program, {.threads = 9})->description(),
              MatchesRegex("CPU \\(4 threads, [-A-Za-z0-9]+\\)"));
  EXPECT_EQ(
      MakeMachine(program, {.check_races = true, .seed = 3})->description(),
      "CPU (checking, seed 3)");
}

// The plain kernels are everywhere.
TEST(CpuMachine, TakesItsKernelsFromTheEnvironment) {
  const isa::Program program = CountingProgram(4);
  ASSERT_EQ(setenv("MKVM_CPU_KERNEL", "portable", 1), 0);
  EXPECT_EQ(MakeMachine(program, {.threads = 2})->description(),
            "CPU (2 threads, portable)");
  ASSERT_EQ(setenv("MKVM_CPU_KERNEL", "MMX", 1), 0);
  const absl::Status status = CreateCpuMachine(program).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      MatchesRegex("MKVM_CPU_KERNEL: no kernels \"MMX\".*runs .*portable"));
  ASSERT_EQ(setenv("MKVM_CPU_KERNEL", "", 1), 0);
  EXPECT_NE(MakeMachine(program, {.threads = 2}), nullptr);
  ASSERT_EQ(unsetenv("MKVM_CPU_KERNEL"), 0);
}

}  // namespace
}  // namespace mkvm::vm
