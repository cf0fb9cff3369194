#include "cli/bench_report.h"

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ValueOrNull(const auto& value) {
  return value ? Json(*value) : Json(nullptr);
}

// Whatever bytes the command line had, it is JSON.
std::string Dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

const char* KindName(BenchKind kind) {
  switch (kind) {
    case BenchKind::kPrompt:
      return "pp";
    case BenchKind::kGenerate:
      return "tg";
    case BenchKind::kFirstToken:
      return "ttft";
  }
  return "";
}

// What launching adds to a launch, in the median.
std::optional<double> LaunchUs(const BenchRow& row) {
  if (!row.figures->steady_us) return std::nullopt;
  return (row.figures->us.median - *row.figures->steady_us) *
         static_cast<double>(row.test.tokens);
}

Json GpuJson(const vm::GpuState& gpu) {
  return {{"sm_clock_mhz", ValueOrNull(gpu.sm_clock_mhz)},
          {"memory_clock_mhz", ValueOrNull(gpu.memory_clock_mhz)},
          {"power_w", ValueOrNull(gpu.power_w)},
          {"temperature_c", ValueOrNull(gpu.temperature_c)}};
}

void AddFigures(const BenchReport& report, const BenchRow& row, Json& json) {
  const BenchFigures& f = *row.figures;
  const bool first_token = row.test.kind == BenchKind::kFirstToken;
  const std::string us = first_token ? "us" : "us_per_token";
  json[us] = f.us.median;
  json[us + "_min"] = f.us.min;
  json[us + "_max"] = f.us.max;
  json["samples_us"] = f.samples_us;
  if (!first_token) {
    json["tokens_per_s"] = TokensPerSecond(row);
    json["steady_us_per_token"] = ValueOrNull(f.steady_us);
    json["launch_us"] = ValueOrNull(LaunchUs(row));
    json["bytes_per_token"] = f.bytes_per_token;
    json["gb_per_s"] = GbPerSecond(row);
    json["stream_percent"] = 100 * GbPerSecond(row) / report.stream.mean();
  }
  json.update(GpuJson(f.gpu));
}

Json RowJson(const BenchReport& report, const BenchRow& row) {
  const BenchSetup& setup = report.setups[row.setup];
  Json json = {{"model", setup.model},
               {"transport", setup.transport},
               {"ablations", setup.ablations},
               {"threads", ValueOrNull(setup.threads)},
               {"test", KindName(row.test.kind)},
               {"tokens", row.test.tokens},
               {"depth", row.test.depth},
               {"check", row.check}};
  if (row.figures) {
    AddFigures(report, row, json);
  } else {
    json["refused"] = row.refusal;
  }
  return json;
}

Json SetupJson(const BenchSetup& setup) {
  const double gigabytes = static_cast<double>(setup.weight_bytes) / 1e9;
  return {{"model", setup.model},
          {"weights", setup.weights},
          {"transport", setup.transport},
          {"ablations", setup.ablations},
          {"machine", setup.machine},
          {"threads", ValueOrNull(setup.threads)},
          {"workers", setup.workers},
          {"max_context", setup.max_context},
          {"weight_bytes", setup.weight_bytes},
          {"load_s", setup.load_seconds},
          {"load_gb_per_s", setup.loading_copies
                                ? Json(gigabytes / setup.load_seconds)
                                : Json(nullptr)}};
}

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
      100 * GbPerSecond(row) / report.stream.mean(), GpuCells(row.figures->gpu),
      Cell(row.check));
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

