#include "cli/bench_interpretation.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench_measure.h"
#include "cli/decoder.h"
#include "isa/instruction.h"
#include "isa/opcode.h"
#include "vm/machine.h"

namespace mkvm::cli {
namespace {

constexpr int64_t kNops = 1024;   // per worker and pass
constexpr int64_t kWaits = 256;   // likewise: each has a counter
constexpr int64_t kPasses = 128;  // in one launch

isa::Program EmptyProgram(const std::string& name, uint32_t workers) {
  isa::Program program;
  program.name = name;
  program.queues.resize(workers);
  program.labels.resize(workers);
  return program;
}

void Append(isa::Program& program, uint32_t worker, const std::string& label,
            const isa::Instruction& instruction) {
  program.queues[worker].push_back(instruction);
  program.labels[worker].push_back(label);
}

void AppendHalts(isa::Program& program) {
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    Append(program, w, "halt", isa::Encode(isa::HaltOperands{}));
  }
}

NopProgram Nops(uint32_t workers) {
  NopProgram nops = {"nop", "waits for nothing", EmptyProgram("nops", workers),
                     kNops + 1};
  for (uint32_t w = 0; w < workers; ++w) {
    for (int64_t i = 0; i < kNops; ++i) {
      Append(nops.program, w, absl::StrFormat("nop[%d]", i),
             isa::Encode(isa::NopOperands{}));
    }
  }
  AppendHalts(nops.program);
  return nops;
}

// Nop i of a chain is on worker first + i % workers and waits for nop i - 1.
void AppendChain(isa::Program& program, uint32_t first, uint32_t workers,
                 int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    isa::Instruction nop = isa::Encode(isa::NopOperands{});
    const auto counter = static_cast<uint32_t>(program.counters.size());
    if (i > 0) isa::AddWait(nop, counter - 1, 1);
    // The last one has nobody to tell.
    if (i + 1 < length) {
      program.counters.push_back(
          {.name = absl::StrFormat("c%d", counter), .producers = 1});
      nop.signal = counter;
    }
    Append(program, first + static_cast<uint32_t>(i % workers),
           absl::StrFormat("chain%d[%d]", first, i), nop);
  }
}

NopProgram Waits(uint32_t workers) {
  NopProgram waits = {"wait", "waits for the one before, on the same worker",
                      EmptyProgram("waits", workers), kWaits + 1};
  for (uint32_t w = 0; w < workers; ++w) {
    AppendChain(waits.program, w, 1, kWaits);
  }
  AppendHalts(waits.program);
  return waits;
}

NopProgram Hops() {
  // Worker 0 begins the next pass while the last hop of this one is under way,
  // so that the halts take no time of their own.
  NopProgram hops = {"hop", "waits for the one before, on another worker",
                     EmptyProgram("hops", 2), kWaits};
  AppendChain(hops.program, 0, 2, kWaits);
  AppendHalts(hops.program);
  return hops;
}

absl::StatusOr<Launched> Launch(vm::Machine& machine, double watchdog_seconds,
                                int64_t passes) {
  vm::RunOptions options;
  options.max_passes = passes;
  options.watchdog_seconds = watchdog_seconds;
  const absl::StatusOr<vm::RunResult> result = machine.Run(options);
  if (!result.ok()) return result.status();
  if (result->passes != passes) {
    return absl::InternalError(
        absl::StrFormat("%d of %d passes of nops ran", result->passes, passes));
  }
  Launched launched;
  launched.seconds = result->seconds;
  return launched;
}

}  // namespace

std::vector<NopProgram> NopPrograms(const Device& device, int threads) {
  const auto workers = static_cast<uint32_t>(
      std::max(1, device.gpu ? device.gpu_info.multiprocessors : threads));
  std::vector<NopProgram> programs;
  programs.push_back(Nops(workers));
  programs.push_back(Waits(workers));
  programs.push_back(Hops());
  return programs;
}

absl::StatusOr<InterpretationRow> MeasureNops(const NopProgram& program,
                                              const Device& device, int threads,
                                              int repetitions, bool warm_up) {
  if (absl::Status s = CheckProgram(program.program, program.name); !s.ok()) {
    return s;
  }
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine =
      CreateMachine(device, program.program, threads);
  if (!machine.ok()) return machine.status();
  const double watchdog_seconds = device.gpu ? 5 : 60;
  const absl::StatusOr<Measurement> measurement =
      Measure({BenchKind::kGenerate, kPasses, 0}, repetitions, warm_up,
              [&](const BenchTest&, int64_t passes) {
                return Launch(**machine, watchdog_seconds, passes);
              });
  if (!measurement.ok()) return measurement.status();
  InterpretationRow row;
  row.program = program.name;
  row.what = program.what;
  row.machine = (*machine)->description();
  row.workers = program.program.num_workers();
  if (!device.gpu) row.threads = std::min<int>(threads, row.workers);
  row.instructions = program.instructions;
  for (const double us : measurement->steady_us) {
    row.samples_ns.push_back(1e3 * us /
                             static_cast<double>(program.instructions));
  }
  row.ns = Summarize(row.samples_ns);
  absl::FPrintF(stderr, "%s: %.1f ns per instruction\n", row.program,
                row.ns.median);
  return row;
}

}  // namespace mkvm::cli
