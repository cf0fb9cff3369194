// The CPU machine: the same programs, the same meaning.
#ifndef MKVM_VM_CPU_MACHINE_H_
#define MKVM_VM_CPU_MACHINE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "vm/machine.h"

namespace mkvm::vm {

struct CpuMachineOptions {
  // Worker threads; 0: one per core. Workers are multiplexed over them: a
  // blocked worker yields to the next, so any number of either is fine.
  int threads = 0;
  // The checking machine: one thread, a seeded random interleaving of the
  // workers, and every element's last writer and readers remembered, so that
  // a missing edge is reported as a race with both instructions named
  // (FailedPrecondition), and a read of an element not written in this pass,
  // or a deadlock, likewise. Slow; for tests and for the verifier's mutants.
  bool check_races = false;
  uint64_t seed = 1;
  // No copy of bound weights of the right dtype: the tensor's memory must
  // outlive the machine.
  bool alias_weights = true;
};

// The program must be valid in its fields and bounds (isa/verifier.h).
// ResourceExhausted when the buffers don't fit memory. The environment variable
// MKVM_CPU_KERNEL, if set, names the process's kernels (ops/dot.h):
// InvalidArgument when this processor has none of that name.
absl::StatusOr<std::unique_ptr<Machine>> CreateCpuMachine(
    isa::Program program, const CpuMachineOptions& options = {});

}  // namespace mkvm::vm

#endif  // MKVM_VM_CPU_MACHINE_H_
