// A fault as the one status line that a user reads.
#ifndef MKVM_VM_FAULT_STATUS_H_
#define MKVM_VM_FAULT_STATUS_H_

#include "absl/status/status.h"
#include "isa/program.h"
#include "vm/fault.h"

namespace mkvm::vm {

// "worker 3 waits in pass 0 at pc 17 (L03.qkv[17], gemv) for counter L03.x:
// 127 seen, 128 wanted" and the like. DeadlineExceeded for the timeouts,
// otherwise FailedPrecondition. REQUIRES: fault.kind != kNone.
absl::Status FaultStatus(const isa::Program& program, const Fault& fault);

}  // namespace mkvm::vm

#endif  // MKVM_VM_FAULT_STATUS_H_
