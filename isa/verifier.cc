#include "isa/verifier.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "isa/verifier_dataflow.h"
#include "isa/verifier_fields.h"
#include "isa/verifier_order.h"
#include "isa/verifier_tagged_waits.h"

namespace mkvm::isa {
namespace {

// The kinds of pass that there are, in the order of their positions: one, or
// those below `alone`, where some accesses end, and those from it on.
class Passes {
 public:
  Passes(const Program& program, uint64_t alone) : alone_(alone) {
    if (alone > 0) flows_.emplace_back(program, 0, alone);
    flows_.emplace_back(program, alone, Access::kNoEnd);
  }

  absl::Span<const Dataflow> flows() const { return flows_; }

  // Calls check(flow, report) for each kind.
  template <typename Check>
  void ForEach(Report& report, Check check) const {
    if (flows_.size() == 1) return check(flows_[0], report);
    std::vector<std::pair<std::string, Report>> parts = {
        {Below(), Report::PartOf(report)}, {From(), Report::PartOf(report)}};
    for (size_t k = 0; k < parts.size(); ++k) check(flows_[k], parts[k].second);
    report.Merge(parts);
  }

  // Calls check(flow, next, report) for each pass that may follow another. The
  // position only grows.
  template <typename Check>
  void ForEachPair(Report& report, Check check) const {
    if (flows_.size() == 1) return check(flows_[0], flows_[0], report);
    std::vector<std::pair<std::string, Report>> parts = {
        {Below(), Report::PartOf(report)},
        {From(), Report::PartOf(report)},
        {absl::StrCat("from a pass below position ", alone_,
                      " to one from it on"),
         Report::PartOf(report)}};
    check(flows_[0], flows_[0], parts[0].second);
    check(flows_[1], flows_[1], parts[1].second);
    check(flows_[0], flows_[1], parts[2].second);
    report.Merge(parts);
  }

 private:
  std::string Below() const {
    return absl::StrCat("in passes below position ", alone_);
  }
  std::string From() const {
    return absl::StrCat("in passes from position ", alone_, " on");
  }

  const uint64_t alone_;
  std::vector<Dataflow> flows_;
};

// Each step relies on the ones before; what a later one would say of a program
// that an earlier one refuses is noise.
void Check(const Program& program, Report& report) {
  CheckDeclarations(program, report);
  if (!report.empty()) return;
  CheckInstructions(program, report);
  if (!report.empty()) return;
  CheckQueues(program, report);
  if (!report.empty()) return;
  const uint64_t alone = CheckAlone(program, report);
  if (!report.empty()) return;
  CheckCounters(program, report);
  CheckBudgets(program, report);
  const Passes passes(program, alone);
  passes.ForEach(report, [&](const Dataflow& flow, Report& part) {
    CheckCoverage(program, flow, passes.flows(), part);
  });
  if (!report.empty()) return;
  CheckTaggedWaits(program, passes.flows(), report);
  passes.ForEachPair(
      report, [&](const Dataflow& flow, const Dataflow& next, Report& part) {
        CheckOrder(program, flow, next, part);
      });
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
