#include "scheduler/target.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "scheduler/builtin_costs.h"
#include "scheduler/costs_json.h"

namespace mkvm::scheduler {
namespace {

using Json = nlohmann::ordered_json;

// Peak bandwidth times this is what a read-only stream reaches: 4,371 and 4,460
// of 4,800 GB/s on H200s.
constexpr double kStreamOfPeak = 0.9;

struct GpuSizes {
  uint32_t workers;
  uint32_t stages;
  uint64_t shared_memory_bytes;  // of a block
  uint64_t cache_mib;            // L2
  double stream_gb_per_s;
};

Target Gpu(std::string name, const GpuSizes& sizes, std::string notes) {
  Target t;
  t.name = std::move(name);
  t.workers = sizes.workers;
  t.min_gemv_rows = 16;
  t.stages = sizes.stages;
  t.shared_memory_bytes = sizes.shared_memory_bytes;
  t.cache_bytes = sizes.cache_mib << 20;
  t.stream_gb_per_s = sizes.stream_gb_per_s;
  SetInterpreterCosts(t);
  t.notes = std::move(notes);
  return t;
}

std::vector<Target> BuiltinTargets() {
  const std::string data_sheet =
      "not measured: SMs, shared memory, L2 cache and bandwidth from the data "
      "sheet, 90 % of peak for the stream, the times of an H200 assumed";
  return {
      Gpu("h200", {128, 13, 232448, 50, 4460},
          "measured by mkvm calibrate on one NVIDIA H200 (132 SMs, 128 used, "
          "because the rows divide by 128), 2026-11-23; cache_bytes is the L2 "
          "cache of the data sheet; copy_us and slots are not fitted"),
      Gpu("h100", {128, 13, 232448, 50, 3350 * kStreamOfPeak},
          absl::StrCat("132 SMs, 128 used; ", data_sheet)),
      Gpu("a100", {108, 9, 166912, 40, 2039 * kStreamOfPeak},
          absl::StrCat("80 GB SXM; ", data_sheet)),
      Gpu("rtx5090", {170, 5, 101376, 96, 1792 * kStreamOfPeak}, data_sheet),
      Gpu("rtx4090", {128, 5, 101376, 72, 1008 * kStreamOfPeak}, data_sheet),
      Gpu("rtx3090", {82, 4, 101376, 6, 936 * kStreamOfPeak}, data_sheet),
      CpuTarget(2),
  };
}

std::string TypeName(const Json& value) {
  if (value.is_number()) return absl::StrCat("the number ", value.dump());
  if (value.is_boolean()) return value.dump();
  return absl::StrCat("a ", value.type_name());
}

absl::Status WrongType(absl::string_view key, absl::string_view wanted,
                       const Json& value) {
  return absl::InvalidArgumentError(absl::StrCat(
      "target: \"", key, "\" must be ", wanted, ", not ", TypeName(value)));
}

// Readers of one key each, into one type of field.
absl::Status Read(absl::string_view key, const Json& value,
                  std::string& field) {
  if (!value.is_string()) return WrongType(key, "a string", value);
  field = value.get<std::string>();
  return absl::OkStatus();
}
absl::Status Read(absl::string_view key, const Json& value, bool& field) {
  if (!value.is_boolean()) return WrongType(key, "true or false", value);
  field = value.get<bool>();
  return absl::OkStatus();
}
template <typename Integer>
absl::Status ReadInteger(absl::string_view key, const Json& value,
                         Integer& field) {
  constexpr Integer kMax = std::numeric_limits<uint32_t>::max();
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMax) {
    return WrongType(key, absl::StrCat("an integer in [0, ", kMax, "]"), value);
  }
  field = value.get<Integer>();
  return absl::OkStatus();
}
absl::Status Read(absl::string_view key, const Json& value, uint32_t& field) {
  return ReadInteger(key, value, field);
}
absl::Status Read(absl::string_view key, const Json& value, uint64_t& field) {
  return ReadInteger(key, value, field);
}
absl::Status Read(absl::string_view key, const Json& value, double& field) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) ||
      value.get<double>() < 0) {
    return WrongType(key, "a number that is not negative", value);
  }
  field = value.get<double>();
  return absl::OkStatus();
}

absl::Status Read(absl::string_view key, const Json& value,
                  std::optional<double>& field) {
  return Read(key, value, field.emplace());
}
absl::Status Read(absl::string_view /*key*/, const Json& value,
                  CostTable& field) {
  absl::StatusOr<CostTable> costs = ParseCosts(value);
  if (!costs.ok()) return costs.status();
  field = *std::move(costs);
  return absl::OkStatus();
}

