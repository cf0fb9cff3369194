// What `mkvm tune` found, and its two forms.
#ifndef MKVM_CLI_TUNE_REPORT_H_
#define MKVM_CLI_TUNE_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/tune_measure.h"
#include "scheduler/tune.h"

namespace mkvm::cli {

struct TuneReport {
  std::string command;
  std::string date_utc;  // "2026-11-21T09:30:00Z"
  std::string version;
  std::string commit;
  std::string hardware;  // GPU's name or processor's
  std::string model;     // geometry's name
  std::string weights;   // description
  TunePlan plan;
  double tolerance = 0;  // a part
  double seconds = 0;    // of the search
  scheduler::TuneResult result;
};

// The best target, with `base_notes` and what was measured as its notes.
scheduler::Target TunedTarget(const TuneReport& report,
                              absl::string_view base_notes);

// DataLoss when candidates gave other tokens than they should, with the
// first one's reason.
absl::Status TuneVerdict(const TuneReport& report);

// A table of the candidates in the order of their first measurement.
std::string TuneMarkdown(const TuneReport& report);
std::string TuneJson(const TuneReport& report, const scheduler::Target& tuned);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_TUNE_REPORT_H_
