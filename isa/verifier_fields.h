// The part of the verifier that looks at one thing at a time: fields, operands,
// bounds, counters, budgets.
#ifndef MKVM_ISA_VERIFIER_FIELDS_H_
#define MKVM_ISA_VERIFIER_FIELDS_H_

#include "isa/verifier_report.h"

namespace mkvm::isa {

// Each adds a diagnostic per broken rule. The later ones rely on the earlier
// ones having found nothing.
void CheckDeclarations(const Program& program, Report& report);
void CheckInstructions(const Program& program, Report& report);
void CheckCounters(const Program& program, Report& report);
void CheckQueues(const Program& program, Report& report);
// The position below which some instructions do what others do from it on; 0:
// there is none. Adds a diagnostic where there are several. (Positions at which
// something begins that nobody has done before may be many.)
uint64_t CheckAlone(const Program& program, Report& report);
void CheckBudgets(const Program& program, Report& report);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_FIELDS_H_
