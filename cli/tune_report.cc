#include "cli/tune_report.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

using Json = nlohmann::ordered_json;
using scheduler::TuneCandidate;

constexpr absl::string_view kNote = "shape found by mkvm tune";

const TuneCandidate& Best(const TuneReport& report) {
  return report.result.candidates[report.result.best];
}

double Ratio(const TuneReport& report, const TuneCandidate& candidate) {
  return candidate.mean_us / Best(report).mean_us;
}

std::string JoinUs(const std::vector<double>& us) {
  return absl::StrJoin(us, ", ", [](std::string* out, double value) {
    absl::StrAppendFormat(out, "%.1f", value);
  });
}

std::string Budget(const TuneReport& report) {
  return report.result.out_of_budget ? "; the budget ended the search" : "";
}

// What an earlier tuning said is no longer so.
std::string WithoutOldNote(absl::string_view notes) {
  notes = notes.substr(0, notes.find(kNote));
  while (absl::EndsWith(notes, " ") || absl::EndsWith(notes, ";")) {
    notes.remove_suffix(1);
  }
  return std::string(notes);
}

std::string Row(const TuneReport& report, const TuneCandidate& candidate) {
  std::string row = "|";
  for (const uint32_t value : candidate.shape) {
    absl::StrAppend(&row, " ", value, " |");
  }
  const bool measured = candidate.status.ok();
  for (size_t i = 0; i < report.plan.positions.size(); ++i) {
    absl::StrAppend(
        &row, measured ? absl::StrFormat(" %.1f", candidate.us[i]) : "", " |");
  }
  if (!measured) {
    return absl::StrCat(row, " | | left out: ",
                        absl::StrReplaceAll(candidate.status.message(),
                                            {{"|", "\\|"}, {"\n", " "}}),
                        " |\n");
  }
  const bool best = &candidate == &Best(report);
  absl::StrAppendFormat(&row, " %.1f | %.3f | %s |\n", candidate.mean_us,
                        Ratio(report, candidate), best ? "best" : "");
  return row;
}

Json CandidateJson(const TuneReport& report, const TuneCandidate& candidate) {
  Json shape = Json::object();
  for (size_t i = 0; i < report.plan.keys.size(); ++i) {
    shape[std::string(report.plan.keys[i].name)] = candidate.shape[i];
  }
  Json json = {{"shape", std::move(shape)}};
  if (!candidate.status.ok()) {
    json["left_out"] = std::string(candidate.status.message());
    return json;
  }
  json["us_per_token"] = candidate.us;
  json["samples"] = candidate.samples;
  json["mean_us"] = candidate.mean_us;
  json["ratio"] = Ratio(report, candidate);
  json["best"] = &candidate == &Best(report);
  return json;
}

}  // namespace

scheduler::Target TunedTarget(const TuneReport& report,
                              absl::string_view base_notes) {
  scheduler::Target target = Best(report).target;
  const std::string before = WithoutOldNote(base_notes);
  target.notes = absl::StrFormat(
      "%s%s%s on %s, %s: %s, %s us per token from positions %s on, the best of "
      "%d shapes tried%s",
      before, before.empty() ? "" : "; ", kNote, report.hardware,
      report.date_utc.substr(0, 10), report.model, JoinUs(Best(report).us),
      absl::StrJoin(report.plan.positions, ", "),
      report.result.candidates.size(), Budget(report));
  return target;
}

absl::Status TuneVerdict(const TuneReport& report) {
  int wrong = 0;
  std::string first;
  for (const TuneCandidate& candidate : report.result.candidates) {
    if (!absl::IsDataLoss(candidate.status)) continue;
    if (++wrong > 1) continue;
    first = absl::StrCat(
        scheduler::DescribeShape(candidate.target, report.plan.keys), ": ",
        candidate.status.message());
  }
  if (wrong == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "%d of %d shapes gave other tokens than they should; the first: %s",
      wrong, report.result.candidates.size(), first));
}

std::string TuneMarkdown(const TuneReport& report) {
  std::string text = absl::StrFormat(
      "%s on %s, %s. us per token without launching, the median of %d launches "
      "of %d tokens from each position on; mean: their geometric mean, which "
      "is made small. Within %.1f %% the smaller shape wins.\n\n|",
      report.model, report.hardware, report.date_utc, report.plan.repetitions,
      report.plan.tokens, 100 * report.tolerance);
  std::string line = "|";
  const auto column = [&](absl::string_view name) {
    absl::StrAppend(&text, " ", name, " |");
    absl::StrAppend(&line, "---|");
  };
  for (const scheduler::TuneKey& key : report.plan.keys) column(key.name);
  for (const int64_t position : report.plan.positions) {
    column(absl::StrCat("at ", position));
  }
  column("mean");
  column("of the best");
  column("");
  absl::StrAppend(&text, "\n", line, "\n");
  for (const TuneCandidate& candidate : report.result.candidates) {
    absl::StrAppend(&text, Row(report, candidate));
  }
  absl::StrAppendFormat(
      &text, "\nbest of %d shapes in %.0f s: %s%s\n",
      report.result.candidates.size(), report.seconds,
      scheduler::DescribeShape(Best(report).target, report.plan.keys),
      Budget(report));
  return text;
}

std::string TuneJson(const TuneReport& report, const scheduler::Target& tuned) {
  Json candidates = Json::array();
  for (const TuneCandidate& candidate : report.result.candidates) {
    candidates.push_back(CandidateJson(report, candidate));
  }
  const Json json = {
      {"command", report.command},
      {"date_utc", report.date_utc},
      {"version", report.version},
      {"commit", report.commit},
      {"hardware", report.hardware},
      {"model", report.model},
      {"weights", report.weights},
      {"positions", report.plan.positions},
      {"tokens", report.plan.tokens},
      {"repetitions", report.plan.repetitions},
      {"objective", "geometric mean of us_per_token over the positions"},
      {"tolerance", report.tolerance},
      {"seconds", report.seconds},
      {"out_of_budget", report.result.out_of_budget},
      {"candidates", std::move(candidates)},
      {"target", Json::parse(scheduler::TargetToJson(tuned))}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace mkvm::cli
