#include "cli/bench_report.h"

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace mkvm::cli {
namespace {

std::string Number(const std::optional<double>& value,
                   const absl::ParsedFormat<'f'>& format) {
  return value ? absl::StrFormat(format, *value) : "n/a";
}

std::string Cell(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}});
}

std::string GpuCells(const vm::GpuState& gpu) {
  const absl::ParsedFormat<'f'> whole("%.0f");
  return absl::StrCat(Number(gpu.sm_clock_mhz, whole), " | ",
                      Number(gpu.power_w, whole), " | ",
                      Number(gpu.temperature_c, whole));
}

// "2 threads, no_fuse"; "" when there is nothing to say.
std::string HowTheMachineRan(const std::optional<int>& threads,
                             absl::string_view ablations) {
  std::vector<std::string> parts;
  if (threads) {
    parts.push_back(
        absl::StrFormat("%d thread%s", *threads, *threads == 1 ? "" : "s"));
  }
  if (ablations != "none") parts.emplace_back(ablations);
  return absl::StrJoin(parts, ", ");
}

std::string HowItRan(const BenchSetup& setup) {
  const std::string how = HowTheMachineRan(setup.threads, setup.ablations);
  return how.empty() ? setup.transport
                     : absl::StrCat(setup.transport, ", ", how);
}

std::string DecodeLine(const BenchReport& report, const BenchRow& row) {
  const BenchSetup& setup = report.setups[row.setup];
  const std::string begin =
      absl::StrCat("| ", Cell(setup.model), " | ", HowItRan(setup), " | ",
                   BenchTestName(row.test), " | ");
  if (!row.figures) {
    return absl::StrCat(begin, "| | | | | | | refused: ", Cell(row.refusal),
                        " |\n");
  }
  const Summary& us = row.figures->us;
  return absl::StrFormat(
      "%s%.1f | %.1f (%.1f..%.1f) | %.1f | %.1f %% | %s | %s |\n", begin,
      TokensPerSecond(row), us.median, us.min, us.max, GbPerSecond(row),
      100 * GbPerSecond(row) / StreamOf(report, row).mean(),
      GpuCells(row.figures->gpu), Cell(row.check));
}

std::string FirstTokenLine(const BenchReport& report, const BenchRow& row) {
  const BenchSetup& setup = report.setups[row.setup];
  const std::string begin =
      absl::StrCat("| ", Cell(setup.model), " | ", HowItRan(setup), " | ",
                   row.test.tokens, " | ");
  if (!row.figures) {
    return absl::StrCat(begin, "| refused: ", Cell(row.refusal), " |\n");
  }
  const Summary& us = row.figures->us;
  return absl::StrFormat("%s%.3f (%.3f..%.3f) | %s |\n", begin, us.median / 1e3,
                         us.min / 1e3, us.max / 1e3, Cell(row.check));
}

std::string LoadLine(const BenchSetup& setup) {
  const double gigabytes = static_cast<double>(setup.weight_bytes) / 1e9;
  const std::string rate =
      setup.loading_copies
          ? absl::StrFormat(", %.2f GB/s", gigabytes / setup.load_seconds)
          : std::string(", used where they lie");
  return absl::StrFormat("- load %s (%s): %.3f GB in %.3f s%s; %s\n",
                         setup.model, HowItRan(setup), gigabytes,
                         setup.load_seconds, rate, setup.weights);
}

// `header` and the lines of the rows of that sort, or "" if there are none.
std::string Table(const BenchReport& report, bool first_token,
                  absl::string_view header,
                  std::string (*line)(const BenchReport&, const BenchRow&)) {
  std::string lines;
  for (const BenchRow& row : report.rows) {
    if ((row.test.kind == BenchKind::kFirstToken) == first_token) {
      lines += line(report, row);
    }
  }
  return lines.empty() ? "" : absl::StrCat(header, lines, "\n");
}

