// RAW, WAR and WAW, the laps of counters, and progress.
#ifndef MKVM_ISA_VERIFIER_ORDER_H_
#define MKVM_ISA_VERIFIER_ORDER_H_

#include "isa/verifier_dataflow.h"

namespace mkvm::isa {

// A tagged wait is for data that the instruction polls.
void CheckTaggedWaits(const Program& program, const Dataflow& flow,
                      Report& report);

// REQUIRES: CheckCounters, CheckQueues and CheckCoverage found nothing.
void CheckOrder(const Program& program, const Dataflow& flow, Report& report);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_ORDER_H_
