#include "isa/verifier.h"

#include "absl/strings/str_cat.h"
#include "isa/verifier_dataflow.h"
#include "isa/verifier_fields.h"
#include "isa/verifier_order.h"

namespace mkvm::isa {
namespace {

// Each step relies on the ones before; what a later one would say of a program
// that an earlier one refuses is noise.
void Check(const Program& program, Report& report) {
  CheckDeclarations(program, report);
  if (!report.empty()) return;
  CheckInstructions(program, report);
  if (!report.empty()) return;
  CheckQueues(program, report);
  if (!report.empty()) return;
  CheckCounters(program, report);
  CheckBudgets(program, report);
  const Dataflow flow(program);
  CheckCoverage(program, flow, report);
  if (!report.empty()) return;
  CheckTaggedWaits(program, flow, report);
  CheckOrder(program, flow, report);
}

}  // namespace

std::vector<Diagnostic> Verify(const Program& program,
                               const VerifyOptions& options) {
  Report report(program, options.max_diagnostics);
  Check(program, report);
  return report.Take();
}

absl::Status VerifyStatus(const Program& program) {
  const std::vector<Diagnostic> diagnostics = Verify(program);
  if (diagnostics.empty()) return absl::OkStatus();
  std::string message = diagnostics.front().message;
  if (diagnostics.size() > 1) {
    absl::StrAppend(&message, "\n(and ", diagnostics.size() - 1, " more)");
  }
  return absl::FailedPreconditionError(message);
}

}  // namespace mkvm::isa