std::string HeaderText(const BenchReport& report) {
  return absl::StrFormat("%s, driver %s; mkvm %s, commit %s, %s\n`%s`\n",
                         report.hardware, report.driver.value_or("n/a"),
                         report.version, report.commit, report.date_utc,
                         report.command);
}

std::string RooflineMarkdown(const BenchReport& report) {
  return absl::StrFormat(
      "%s\n| read-only stream, GB/s (min..max) | MHz | W | °C |\n"
      "|---:|---:|---:|---:|\n| %.1f (%.1f..%.1f) | %s |\n",
      HeaderText(report), report.roofline->median, report.roofline->min,
      report.roofline->max, GpuCells(report.roofline_gpu));
}

std::string InterpretationMarkdown(const BenchReport& report) {
  std::string text = absl::StrCat(
      HeaderText(report),
      "\n| program | an instruction | run with | workers | instructions per "
      "pass | ns per instruction (min..max) | MHz | W | °C |\n"
      "|---|---|---|---:|---:|---:|---:|---:|---:|\n");
  for (const InterpretationRow& row : report.interpretation) {
    absl::StrAppendFormat(
        &text, "| %s | %s | %s | %d | %d | %.1f (%.1f..%.1f) | %s |\n",
        row.program, row.what, HowTheMachineRan(row.threads, row.ablations),
        row.workers, row.instructions, row.ns.median, row.ns.min, row.ns.max,
        GpuCells(row.gpu));
  }
  return text;
}

// What the column `check` means, and whether the machine was quiet.
std::string Notes(const BenchReport& report) {
  constexpr double kQuietPercent = 5;
  std::string text =
      "\ncheck: every launch of the row, and one with what is named, gave the "
      "same tokens;\ntiny = CPU: the smallest geometry, compiled for this "
      "machine, gave the tokens of the\nchecking CPU machine.\n";
  const double change = 100 * (report.stream.after / report.stream.before - 1);
  if (std::abs(change) > kQuietPercent) {
    absl::StrAppendFormat(
        &text,
        "The stream changed by %+.0f %% while this ran: the machine was not "
        "quiet.\n",
        change);
  }
  return text;
}

}  // namespace

double TokensPerSecond(const BenchRow& row) {
  return 1e6 / row.figures->us.median;
}

double GbPerSecond(const BenchRow& row) {
  return row.figures->bytes_per_token / row.figures->us.median / 1e3;
}

BenchStream StreamOf(const BenchReport& report, const BenchRow& row) {
  return row.stream.value_or(report.stream);
}

void Refuse(const absl::Status& status, BenchRow& row) {
  row.figures.reset();
  row.check.clear();
  row.refusal = std::string(status.message());
}

std::string BenchMarkdown(const BenchReport& report) {
  if (report.roofline) return RooflineMarkdown(report);
  if (!report.interpretation.empty()) return InterpretationMarkdown(report);
  std::string text = HeaderText(report);
  absl::StrAppendFormat(
      &text,
      "\nread-only stream: %.1f GB/s before, %.1f after; shares are of the "
      "mean just before\nand just after the row\n\n",
      report.stream.before, report.stream.after);
  text += Table(report, false,
                "| model | transport | test | tokens/s | us/token (min..max) | "
                "GB/s | of the stream | MHz | W | °C | check |\n"
                "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
                DecodeLine);
  text += Table(report, true,
                "| model | transport | prompt, tokens | time to first token, "
                "ms (min..max) | check |\n|---|---|---:|---:|---|\n",
                FirstTokenLine);
  for (const BenchSetup& setup : report.setups) text += LoadLine(setup);
  return text + Notes(report);
}

absl::Status BenchVerdict(const BenchReport& report) {
  int refused = 0;
  const BenchRow* first = nullptr;
  for (const BenchRow& row : report.rows) {
    if (row.figures) continue;
    if (refused++ == 0) first = &row;
  }
  if (refused == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("%d of %d rows refused, first %s of %s: %s", refused,
                      report.rows.size(), BenchTestName(first->test),
                      report.setups[first->setup].model, first->refusal));
}

}  // namespace mkvm::cli
