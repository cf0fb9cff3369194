// One launch of a program on one thread, in a random order that its queues and
// waits allow, with every access checked against the happens-before relation.
#ifndef MKVM_VM_CPU_CHECKER_H_
#define MKVM_VM_CPU_CHECKER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/op_context.h"
#include "vm/machine.h"
#include "vm/progress.h"

namespace mkvm::vm {

// The same seed gives the same order. Weights and inputs are not checked:
// nothing writes them. Errors: an op's own; FailedPrecondition, one line, for
//  - a race: "race on x[512..520): written by worker 1 pc 3 (L00.o[1], gemv)
//    and read by worker 0 pc 5 (L00.norm, rms_norm), no order between them";
//  - a read of an activation's element that no instruction has written in this
//    pass, and a second write to one;
//  - a wait that another pass's signals have satisfied;
//  - a deadlock, with what each stuck worker waits for.
// REQUIRES: as RunParallel.
absl::StatusOr<LaunchEnd> RunChecked(const isa::Program& program,
                                     absl::Span<const ops::HostBuffer> buffers,
                                     const RunOptions& options, uint64_t seed);

}  // namespace mkvm::vm

#endif  // MKVM_VM_CPU_CHECKER_H_
