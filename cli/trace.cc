// mkvm trace: what a recorded or predicted trace says.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/trace_flags.h"
#include "cli/verbs.h"
#include "trace/critical_path.h"
#include "trace/csv.h"
#include "trace/dependencies.h"
#include "trace/diff.h"
#include "trace/html.h"
#include "trace/perfetto.h"
#include "trace/summary.h"
#include "trace/trace.h"
#include "trace/what_if.h"

namespace mkvm::cli {
namespace {

struct Options {
  std::string passes;
  std::optional<int64_t> worst;
  bool path = false;
  bool json = false;
  std::string csv;
  std::string perfetto;
  std::string html;

  // The standard output is taken by a file.
  bool prints_file() const {
    return csv == "-" || perfetto == "-" || html == "-";
  }
};

Flags MakeFlags(Options& o) {
  Flags flags(
      "trace (FILE.mkt | diff A.mkt B.mkt) [FLAGS]",
      "What a trace of `mkvm run --trace` or `mkvm compile --simulate` says: "
      "time per\nopcode and per phase, who waited for whom, the critical path, "
      "what-if. With diff: what\ngot faster and slower from A to B; takes "
      "--passes and --json.");
  flags.Add("passes", &o.passes, "A..B", "only passes A to B - 1 (all)");
  flags.Add("worst", &o.worst, "N", "longest waits to list (10)");
  flags.Add("path", &o.path,
            "every step of the critical path of the token of median length");
  flags.Add("csv", &o.csv, "FILE", "a line per event; - is stdout");
  flags.Add("perfetto", &o.perfetto, "FILE",
            "Chrome trace events, for ui.perfetto.dev; - is stdout");
  flags.Add("html", &o.html, "FILE",
            "the timeline as one self-contained page; - is stdout");
  flags.Add("json", &o.json, "the summary as one JSON object");
  return flags;
}

absl::Status CheckOptions(const Options& o, bool diff) {
  if (o.worst.value_or(1) < 0) return UsageError("--worst is below 0");
  if (diff && (o.path || o.worst.has_value() || !o.csv.empty() ||
               !o.perfetto.empty() || !o.html.empty())) {
    return UsageError("trace diff takes --passes and --json only");
  }
  const int to_stdout = (o.csv == "-") + (o.perfetto == "-") + (o.html == "-");
  if (to_stdout > 1) return UsageError("only one file can go to stdout");
  if (!o.passes.empty()) return ParseRange(o.passes, "--passes").status();
  return absl::OkStatus();
}

// Leaves the passes that were asked for.
absl::Status KeepPasses(const std::string& text, absl::string_view path,
                        trace::Trace& t) {
  if (text.empty()) return absl::OkStatus();
  absl::StatusOr<Range> range = ParseRange(text, "--passes");
  if (!range.ok()) return range.status();
  std::erase_if(t.events, [&](const trace::Event& e) {
    return e.pass < range->begin ||
           (range->end.has_value() && e.pass >= *range->end);
  });
  if (t.events.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": no event in passes ", text, "; it holds passes ", t.first_pass,
        "..", uint64_t{t.first_pass} + t.num_passes));
  }
  trace::Normalize(t);
  return absl::OkStatus();
}

absl::StatusOr<trace::Trace> ReadTrace(const std::string& path,
                                       const Options& o) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  if (absl::StartsWith(*bytes, "mkvm\r\n")) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is a program, not a trace (mkvm run --trace records one)"));
  }
  absl::StatusOr<trace::Trace> t = trace::Parse(*bytes);
  if (!t.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", t.status().message()));
  }
  if (t->events.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " holds no events: nothing ran while it recorded"));
  }
  if (absl::Status s = KeepPasses(o.passes, path, *t); !s.ok()) return s;
  return t;
}

