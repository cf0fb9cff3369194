// What `mkvm bench` measured, and its three forms.
#ifndef MKVM_CLI_BENCH_REPORT_H_
#define MKVM_CLI_BENCH_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/bench_measure.h"
#include "vm/gpu_state.h"

namespace mkvm::cli {

// A program on a machine with its weights.
struct BenchSetup {
  std::string model;    // geometry's name, or the program's file
  std::string weights;  // description, e.g. "synthetic weights of seed 1, ..."
  std::string transport;
  std::string ablations = "none";  // AblationFlags::Name()
  std::string machine;             // vm::Machine::description()
  std::optional<int> threads;      // of a CPU machine
  uint32_t workers = 0;            // queues of the program
  int64_t max_context = 0;         // positions of the program
  uint64_t weight_bytes = 0;       // as the model has them
  double load_seconds = 0;         // all weights bound
  bool loading_copies = false;     // else they are used where they lie
};

struct BenchFigures {
  // A token's microseconds; of BenchKind::kFirstToken those of all.
  Summary us;
  std::vector<double> samples_us;
  std::optional<double> steady_us;  // median, without launching
  double bytes_per_token = 0;
  vm::GpuState gpu;  // medians while it ran
};

// The read-only stream, GB/s (1e9 bytes), before and after something.
struct BenchStream {
  double before = 0;
  double after = 0;
  double mean() const { return (before + after) / 2; }
};

struct BenchRow {
  size_t setup = 0;  // index
  BenchTest test;
  // A row without a correctness pass has no figures: `refusal` says why.
  std::optional<BenchFigures> figures;
  // Just before and just after the row; not there if the probe's buffer doesn't
  // fit beside the weights.
  std::optional<BenchStream> stream;
  std::string check;  // what was compared
  std::string refusal;
};

// A program without work on a machine.
struct InterpretationRow {
  std::string program;  // "nop", say
  std::string what;     // in it an instruction does
  std::string machine;  // vm::Machine::description()
  std::string ablations = "none";
  std::optional<int> threads;  // of a CPU machine
  uint32_t workers = 0;
  int64_t instructions = 0;  // one after the other, in a pass
  Summary ns;                // of an instruction
  std::vector<double> samples_ns;
  vm::GpuState gpu;  // medians while it ran
};

struct BenchReport {
  std::string command;
  std::string date_utc;  // "2026-11-21T09:30:00Z"
  std::string version;
  std::string commit;
  std::string hardware;               // GPU's name or processor's
  std::optional<std::string> driver;  // of a GPU
  BenchStream stream;                 // before and after all rows
  // --roofline: the stream is all that was measured, that many times.
  std::optional<Summary> roofline;
  vm::GpuState roofline_gpu;
  // --interpretation: this is all that was measured.
  std::vector<InterpretationRow> interpretation;
  std::vector<BenchSetup> setups;
  std::vector<BenchRow> rows;
};

// Takes the row's figures away and says why. REQUIRES: !status.ok().
void Refuse(const absl::Status& status, BenchRow& row);
// FailedPrecondition when rows were refused, with the first one's reason.
absl::Status BenchVerdict(const BenchReport& report);

double TokensPerSecond(const BenchRow& row);  // REQUIRES: row.figures
double GbPerSecond(const BenchRow& row);      // likewise
// The stream that the row's share is of.
BenchStream StreamOf(const BenchReport& report, const BenchRow& row);

std::string BenchMarkdown(const BenchReport& report);
// One line per row with everything that the row and its setup say; an empty
// field is not known.
std::string BenchCsv(const BenchReport& report);
std::string BenchJson(const BenchReport& report);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_REPORT_H_
