// One launch of a program on threads.
#ifndef MKVM_VM_PARALLEL_RUN_H_
#define MKVM_VM_PARALLEL_RUN_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/op_context.h"
#include "vm/cpu_trace.h"
#include "vm/machine.h"
#include "vm/progress.h"

namespace mkvm::vm {

// Runs every queue on `threads` threads until all workers have left. Errors:
// DeadlineExceeded as FaultStatus when no instruction completed for
// options.watchdog_seconds although none was running; an op's own error, with
// its place. REQUIRES: threads >= 1, 1 <= options.max_passes < 2^31,
// isa::CheckRunnable(program) is OK, every buffer has memory.
absl::StatusOr<LaunchEnd> RunParallel(const isa::Program& program,
                                      absl::Span<const ops::HostBuffer> buffers,
                                      const RunOptions& options, int threads,
                                      CpuTrace* trace_or_null);

}  // namespace mkvm::vm

#endif  // MKVM_VM_PARALLEL_RUN_H_
