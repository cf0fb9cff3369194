// The programs of nops: sound, and measured on the CPU machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/bench_interpretation.h"
#include "isa/verifier.h"
#include "vm/cpu_machine.h"

namespace mkvm::cli {
namespace {

Device SomeGpu() {
  Device device;
  device.gpu = 0;
  device.gpu_info.multiprocessors = 132;
  return device;
}

TEST(Interpretation, ProgramsVerifyAndRunUnderTheChecks) {
  for (const Device& device : {Device(), SomeGpu()}) {
    for (const NopProgram& nops : NopPrograms(device, 3)) {
      SCOPED_TRACE(nops.name);
      const absl::Status verified = isa::VerifyStatus(nops.program);
      EXPECT_TRUE(verified.ok()) << verified;
      if (device.gpu) continue;
      vm::CpuMachineOptions options;
      options.check_races = true;
      auto machine = vm::CreateCpuMachine(nops.program, options);
      ASSERT_TRUE(machine.ok()) << machine.status();
      vm::RunOptions run;
      run.max_passes = 3;
      const absl::StatusOr<vm::RunResult> result = (*machine)->Run(run);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->passes, 3);
    }
  }
}

TEST(Interpretation, ProgramsAreWhatTheySay) {
  const std::vector<NopProgram> all = NopPrograms(SomeGpu(), 0);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name, "nop");
  EXPECT_EQ(all[1].name, "wait");
  EXPECT_EQ(all[2].name, "hop");
  for (int i : {0, 1}) {
    EXPECT_EQ(all[i].program.num_workers(), 132u);
    for (const auto& queue : all[i].program.queues) {
      EXPECT_EQ(static_cast<int64_t>(queue.size()), all[i].instructions);
    }
  }
  // Every instruction but the first waits for the one before it.
  const isa::Program& hops = all[2].program;
  ASSERT_EQ(hops.num_workers(), 2u);
  for (int64_t i = 1; i < all[2].instructions; ++i) {
    const isa::Instruction& hop = hops.queues[i % 2][i / 2];
    const isa::Instruction& before = hops.queues[(i - 1) % 2][(i - 1) / 2];
    ASSERT_EQ(hop.num_waits, 1);
    EXPECT_EQ(hop.waits[0].counter, before.signal);
  }
}

TEST(Interpretation, GivesTimesOnTheCpuMachine) {
  for (const int threads : {1, 2}) {
    for (const NopProgram& nops : NopPrograms(Device(), threads)) {
      // A difference of two times, which other work on the machine can make
      // negative now and then, but not always.
      constexpr int kAttempts = 10;
      absl::StatusOr<InterpretationRow> row;
      for (int i = 0; i < kAttempts && (i == 0 || row->ns.max <= 0); ++i) {
        row = MeasureNops(nops, Device(), threads, 3, true);
        ASSERT_TRUE(row.ok()) << row.status();
      }
      EXPECT_EQ(row->samples_ns.size(), 3u);
      EXPECT_LE(row->ns.min, row->ns.median);
      EXPECT_LE(row->ns.median, row->ns.max);
      EXPECT_GT(row->ns.max, 0);
      EXPECT_EQ(row->threads, threads);
    }
  }
}

}  // namespace
}  // namespace mkvm::cli