// Writers of one key each; nothing for what is not known.
template <typename T>
void Write(const char* key, const T& field, Json& root) {
  root[key] = field;
}
void Write(const char* key, const std::optional<double>& field, Json& root) {
  if (field.has_value()) root[key] = *field;
}
void Write(const char* key, const CostTable& field, Json& root) {
  if (!field.empty()) root[key] = CostsToJson(field);
}

// Calls visit(key, field) for every field of `t`.
template <typename T, typename Visit>
void VisitFields(T& t, Visit visit) {
  visit("name", t.name);
  visit("workers", t.workers);
  visit("stages", t.stages);
  visit("shared_memory_bytes", t.shared_memory_bytes);
  visit("panels", t.panels);
  visit("tagged", t.tagged);
  visit("max_kv_splits", t.max_kv_splits);
  visit("min_gemv_rows", t.min_gemv_rows);
  visit("stream_gb_per_s", t.stream_gb_per_s);
  visit("cache_bytes", t.cache_bytes);
  visit("slots", t.slots);
  visit("copy_us", t.copy_us);
  visit("hop_us", t.hop_us);
  visit("counter_hop_us", t.counter_hop_us);
  visit("load_us", t.load_us);
  visit("signal_us", t.signal_us);
  visit("release_us", t.release_us);
  visit("instruction_us", t.instruction_us);
  visit("costs", t.costs);
  visit("notes", t.notes);
}

absl::Status CheckRanges(const Target& t) {
  const auto bad = [](absl::string_view key, absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("target: \"", key, "\" ", what));
  };
  if (t.name.empty()) return bad("name", "is missing or empty");
  if (t.workers == 0) return bad("workers", "must be at least 1");
  if (t.stages == 0) return bad("stages", "must be at least 1");
  if (t.slots == 0) return bad("slots", "must be at least 1");
  if (t.max_kv_splits == 0) return bad("max_kv_splits", "must be at least 1");
  if (t.stream_gb_per_s <= 0) return bad("stream_gb_per_s", "must be above 0");
  return absl::OkStatus();
}

}  // namespace

bool KvIsCold(const Target& target, const isa::Program& program,
              uint64_t position) {
  return KvBytesOfPass(program, position) > target.cache_bytes;
}

Target CpuTarget(uint32_t workers) {
  Target t;
  t.name = "cpu";
  t.workers = workers;
  t.stages = 1;  // the CPU machine has no stages; a program needs one
  t.panels = false;
  t.tagged = false;
  t.max_kv_splits = 2;
  t.stream_gb_per_s = 10.0 * workers;
  t.copy_us = 0;
  t.hop_us = 1;
  t.instruction_us = 0.2;
  t.notes =
      "not measured: 10 GB/s a worker, rounded from common desktop memory";
  return t;
}

absl::StatusOr<Target> FindTarget(absl::string_view name) {
  for (Target& target : BuiltinTargets()) {
    if (target.name == name) return std::move(target);
  }
  return absl::NotFoundError(absl::StrCat("no target \"", name,
                                          "\"; there are ",
                                          absl::StrJoin(TargetNames(), ", ")));
}

std::vector<std::string> TargetNames() {
  std::vector<std::string> names;
  for (const Target& target : BuiltinTargets()) names.push_back(target.name);
  return names;
}

absl::StatusOr<Target> ParseTarget(absl::string_view json) {
  const Json root = Json::parse(json.begin(), json.end(), nullptr,
                                /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    return absl::InvalidArgumentError("target: not valid JSON");
  }
  if (!root.is_object()) {
    return absl::InvalidArgumentError("target: not a JSON object");
  }
  Target target;
  std::vector<std::string> known;
  absl::Status status;
  VisitFields(target, [&](absl::string_view key, auto& field) {
    known.emplace_back(key);
    const auto it = root.find(absl::StrCat(key));
    if (it != root.end() && status.ok()) status = Read(key, *it, field);
  });
  if (!status.ok()) return status;
  for (const auto& item : root.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("target: unknown key \"", item.key(), "\"; there are ",
                       absl::StrJoin(known, ", ")));
    }
  }
  if (absl::Status range = CheckRanges(target); !range.ok()) return range;
  return target;
}

std::string TargetToJson(const Target& target) {
  Json root;
  VisitFields(target, [&](const char* key, const auto& field) {
    Write(key, field, root);
  });
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace mkvm::scheduler
