// A program run against the cost model of a target: every instruction of every
// worker, event by event. docs/target.md describes the model.
#ifndef MKVM_SCHEDULER_SIMULATE_H_
#define MKVM_SCHEDULER_SIMULATE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "scheduler/target.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

struct SimulateOptions {
  uint64_t first_position = 0;  // of pass 0, tokens
  uint32_t passes = 4;          // at least 1
};

// The trace of consecutive passes, from empty stage rings on, so that the first
// pass is not like the others. The stages are the program's, everything else
// the target's. Waits are taken to be for all producers, as the verifier
// demands. Deterministic: the spread of an instruction in a pass is a fixed
// pseudo-random number. REQUIRES: fields that the verifier accepts. Errors:
// InvalidArgument when waits form a cycle or options are out of range.
absl::StatusOr<trace::Trace> Simulate(const isa::Program& program,
                                      const Target& target,
                                      const SimulateOptions& options);

// The end of each pass, microseconds, when pass p is at positions[p]; empty
// when waits form a cycle. REQUIRES: as above.
std::vector<double> SimulatePassEnds(const isa::Program& program,
                                     const Target& target,
                                     absl::Span<const uint64_t> positions);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_SIMULATE_H_
