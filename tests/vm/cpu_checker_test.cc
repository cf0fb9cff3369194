#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/vm/test_program.h"
#include "vm/cpu_machine.h"

namespace mkvm::vm {
namespace {

using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;
using testing::UnorderedElementsAre;

constexpr uint64_t kSeeds = 24;

absl::Status RunOnce(const isa::Program& program, uint64_t seed,
                     int64_t passes) {
  auto machine = MakeMachine(program, {.check_races = true, .seed = seed});
  for (const isa::Buffer& buffer : program.buffers) {
    if (buffer.kind != isa::BufferKind::kInput &&
        buffer.kind != isa::BufferKind::kWeight) {
      continue;
    }
    const std::vector<float> ones(isa::NumElements(buffer), 1.0f);
    const absl::Status status = machine->Bind(
        buffer.name, {isa::DType::kF32, buffer.shape, ones.data()});
    EXPECT_TRUE(status.ok()) << status;
  }
  RunOptions options;
  options.max_passes = passes;
  return machine->Run(options).status();
}

// The different messages of the first kSeeds orders; "" is success.
std::set<std::string> Messages(const isa::Program& program,
                               int64_t passes = 1) {
  std::set<std::string> messages;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const absl::Status status = RunOnce(program, seed, passes);
    EXPECT_THAT(status.code(), AnyOf(absl::StatusCode::kOk,
                                     absl::StatusCode::kFailedPrecondition));
    messages.emplace(status.message());
  }
  return messages;
}

absl::Status RunCounting(const isa::Program& program, uint64_t seed,
                         std::vector<int32_t>* tokens = nullptr) {
  auto machine = MakeMachine(program, {.check_races = true, .seed = seed});
  BindCounting(*machine, 3, kPositions);
  RunOptions options;
  options.max_passes = 3;
  if (tokens != nullptr) {
    options.on_token = [&](int64_t, int32_t token) {
      tokens->push_back(token);
    };
  }
  return machine->Run(options).status();
}

TEST(CpuChecker, PassesAProgramThatIsRight) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::vector<int32_t> tokens;
    const absl::Status status = RunCounting(CountingProgram(8), seed, &tokens);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_THAT(tokens, ElementsAre(4, 5, 6));
  }
  EXPECT_THAT(Messages(AccumulatingProgram(), 20), ElementsAre(""));
}

TEST(CpuChecker, TheSameSeedGivesTheSameVerdict) {
  isa::Program program = CountingProgram(8);
  RemoveWaits(Labelled(program, "norm[5]"));
  for (uint64_t seed = 0; seed < 5; ++seed) {
    EXPECT_EQ(RunCounting(program, seed), RunCounting(program, seed));
  }
}

// Worker 1 writes x[512..520), worker 0 reads all of x.
isa::Program WriterAndReader(isa::BufferKind kind) {
  ProgramBuilder b(2);
  const uint32_t one = b.State("one", 1024);
  const uint32_t g =
      b.Buffer("g", isa::DType::kBf16, isa::BufferKind::kWeight, {1024});
  const uint32_t x = b.Buffer("x", isa::DType::kF24, kind, {1024});
  const uint32_t y = b.Activation("y", 8);
  const uint32_t ready = b.Counter("ready");
  b.Add(1, "early", isa::NopOperands());
  b.Add(1, "L00.o[1]", Sum(one, one, x, 512, 8), {}, ready);
  b.Add(1, "halt", isa::HaltOperands());
  isa::RmsNormOperands norm;
  norm.x = x;
  norm.g = g;
  norm.y = y;
  norm.k = 1024;
  norm.count = 8;
  b.Add(0, "L00.norm", norm, {{ready}});
  b.Add(0, "halt", isa::HaltOperands());
  return b.Build();
}

TEST(CpuChecker, FindsAReadWithoutItsWait) {
  isa::Program program = WriterAndReader(isa::BufferKind::kState);
  EXPECT_THAT(Messages(program), ElementsAre(""));
  RemoveWaits(Labelled(program, "L00.norm"));
  EXPECT_THAT(
      Messages(program),
      UnorderedElementsAre(
          "race on x[512..520): written by worker 1 pc 1 (L00.o[1], add) and "
          "read by worker 0 pc 0 (L00.norm, rms_norm), no order between them",
          "race on x[512..520): read by worker 0 pc 0 (L00.norm, rms_norm) and "
          "written by worker 1 pc 1 (L00.o[1], add), no order between them"));
}

