// The programs that people read first: they assemble, verify, survive the
// round trip, and every one of their waits is needed.
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "isa/disassembler.h"
#include "isa/program.h"
#include "isa/verifier.h"

namespace mkvm::isa {
namespace {

std::vector<std::string> ExamplePaths() {
  std::set<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(MKVM_SOURCE_DIR "/programs")) {
    if (entry.path().extension() == ".mkasm") paths.insert(entry.path());
  }
  return {paths.begin(), paths.end()};
}

// Program() without queues where it does not read.
Program MustRead(const std::string& path) {
  const auto program = ReadProgramFile(path);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *program : Program();
}

TEST(ExamplePrograms, ThereAreSome) { EXPECT_GE(ExamplePaths().size(), 3u); }

TEST(ExamplePrograms, AreVerifiedAndUseSeveralWorkers) {
  for (const std::string& path : ExamplePaths()) {
    const Program program = MustRead(path);
    EXPECT_TRUE(VerifyStatus(program).ok())
        << path << ": " << VerifyStatus(program);
    EXPECT_TRUE(VerifyStatus(WithCountersOnly(program)).ok()) << path;
    EXPECT_GE(program.num_workers(), 2u) << path;
    EXPECT_GE(program.counters.size(), 2u) << path;
    EXPECT_EQ(std::filesystem::path(path).stem(), program.name);
  }
}

TEST(ExamplePrograms, RoundTrip) {
  for (const std::string& path : ExamplePaths()) {
    const Program program = MustRead(path);
    const auto again = Assemble(Disassemble(program));
    ASSERT_TRUE(again.ok()) << path << ": " << again.status();
    EXPECT_EQ(SerializeProgram(*again), SerializeProgram(program)) << path;
  }
}

TEST(ExamplePrograms, EveryWaitIsNeeded) {
  for (const std::string& path : ExamplePaths()) {
    const Program program = MustRead(path);
    for (size_t worker = 0; worker < program.queues.size(); ++worker) {
      for (size_t pc = 0; pc < program.queues[worker].size(); ++pc) {
        for (int i = 0; i < program.queues[worker][pc].num_waits; ++i) {
          Program mutant = program;
          Instruction& instruction = mutant.queues[worker][pc];
          const Instruction before = instruction;
          instruction.num_waits = 0;
          instruction.lags = 0;
          instruction.tagged = 0;
          for (Wait& wait : instruction.waits) wait = {};
          for (int j = 0; j < before.num_waits; ++j) {
            if (j == i) continue;
            AddWait(instruction, before.waits[j].counter,
                    before.waits[j].threshold, before.WaitIsLagged(j),
                    before.WaitIsTagged(j));
          }
          EXPECT_FALSE(VerifyStatus(mutant).ok())
              << path << ": wait " << i << " of " << program.labels[worker][pc]
              << " is not needed";
        }
      }
    }
  }
}

}  // namespace
}  // namespace mkvm::isa