Json InterpretationJson(const InterpretationRow& row) {
  Json json = {{"test", row.program},
               {"what", row.what},
               {"machine", row.machine},
               {"ablations", row.ablations},
               {"threads", ValueOrNull(row.threads)},
               {"workers", row.workers},
               {"instructions", row.instructions},
               {"ns_per_instruction", row.ns.median},
               {"ns_per_instruction_min", row.ns.min},
               {"ns_per_instruction_max", row.ns.max},
               {"samples_ns", row.samples_ns}};
  json.update(GpuJson(row.gpu));
  return json;
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

std::string CsvField(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
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
      "mean\n\n",
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

std::string BenchJson(const BenchReport& report) {
  Json json = {{"format", 1},
               {"date_utc", report.date_utc},
               {"version", report.version},
               {"commit", report.commit},
               {"command", report.command},
               {"hardware", report.hardware},
               {"driver", ValueOrNull(report.driver)}};
  if (report.roofline) {
    json["stream_gb_per_s"] = {{"median", report.roofline->median},
                               {"min", report.roofline->min},
                               {"max", report.roofline->max}};
    json.update(GpuJson(report.roofline_gpu));
    return Dump(json);
  }
  if (!report.interpretation.empty()) {
    json["interpretation"] = Json::array();
    for (const InterpretationRow& row : report.interpretation) {
      json["interpretation"].push_back(InterpretationJson(row));
    }
    return Dump(json);
  }
  json["stream_gb_per_s"] = {{"before", report.stream.before},
                             {"after", report.stream.after},
                             {"mean", report.stream.mean()}};
  json["setups"] = Json::array();
  for (const BenchSetup& setup : report.setups) {
    json["setups"].push_back(SetupJson(setup));
  }
  json["rows"] = Json::array();
  for (const BenchRow& row : report.rows) {
    json["rows"].push_back(RowJson(report, row));
  }
  return Dump(json);
}

std::string BenchCsv(const BenchReport& report) {
  // In the order of the columns; the JSON form's names.
  static constexpr const char* kColumns[] = {"date_utc",
                                             "commit",
                                             "hardware",
                                             "driver",
                                             "machine",
                                             "model",
                                             "weights",
                                             "transport",
                                             "ablations",
                                             "threads",
                                             "test",
                                             "tokens",
                                             "depth",
                                             "tokens_per_s",
                                             "us_per_token",
                                             "us_per_token_min",
                                             "us_per_token_max",
                                             "steady_us_per_token",
                                             "launch_us",
                                             "us",
                                             "us_min",
                                             "us_max",
                                             "bytes_per_token",
                                             "gb_per_s",
                                             "stream_percent",
                                             "stream_gb_per_s",
                                             "sm_clock_mhz",
                                             "memory_clock_mhz",
                                             "power_w",
                                             "temperature_c",
                                             "load_s",
                                             "load_gb_per_s",
                                             "workers",
                                             "instructions",
                                             "ns_per_instruction",
                                             "ns_per_instruction_min",
                                             "ns_per_instruction_max",
                                             "check",
                                             "refused"};
  std::string text = absl::StrCat(absl::StrJoin(kColumns, ","), "\n");
  const auto append = [&](Json fields) {
    fields["date_utc"] = report.date_utc;
    fields["commit"] = report.commit;
    fields["hardware"] = report.hardware;
    fields["driver"] = ValueOrNull(report.driver);
    absl::StrAppend(&text,
                    absl::StrJoin(kColumns, ",",
                                  [&](std::string* out, const char* column) {
                                    if (fields.contains(column)) {
                                      *out += CsvField(fields[column]);
                                    }
                                  }),
                    "\n");
  };
  if (report.roofline) {
    Json fields = GpuJson(report.roofline_gpu);
    fields["test"] = "stream";
    fields["stream_gb_per_s"] = report.roofline->median;
    append(std::move(fields));
  }
  for (const InterpretationRow& row : report.interpretation) {
    append(InterpretationJson(row));
  }
  for (const BenchRow& row : report.rows) {
    Json fields = SetupJson(report.setups[row.setup]);
    fields.update(RowJson(report, row));
    fields["stream_gb_per_s"] = report.stream.mean();
    append(std::move(fields));
  }
  return text;
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
