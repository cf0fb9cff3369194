// Proves a program safe to run, knowing the ISA table and nothing of the
// scheduler that made it (design: docs/verifier.md).
//
// Proven for every instruction, of this pass and of the next:
//  - fields: known opcode, flags and enums, operands of an allowed dtype and
//    kind, requirements of opcodes.def, unused words zero;
//  - bounds: every access inside its buffer;
//  - coverage: every element of an activation that is read is written exactly
//    once per pass, none is written twice; weights and inputs never written;
//  - order: RAW, WAR and WAW ordered by the happens-before relation of queues
//    and counters, across the pass boundary too. A read that is polled may
//    rely on tagged edges; every other read needs a chain of releases and
//    acquires or queue order;
//  - counters: thresholds equal producers (all-join), which equal the signals
//    found; a counter waited for is signalled;
//  - progress: no cycle through queue order and waits; every queue ends with
//    its only halt; the program can stop;
//  - budgets: weight stages and shared memory of the target.
#ifndef MKVM_ISA_VERIFIER_H_
#define MKVM_ISA_VERIFIER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "isa/program.h"

namespace mkvm::isa {

struct Diagnostic {
  // Reads like a compiler's: "worker 3, pc 17 (L03.qkv[17]): error: ...".
  std::string message;
};

struct VerifyOptions {
  size_t max_diagnostics = 20;  // stop after this many
};

// Empty: the program is proven.
std::vector<Diagnostic> Verify(const Program& program,
                               const VerifyOptions& options = {});

// OK, or FailedPrecondition with the first diagnostic and the number of others.
absl::Status VerifyStatus(const Program& program);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_H_
