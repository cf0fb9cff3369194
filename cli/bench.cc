// mkvm bench: how fast programs decode, with what they are held against: the
// read-only stream of the same minutes, and the tokens of other machines.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/bench_plan.h"
#include "cli/bench_report.h"
#include "cli/bench_run.h"
#include "cli/build_commit.h"
#include "cli/date.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/verbs.h"
#include "vm/gpu_state.h"

namespace mkvm::cli {
namespace {

std::string Format(const BenchReport& report, absl::string_view form) {
  if (form == "json") return BenchJson(report);
  return form == "csv" ? BenchCsv(report) : BenchMarkdown(report);
}

}  // namespace

absl::Status BenchVerb(Args args) {
  BenchFlags f;
  Flags flags = MakeBenchFlags(f);
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 0, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  if (!files->empty()) f.program = files->front();
  if (absl::Status s = CheckBenchFlags(f); !s.ok()) return s;
  const absl::StatusOr<Device> device = ChooseDevice(f.device);
  if (!device.ok()) return device.status();
  const absl::StatusOr<BenchPlan> plan = MakeBenchPlan(f, *device);
  if (!plan.ok()) return plan.status();

  const vm::GpuMonitor monitor =
      vm::GpuMonitor::Open(device->gpu_info.pci_bus_id);
  BenchReport report;
  report.command = absl::StrCat("mkvm bench ", absl::StrJoin(args, " "));
  report.date_utc = DateUtc();
  report.version = MKVM_VERSION;
  report.commit = kBuildCommit;
  report.hardware = HardwareName(*device);
  report.driver = monitor.driver_version();
  const BenchRun bench = {f, *plan, *device, monitor, report};
  if (absl::Status s = f.roofline         ? RunRoofline(bench)
                       : f.interpretation ? RunInterpretation(bench)
                                          : RunBench(bench);
      !s.ok()) {
    return s;
  }
  std::fputs(Format(report, f.output).c_str(), stdout);
  return BenchVerdict(report);
}

}  // namespace mkvm::cli