TEST(CpuChecker, FindsAWaitThatIsTooLow) {
  // Of two producers the reader waits for one.
  ProgramBuilder b(3);
  const uint32_t one = b.State("one", 8);
  const uint32_t x = b.State("x", 8);
  const uint32_t y = b.State("y", 8);
  const uint32_t ready = b.Counter("ready");
  b.Add(0, "left", Sum(one, one, x, 0, 4), {}, ready);
  b.Add(1, "right", Sum(one, one, x, 4, 4), {}, ready);
  b.Add(2, "both", Sum(x, x, y, 0, 8), {{ready}});
  for (int w = 0; w < 3; ++w) b.Add(w, "halt", isa::HaltOperands());
  isa::Program program = b.Build();
  EXPECT_THAT(Messages(program), ElementsAre(""));
  Labelled(program, "both").waits[0].threshold = 1;
  EXPECT_THAT(Messages(program), Each(StartsWith("race on x[")));
}

TEST(CpuChecker, FindsAMissingLaggedWait) {
  isa::Program program = AccumulatingProgram();
  RemoveWaits(Labelled(program, "make"));
  const std::set<std::string> messages = Messages(program, 3);
  EXPECT_THAT(messages, Each(AnyOf(StartsWith("race on x[0..16): "),
                                   HasSubstr("counter x.ready ran ahead"))));
  EXPECT_THAT(messages,
              testing::Contains(
                  "race on x[0..16): read by worker 1 pc 0 (take, add) in pass "
                  "0 and written by worker 0 pc 0 (make, add) in pass 1, no "
                  "order between them"));
}

TEST(CpuChecker, FindsTwoWritersWithoutOrder) {
  ProgramBuilder b(2);
  const uint32_t one = b.State("one", 8);
  const uint32_t x = b.State("x", 8);
  b.Add(0, "a", Sum(one, one, x, 0, 5));
  b.Add(1, "b", Sum(one, one, x, 3, 5));
  for (int w = 0; w < 2; ++w) b.Add(w, "halt", isa::HaltOperands());
  EXPECT_THAT(
      Messages(b.Build()),
      UnorderedElementsAre(
          "race on x[3..5): written by worker 0 pc 0 (a, add) and written by "
          "worker 1 pc 0 (b, add), no order between them",
          "race on x[3..5): written by worker 1 pc 0 (b, add) and written by "
          "worker 0 pc 0 (a, add), no order between them"));
}

TEST(CpuChecker, FindsElementsThatNobodyWrote) {
  isa::Program program = WriterAndReader(isa::BufferKind::kActivation);
  EXPECT_THAT(Messages(program),
              ElementsAre("x[0..512) read by worker 0 pc 0 (L00.norm, "
                          "rms_norm) is not written in pass 0: nothing ever "
                          "wrote it"));
}

TEST(CpuChecker, FindsElementsOfAnEarlierPass) {
  // Worker 0 reads x before it writes it: from the second pass on it would
  // find what the first has left.
  ProgramBuilder b(1);
  const uint32_t one = b.State("one", 8);
  const uint32_t x = b.Activation("x", 8);
  const uint32_t y = b.State("y", 8);
  b.Add(0, "read", Sum(x, x, y, 0, 8));
  b.Add(0, "write", Sum(one, one, x, 0, 8));
  b.Add(0, "halt", isa::HaltOperands());
  isa::Program program = b.Build();
  EXPECT_THAT(Messages(program),
              ElementsAre("x[0..8) read by worker 0 pc 0 (read, add) is not "
                          "written in pass 0: nothing ever wrote it"));
  // Reading what was written before is fine in state.
  program.buffers[x].kind = isa::BufferKind::kState;
  EXPECT_THAT(Messages(program, 3), ElementsAre(""));
  // A gap in the first pass only: pass 1 reads what pass 0 wrote.
  program.buffers[x].kind = isa::BufferKind::kActivation;
  std::swap(program.queues[0][0], program.queues[0][1]);
  std::swap(program.labels[0][0], program.labels[0][1]);
  EXPECT_THAT(Messages(program, 3), ElementsAre(""));
}

TEST(CpuChecker, FindsASecondWriteInOnePass) {
  ProgramBuilder b(1);
  const uint32_t one = b.State("one", 8);
  const uint32_t x = b.Activation("x", 8);
  b.Add(0, "first", Sum(one, one, x, 0, 6));
  b.Add(0, "second", Sum(one, one, x, 4, 4));
  b.Add(0, "halt", isa::HaltOperands());
  EXPECT_THAT(Messages(b.Build(), 2),
              ElementsAre("x[4..6) is written twice in pass 0: by worker 0 pc "
                          "0 (first, add) and by worker 0 pc 1 (second, add)"));
}

TEST(CpuChecker, FindsACounterThatAFastProducerDrivesAhead) {
  // Nothing keeps worker 0 from signalling for pass 1 before worker 1 has for
  // pass 0: two signals, and yet not all of pass 0's.
  ProgramBuilder b(3);
  const uint32_t both = b.Counter("both");
  b.Add(0, "fast", isa::NopOperands(), {}, both);
  b.Add(1, "slow", isa::NopOperands(), {}, both);
  b.Add(2, "wait", isa::NopOperands(), {{both}});
  for (int w = 0; w < 3; ++w) b.Add(w, "halt", isa::HaltOperands());
  EXPECT_THAT(Messages(b.Build(), 1), ElementsAre(""));
  EXPECT_THAT(
      Messages(b.Build(), 2),
      testing::Contains(
          "counter both ran ahead: worker 2 pc 0 (wait, nop) in pass 0 goes on "
          "at 2 with 1 of the 2 signals of pass 0, the others being of later "
          "passes"));
}

