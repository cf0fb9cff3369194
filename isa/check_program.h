// The few properties of a program without which running it would not even be
// memory-safe. isa/verifier.h proves much more; this holds for the programs
// that are run although they don't verify.
#ifndef MKVM_ISA_CHECK_PROGRAM_H_
#define MKVM_ISA_CHECK_PROGRAM_H_

#include "absl/status/status.h"
#include "isa/program.h"

namespace mkvm::isa {

// OK when there is a worker, every queue ends with a halt, and every
// instruction has a known opcode, existing counters, operands of allowed
// dtypes with the opcode's requirements met, and accesses inside buffers that
// it may write if it does. Else InvalidArgument naming the first offender:
// "worker 3, pc 17 (L03.qkv[17], gemv): what".
absl::Status CheckRunnable(const Program& program);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_CHECK_PROGRAM_H_
