// Random programs: what the checking machine finds right computes the same
// bits on threads; what it finds right after the loss of a wait does too.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/vm/test_program.h"
#include "vm/cpu_machine.h"

namespace mkvm::vm {
namespace {

constexpr uint32_t kElements = 96;
constexpr uint32_t kStages = 7;
constexpr int64_t kPasses = 4;

// Stage s adds two earlier buffers into buffer s, tile by tile, every tile by
// a random worker. A last counter joins all workers at the end of the pass.
isa::Program RandomProgram(std::mt19937& random) {
  const uint32_t workers = 1 + random() % 9;
  ProgramBuilder b(workers);
  const uint32_t carry = b.State("carry", kElements);
  std::vector<uint32_t> values = {b.Buffer(
      "input", isa::DType::kF24, isa::BufferKind::kInput, {kElements})};
  std::vector<uint32_t> ready = {isa::kNoCounter};
  for (uint32_t s = 0; s < kStages; ++s) {
    const uint32_t i = random() % values.size();
    const uint32_t j = values.size() - 1;
    values.push_back(b.Activation(absl::StrCat("x", s), kElements));
    ready.push_back(b.Counter(absl::StrCat("x", s)));
    std::vector<ProgramBuilder::WaitFor> waits;
    for (const uint32_t source : {i, j}) {
      if (ready[source] != isa::kNoCounter) waits.push_back({ready[source]});
    }
    if (waits.size() == 2 && i == j) waits.pop_back();
    for (uint32_t begin = 0; begin < kElements;) {
      const uint32_t count =
          std::min<uint32_t>(1 + random() % 40, kElements - begin);
      b.Add(random() % workers, absl::StrCat("x", s, "[", begin, "]"),
            Sum(values[i], values[j], values.back(), begin, count), waits,
            ready.back());
      begin += count;
    }
  }
  const uint32_t joined = b.Counter("joined");
  const uint32_t last = random() % workers;
  b.Add(last, "carry", Sum(carry, values.back(), carry, 0, kElements),
        {{ready.back()}});
  for (uint32_t w = 0; w < workers; ++w) {
    b.Add(w, absl::StrCat("join", w), isa::NopOperands(), {}, joined);
    b.Add(w, absl::StrCat("halt", w), isa::HaltOperands(), {{joined}});
  }
  return b.Build();
}

// The carry after kPasses, or nothing on any error (in `status`).
std::vector<float> Result(const isa::Program& program,
                          const CpuMachineOptions& options,
                          absl::Status& status) {
  auto machine = MakeMachine(program, options);
  std::vector<float> input(kElements);
  for (uint32_t i = 0; i < kElements; ++i) input[i] = 1.0f / (i + 1);
  BindFloats(*machine, "input", input);
  RunOptions run;
  run.max_passes = kPasses;
  run.watchdog_seconds = 60;
  status = machine->Run(run).status();
  if (!status.ok()) return {};
  return ReadFloats(*machine, "carry");
}

TEST(CpuFuzz, RandomProgramsAgreeInEveryOrder) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    const isa::Program program = RandomProgram(random);
    absl::Status status;
    const std::vector<float> expected = Result(program, {.threads = 1}, status);
    ASSERT_TRUE(status.ok()) << "program " << seed << ": " << status;
    for (const int threads : {2, 5}) {
      EXPECT_EQ(Result(program, {.threads = threads}, status), expected);
      EXPECT_TRUE(status.ok()) << "program " << seed << ": " << status;
    }
    for (uint64_t order = 0; order < 6; ++order) {
      EXPECT_EQ(Result(program, {.check_races = true, .seed = order}, status),
                expected);
      EXPECT_TRUE(status.ok()) << "program " << seed << ": " << status;
    }
  }
}

TEST(CpuFuzz, ALostWaitIsFoundOrHarmless) {
  int found = 0;
  int harmless = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(1000 + seed);
    const isa::Program program = RandomProgram(random);
    absl::Status status;
    const std::vector<float> expected = Result(program, {.threads = 1}, status);
    ASSERT_TRUE(status.ok()) << status;
    isa::Program mutant = program;
    // Any wait may go, those of the joining halts included.
    isa::Instruction* instruction = nullptr;
    while (instruction == nullptr || instruction->num_waits == 0) {
      auto& queue = mutant.queues[random() % mutant.num_workers()];
      instruction = &queue[random() % queue.size()];
    }
    RemoveWait(*instruction, random() % instruction->num_waits);
    bool ok = true;
    for (uint64_t order = 0; order < 12 && ok; ++order) {
      Result(mutant, {.check_races = true, .seed = order}, status);
      ok = status.ok();
    }
    if (!ok) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      ++found;
      continue;
    }
    ++harmless;
    EXPECT_EQ(Result(mutant, {.threads = 3}, status), expected)
        << "program " << seed;
  }
  RecordProperty("found", found);
  RecordProperty("harmless", harmless);
  // Both kinds occur, so that neither branch is idle.
  EXPECT_GT(found, 10);
  EXPECT_GT(harmless, 0);
}

}  // namespace
}  // namespace mkvm::vm
