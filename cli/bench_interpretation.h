// What interpreting costs by itself: programs of nops, whose time is that of
// fetching, decoding, waiting, dispatching and signalling.
#ifndef MKVM_CLI_BENCH_INTERPRETATION_H_
#define MKVM_CLI_BENCH_INTERPRETATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench_report.h"
#include "cli/device.h"
#include "isa/program.h"

namespace mkvm::cli {

struct NopProgram {
  std::string name;
  std::string what;  // an instruction of it does
  isa::Program program;
  int64_t instructions = 0;  // of a pass that follow one another
};

// "nop": on every worker that `device` has (on the CPU: per thread), nops that
// wait for nothing. "wait": likewise, but each waits for a counter that the one
// before has signalled. "hop": the same chain through two workers in turn, so
// that every wait is for the other one.
std::vector<NopProgram> NopPrograms(const Device& device, int threads);

// Nanoseconds of one of the instructions that follow one another, from the
// difference of launches of many passes and of few, `repetitions` times. The
// halt at the end of a pass counts as an instruction.
absl::StatusOr<InterpretationRow> MeasureNops(const NopProgram& program,
                                              const Device& device, int threads,
                                              int repetitions, bool warm_up);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_INTERPRETATION_H_
