// RAW, WAR and WAW, the laps of counters, and progress.
#ifndef MKVM_ISA_VERIFIER_ORDER_H_
#define MKVM_ISA_VERIFIER_ORDER_H_

#include "isa/verifier_dataflow.h"

namespace mkvm::isa {

// A pass of `flow`, and one of `next` after it. REQUIRES: CheckCounters,
// CheckQueues and CheckCoverage found nothing.
void CheckOrder(const Program& program, const Dataflow& flow,
                const Dataflow& next, Report& report);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_ORDER_H_