// The typical token of median length.
const trace::TokenPath* MedianToken(const trace::Trace& t,
                                    const trace::CriticalPath& path) {
  std::vector<trace::PassSpan> spans =
      trace::TypicalPasses(trace::PassSpans(t));
  if (spans.empty()) return nullptr;
  const auto middle = spans.begin() + static_cast<int64_t>(spans.size() / 2);
  std::nth_element(spans.begin(), middle, spans.end(),
                   [](const trace::PassSpan& a, const trace::PassSpan& b) {
                     return a.end - a.begin < b.end - b.begin;
                   });
  const auto token = std::find_if(
      path.tokens.begin(), path.tokens.end(),
      [&](const trace::TokenPath& p) { return p.pass == middle->pass; });
  return token == path.tokens.end() ? nullptr : &*token;
}

absl::Status WriteFiles(const Options& o,
                        const trace::Dependencies& dependencies,
                        const trace::CriticalPath& path) {
  if (!o.csv.empty()) {
    std::string text;
    trace::WriteCsv(dependencies, [&text](absl::string_view piece) {
      text.append(piece.data(), piece.size());
    });
    if (absl::Status s = WriteFile(o.csv, text); !s.ok()) return s;
  }
  if (!o.perfetto.empty()) {
    absl::Status s =
        WriteFile(o.perfetto, trace::ToPerfetto(dependencies, path));
    if (!s.ok()) return s;
  }
  if (o.html.empty()) return absl::OkStatus();
  return WriteFile(o.html, trace::ToHtml(dependencies, path));
}

absl::Status PrintSummary(const Options& o,
                          const trace::Dependencies& dependencies,
                          const trace::CriticalPath& path) {
  const trace::Summary summary = trace::Summarize(
      dependencies, {.num_waits = static_cast<size_t>(o.worst.value_or(10))});
  const trace::PathTable table = trace::TabulatePath(dependencies, path);
  const absl::StatusOr<trace::WhatIf> what_if = trace::AskWhatIf(dependencies);
  if (o.json) {
    absl::PrintF("%s\n",
                 trace::SummaryJson(dependencies, summary, table,
                                    what_if.ok() ? &*what_if : nullptr));
    return absl::OkStatus();
  }
  std::string text = absl::StrCat(trace::SummaryText(dependencies, summary),
                                  "\n", trace::CriticalPathText(table), "\n");
  if (what_if.ok()) {
    text += trace::WhatIfText(*what_if);
  } else {
    absl::StrAppend(&text, "No what-if: ", what_if.status().message(), ".\n");
  }
  const trace::TokenPath* token =
      o.path ? MedianToken(dependencies.trace(), path) : nullptr;
  if (token != nullptr) {
    absl::StrAppend(&text, "\n", trace::TokenPathText(dependencies, *token));
  }
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

absl::Status DiffFiles(const std::vector<std::string>& files,
                       const Options& o) {
  absl::StatusOr<trace::Trace> a = ReadTrace(files[0], o);
  if (!a.ok()) return a.status();
  absl::StatusOr<trace::Trace> b = ReadTrace(files[1], o);
  if (!b.ok()) return b.status();
  const trace::Diff diff = trace::Compare(*a, *b);
  std::fputs((o.json ? absl::StrCat(trace::DiffJson(diff), "\n")
                     : trace::DiffText(*a, *b, diff))
                 .c_str(),
             stdout);
  return absl::OkStatus();
}

}  // namespace

absl::Status TraceVerb(Args args) {
  const bool diff = !args.empty() && args[0] == "diff";
  if (diff) args.remove_prefix(1);
  Options o;
  Flags flags = MakeFlags(o);
  absl::StatusOr<std::vector<std::string>> files =
      flags.Parse(args, diff ? 2 : 1, diff ? 2 : 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  if (absl::Status s = CheckOptions(o, diff); !s.ok()) return s;
  if (diff) return DiffFiles(*files, o);
  absl::StatusOr<trace::Trace> t = ReadTrace(files->front(), o);
  if (!t.ok()) return t.status();
  const trace::Dependencies dependencies(*t);
  const trace::CriticalPath path = trace::FindCriticalPath(dependencies);
  if (absl::Status s = WriteFiles(o, dependencies, path); !s.ok()) return s;
  if (o.prints_file()) return absl::OkStatus();
  return PrintSummary(o, dependencies, path);
}

}  // namespace mkvm::cli
