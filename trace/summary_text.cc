// The summary in words.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "trace/summary.h"

namespace mkvm::trace {
namespace {

double Micros(double nanos) { return nanos / 1e3; }

// How good the clocks are, and whether the events bear that out.
std::string Clocks(const Trace& trace, const Summary& s) {
  std::string text;
  const double part = s.num_edges == 0
                          ? 0
                          : 100.0 * static_cast<double>(s.num_impossible) /
                                static_cast<double>(s.num_edges);
  const double worst_ns = static_cast<double>(s.worst_impossible);
  const bool as_stated = worst_ns <= trace.skew_ns;
  if (trace.source == Source::kMeasured) {
    absl::StrAppendFormat(
        &text, "  clock: steps of %g ns, two workers up to %g ns apart",
        trace.resolution_ns, trace.skew_ns);
    if (s.num_impossible > 0 && as_stated) {
      absl::StrAppendFormat(&text, " (seen: %.0f ns, in %.2f %% of the waits)",
                            worst_ns, part);
    }
    text += "\n";
  }
  if (s.num_impossible > 0 && !as_stated) {
    absl::StrAppendFormat(
        &text,
        "  CLOCKS DIFFER: %.2f %% of the waits ended before what they waited "
        "for, by up to %.2f us;\n"
        "  hops and waits between workers are uncertain by as much\n",
        part, Micros(worst_ns));
  }
  return text;
}

std::string Header(const Trace& trace, const Summary& s) {
  std::string text = absl::StrFormat(
      "%s on %s\n",
      trace.source == Source::kMeasured ? "Measured" : "PREDICTED",
      trace.machine.empty() ? "an unnamed machine" : trace.machine);
  if (!trace.command.empty()) {
    absl::StrAppend(&text, "  command: ", trace.command, "\n");
  }
  absl::StrAppendFormat(&text,
                        "  program: %s, target %s, %d workers, %d "
                        "instructions\n",
                        trace.program.name, trace.program.target.name,
                        trace.program.num_workers(),
                        isa::NumInstructions(trace.program));
  if (s.num_passes == 0) return text + "  no events were recorded\n";
  absl::StrAppendFormat(
      &text, "  passes %d..%d (positions %d..%d), %d events\n",
      trace.first_pass, trace.first_pass + trace.num_passes - 1,
      trace.first_position + trace.first_pass,
      trace.first_position + trace.first_pass + trace.num_passes - 1,
      trace.events.size());
  if (trace.dropped > 0 || s.num_complete < s.num_passes) {
    absl::StrAppendFormat(
        &text,
        "  INCOMPLETE: %d events did not fit and are missing; %d of %d passes "
        "are whole.\n"
        "  Record fewer passes for a full picture.\n",
        trace.dropped, s.num_complete, s.num_passes);
  }
  absl::StrAppendFormat(&text,
                        "  %.2f us/token, %.1f tokens/s (mean of %d pass%s)\n",
                        s.us_per_token, s.tokens_per_s, s.num_tokens,
                        s.num_tokens == 1 ? "" : "es");
  return text + Clocks(trace, s);
}

std::string Opcodes(const Summary& s) {
  std::string text =
      absl::StrFormat("\n%-22s %9s %11s %11s %11s %7s\n", "Opcode", "count",
                      "median us", "p99 us", "total ms", "share");
  for (const OpcodeTime& row : s.opcodes) {
    absl::StrAppendFormat(&text, "  %-20s %9d %11.2f %11.2f %11.3f %5.1f %%\n",
                          row.opcode, row.count, Micros(row.median_ns),
                          Micros(row.p99_ns), row.total_ns / 1e6,
                          100 * row.share);
  }
  return text;
}

std::string PhaseRows(const Summary& s) {
  std::string text = absl::StrFormat(
      "\n%-14s %9s %9s %9s %9s %9s %9s %10s\n", "Phase, mean us", "visits",
      "wait", "stages", "compute", "overhead", "KB", "imbalance");
  for (const PhaseTime& row : s.phases) {
    absl::StrAppendFormat(
        &text, "  %-12s %9d %9.2f %9.2f %9.2f %9.2f %9.1f %10.2f\n", row.kind,
        row.count, Micros(row.wait_ns + row.operand_wait_ns),
        Micros(row.stage_wait_ns), Micros(row.compute_ns),
        Micros(row.overhead_ns), row.bytes / 1e3, row.imbalance);
  }
  return text +
         "  (imbalance: the worker that computes longest over the mean, per "
         "layer)\n";
}

std::string Workers(const Summary& s) {
  struct Row {
    const char* name;
    std::function<Nanos(const Breakdown&)> of;
  };
  const std::array<Row, 4> rows = {{
      {"waiting", [](const Breakdown& b) { return b.wait + b.operand_wait; }},
      {"streaming", [](const Breakdown& b) { return b.stage_wait; }},
      {"computing", [](const Breakdown& b) { return b.compute; }},
      {"overhead", [](const Breakdown& b) { return b.overhead; }},
  }};
  std::string text =
      absl::StrFormat("\n%-22s %9s %20s %20s\n", "Share of worker time", "mean",
                      "least, worker", "most, worker");
  for (const Row& row : rows) {
    double sum = 0, all = 0, least = 2, most = -1;
    uint32_t least_worker = 0, most_worker = 0;
    for (const WorkerTime& w : s.workers) {
      const auto part = static_cast<double>(row.of(w.sums));
      const auto total = static_cast<double>(w.sums.total());
      sum += part;
      all += total;
      const double share = total > 0 ? part / total : 0;
      if (share < least) {
        least = share;
        least_worker = w.worker;
      }
      if (share > most) {
        most = share;
        most_worker = w.worker;
      }
    }
    absl::StrAppendFormat(&text,
                          "  %-20s %7.1f %% %10.1f %% %7d %10.1f %% %7d\n",
                          row.name, all > 0 ? 100 * sum / all : 0, 100 * least,
                          least_worker, 100 * most, most_worker);
  }
  return text;
}

std::string Rate(const Trace& trace, const Summary& s) {
  static constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄",
                                                       "▅", "▆", "▇", "█"};
  const double most = *std::max_element(s.gb_per_s.begin(), s.gb_per_s.end());
  const double least = *std::min_element(s.gb_per_s.begin(), s.gb_per_s.end());
  std::string text = absl::StrFormat(
      "\nRead: %.1f GB/s in the mean, %.1f to %.1f in %d slices of %.2f us",
      s.mean_gb_per_s, least, most, s.gb_per_s.size(), Micros(s.slice_ns));
  if (trace.stream_gb_per_s > 0) {
    absl::StrAppendFormat(
        &text, "; a read-only stream here: %.0f GB/s (%.0f %%)",
        trace.stream_gb_per_s, 100 * s.mean_gb_per_s / trace.stream_gb_per_s);
  }
  text += "\n  ";
  const double full = std::max(most, trace.stream_gb_per_s);
  for (const double rate : s.gb_per_s) {
    const double level = full > 0 ? rate / full * kBars.size() : 0;
    text +=
        kBars[std::min<size_t>(static_cast<size_t>(level), kBars.size() - 1)];
  }
  return text + "\n";
}

std::string Waits(const Dependencies& dependencies, const Summary& s) {
  if (s.worst_waits.empty()) return "";
  const Trace& trace = dependencies.trace();
  std::string text =
      "\nWorst waits (the longest between any two phases; how often, mean)\n";
  for (const WorstWait& w : s.worst_waits) {
    const Event& e = trace.events[w.event];
    absl::StrAppendFormat(&text, "  %s (pass %d, worker %d; %d, %.2f us)\n",
                          WaitText(dependencies, w), e.pass, e.worker, w.count,
                          Micros(w.mean_ns));
  }
  return text;
}

}  // namespace

std::string WaitText(const Dependencies& dependencies, const WorstWait& wait) {
  const Trace& trace = dependencies.trace();
  const Event& producer = trace.events[wait.producer];
  return absl::StrFormat("%s waited %.2f us for %s on worker %d",
                         Name(trace, trace.events[wait.event]),
                         Micros(static_cast<double>(wait.wait)),
                         Name(trace, producer), producer.worker);
}

std::string SummaryText(const Dependencies& dependencies,
                        const Summary& summary) {
  const Trace& trace = dependencies.trace();
  std::string text = Header(trace, summary);
  if (summary.num_passes == 0) return text;
  return absl::StrCat(text, Opcodes(summary), PhaseRows(summary),
                      Workers(summary), Rate(trace, summary),
                      Waits(dependencies, summary));
}

}  // namespace mkvm::trace