TEST(CpuChecker, NamesEveryStuckWorkerOfADeadlock) {
  ProgramBuilder b(3);
  const uint32_t left = b.Counter("left");
  const uint32_t right = b.Counter("right");
  b.Add(0, "a", isa::NopOperands(), {{right}}, left);
  b.Add(1, "b", isa::NopOperands(), {{left}}, right);
  for (int w = 0; w < 3; ++w) b.Add(w, "halt", isa::HaltOperands());
  EXPECT_THAT(
      Messages(b.Build()),
      ElementsAre("deadlock: worker 0 waits in pass 0 at pc 0 (a, nop) for "
                  "counter right: 0 seen, 1 wanted; worker 1 waits in pass 0 "
                  "at pc 0 (b, nop) for counter left: 0 seen, 1 wanted"));
}

TEST(CpuChecker, KeepsALongDeadlockToOneReadableLine) {
  isa::Program program = CountingProgram(32);
  Labelled(program, "mix[4]").signal = isa::kNoCounter;
  const absl::Status status = RunCounting(program, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(status.message());
  EXPECT_THAT(message, StartsWith("deadlock: worker 0 waits in pass 0 at pc 2 "
                                  "(norm[0], rms_norm) for counter h: 31 seen, "
                                  "32 wanted; worker 1 waits"));
  EXPECT_THAT(message, testing::EndsWith("; and 16 more"));
}

TEST(CpuChecker, ReportsAnOpsErrorWithItsPlace) {
  isa::Program program = CountingProgram(2);
  auto machine = MakeMachine(program, {.check_races = true});
  BindCounting(*machine, /*first=*/99, kPositions);
  EXPECT_THAT(std::string(machine->Run({}).status().message()),
              MatchesRegex("worker 0, pass 0, pc 0 \\(embed, embed\\): token "
                           "99 .*"));
}

// Every wait of worker 1 and up in the counting program orders something that
// nothing else does. (Worker 0 makes x and the token itself.)
TEST(CpuChecker, FindsEveryDeletedWaitOfTheCountingProgram) {
  const isa::Program right = CountingProgram(4);
  int mutants = 0;
  for (uint32_t w = 1; w < right.num_workers(); ++w) {
    for (uint32_t pc = 0; pc < right.queues[w].size(); ++pc) {
      for (int i = 0; i < right.queues[w][pc].num_waits; ++i) {
        isa::Program mutant = right;
        RemoveWait(mutant.queues[w][pc], i);
        ++mutants;
        for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
          const absl::Status status = RunCounting(mutant, seed);
          EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition)
              << "seed " << seed << ", " << right.labels[w][pc];
        }
      }
    }
  }
  EXPECT_EQ(mutants, 12);
}

// Waits of worker 0 that its own queue makes superfluous, and one that isn't.
TEST(CpuChecker, ShowsASuperfluousWaitToBeHarmless) {
  for (const char* label : {"mix[0]", "halt[0]"}) {
    isa::Program program = CountingProgram(4);
    RemoveWaits(Labelled(program, label));
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      EXPECT_TRUE(RunCounting(program, seed).ok()) << label;
    }
  }
  isa::Program program = CountingProgram(4);
  RemoveWaits(Labelled(program, "argmax"));
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_FALSE(RunCounting(program, seed).ok());
  }
}

TEST(CpuChecker, FindsAShiftedAndALostTile) {
  isa::Program shifted = CountingProgram(4);
  // norm[2] writes y[16..32), which is norm[1]'s.
  isa::Instruction& norm = Labelled(shifted, "norm[2]");
  auto op = isa::DecodeOperands<isa::RmsNormOperands>(norm);
  op.begin -= 16;
  std::memcpy(norm.operands, &op, sizeof(op));
  isa::Program lost = CountingProgram(4);
  // The signal of head[3] stays, its work doesn't happen.
  Labelled(lost, "head[3]").opcode = static_cast<uint16_t>(isa::Opcode::kNop);
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_THAT(std::string(RunCounting(shifted, seed).message()),
                AnyOf(StartsWith("race on y[16..32): written by"),
                      StartsWith("y[32..48) read by ")));
    EXPECT_THAT(std::string(RunCounting(lost, seed).message()),
                StartsWith("best[3..4) read by worker 0 pc 4 (argmax, argmax) "
                           "is not written in pass 0"));
  }
}

}  // namespace
}  // namespace mkvm::vm
