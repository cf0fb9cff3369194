// Where the workers of a run stand and what they wait for: what both forms of
// the CPU machine share.
#ifndef MKVM_VM_PROGRESS_H_
#define MKVM_VM_PROGRESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/op_context.h"
#include "vm/fault.h"

namespace mkvm::vm {

// How a launch ended when nothing went wrong.
struct LaunchEnd {
  int64_t passes = 0;    // completed by every worker
  bool stopped = false;  // a halt saw its stop flag set
};

// The instruction that a worker is to run next.
struct WorkerPlace {
  uint32_t pass = 0;
  uint32_t pc = 0;
  bool left = false;     // it left the program: nothing is next
  bool stopped = false;  // it left because of the stop flag
};

// What the counter of wait `i` must have reached before the instruction starts
// in `pass` (0-based, since the launch). 0: nothing to wait for.
inline uint64_t WaitTarget(const isa::Program& program,
                           const isa::Instruction& instruction, int i,
                           uint32_t pass) {
  const isa::Wait& wait = instruction.waits[i];
  uint64_t passes_before = pass;
  if (instruction.WaitIsLagged(i)) {
    if (pass == 0) return 0;
    --passes_before;
  }
  return passes_before * program.counters[wait.counter].producers +
         wait.threshold;
}

// Moves `place` past a completed instruction. A halt ends the pass; it leaves
// the program when its stop flag is set or `max_passes` are done.
void MovePast(const isa::Instruction& instruction,
              absl::Span<const ops::HostBuffer> buffers, uint32_t max_passes,
              WorkerPlace& place);

// One kCounterTimeout for every worker that waits in vain, given the counters'
// values. First those whose counter can't be reached even if all others went
// on: the cause rather than its victims.
std::vector<Fault> StuckWorkers(const isa::Program& program,
                                absl::Span<const WorkerPlace> places,
                                absl::Span<const uint64_t> counts);

// The error of an op with its place: "worker 3, pass 0, pc 17 (L03.qkv[17],
// gemv): what". REQUIRES: !status.ok().
absl::Status AtPlace(const isa::Program& program, uint32_t worker,
                     const WorkerPlace& place, const absl::Status& status);

}  // namespace mkvm::vm

#endif  // MKVM_VM_PROGRESS_H_
