#include "scheduler/costs_json.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mkvm::scheduler {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Bad(absl::string_view entry, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("target: \"costs\", \"", entry, "\": ", what));
}

bool IsNumber(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>());
}

absl::Status ReadTime(absl::string_view entry, absl::string_view key,
                      const Json& value, double& us) {
  if (!IsNumber(value) || value.get<double>() < 0) {
    return Bad(entry, absl::StrCat("\"", key,
                                   "\" must be a number that is not negative"));
  }
  us = value.get<double>();
  return absl::OkStatus();
}

absl::Status ReadUnits(absl::string_view entry, const Json& value,
                       PerUnit<double>& unit_us) {
  if (!value.is_object()) {
    return Bad(entry, "\"unit_us\" must be an object");
  }
  for (const auto& item : value.items()) {
    size_t u = 0;
    while (u < kNumUnits && Name(static_cast<Unit>(u)) != item.key()) ++u;
    if (u == kNumUnits) {
      std::string known;
      for (size_t i = 0; i < kNumUnits; ++i) {
        absl::StrAppend(&known, i == 0 ? "" : ", ", Name(static_cast<Unit>(i)));
      }
      return Bad(entry, absl::StrCat("no unit \"", item.key(), "\"; there are ",
                                     known));
    }
    absl::Status status = ReadTime(entry, item.key(), item.value(), unit_us[u]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadSpread(absl::string_view entry, const Json& value,
                        std::vector<double>& spread) {
  const auto bad = [&] {
    return Bad(entry, absl::StrCat("\"spread\" must be ", kSpreadLevels.size(),
                                   " ascending numbers from -1 on"));
  };
  if (!value.is_array() || value.size() != kSpreadLevels.size()) return bad();
  for (const Json& number : value) {
    if (!IsNumber(number)) return bad();
    spread.push_back(number.get<double>());
  }
  if (!std::is_sorted(spread.begin(), spread.end()) || spread.front() < -1) {
    return bad();
  }
  return absl::OkStatus();
}

absl::Status ReadEntry(absl::string_view name, const Json& value,
                       OpCost& cost) {
  if (!value.is_object()) return Bad(name, "must be an object");
  for (const auto& item : value.items()) {
    absl::Status status;
    if (item.key() == "fixed_us") {
      status = ReadTime(name, item.key(), item.value(), cost.fixed_us);
    } else if (item.key() == "load_us") {
      status = ReadTime(name, item.key(), item.value(), cost.load_us.emplace());
    } else if (item.key() == "unit_us") {
      status = ReadUnits(name, item.value(), cost.unit_us);
    } else if (item.key() == "spread") {
      status = ReadSpread(name, item.value(), cost.spread);
    } else {
      status = Bad(name, absl::StrCat("unknown key \"", item.key(),
                                      "\"; there are load_us, fixed_us, "
                                      "unit_us, spread"));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Nanoseconds with one decimal: the clock of a trace is no finer.
double Rounded(double us) { return std::round(us * 1e4) / 1e4; }

}  // namespace

absl::StatusOr<CostTable> ParseCosts(const Json& value) {
  if (!value.is_object()) {
    return absl::InvalidArgumentError("target: \"costs\" must be an object");
  }
  const std::vector<std::string> known = CostNames();
  CostTable costs;
  for (const auto& item : value.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      return Bad(item.key(), absl::StrCat("no such class; there are ",
                                          absl::StrJoin(known, ", ")));
    }
    absl::Status status =
        ReadEntry(item.key(), item.value(), costs[item.key()]);
    if (!status.ok()) return status;
  }
  return costs;
}

Json CostsToJson(const CostTable& costs) {
  Json root = Json::object();
  for (const auto& [name, cost] : costs) {
    Json entry;
    if (cost.load_us) entry["load_us"] = Rounded(*cost.load_us);
    entry["fixed_us"] = Rounded(cost.fixed_us);
    Json units = Json::object();
    for (size_t u = 0; u < kNumUnits; ++u) {
      if (cost.unit_us[u] == 0) continue;
      units[std::string(Name(static_cast<Unit>(u)))] = Rounded(cost.unit_us[u]);
    }
    if (!units.empty()) entry["unit_us"] = std::move(units);
    for (const double us : cost.spread) {
      entry["spread"].push_back(Rounded(us));
    }
    root[name] = std::move(entry);
  }
  return root;
}

}  // namespace mkvm::scheduler
