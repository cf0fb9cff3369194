// The forms of a result for programs: JSON, and CSV from the same names.
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/bench_report.h"
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
    const BenchStream stream = StreamOf(report, row);
    json["stream_gb_per_s"] = stream.mean();
    json["stream_gb_per_s_before"] = stream.before;
    json["stream_gb_per_s_after"] = stream.after;
    json["stream_percent"] = 100 * GbPerSecond(row) / stream.mean();
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

std::string CsvField(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

}  // namespace

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
                                             "stream_gb_per_s_before",
                                             "stream_gb_per_s_after",
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
    append(std::move(fields));
  }
  return text;
}

}  // namespace mkvm::cli
