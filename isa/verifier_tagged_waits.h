// What tagged waits stand for.
#ifndef MKVM_ISA_VERIFIER_TAGGED_WAITS_H_
#define MKVM_ISA_VERIFIER_TAGGED_WAITS_H_

#include "absl/types/span.h"
#include "isa/program.h"
#include "isa/verifier_dataflow.h"
#include "isa/verifier_report.h"

namespace mkvm::isa {

// A tagged wait is for data that the instruction polls, in passes of some kind.
void CheckTaggedWaits(const Program& program, absl::Span<const Dataflow> flows,
                      Report& report);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_TAGGED_WAITS_H_
