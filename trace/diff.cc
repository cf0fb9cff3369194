#include "trace/diff.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"
#include "nlohmann/json.hpp"
#include "trace/dependencies.h"

namespace mkvm::trace {
namespace {

using Sides = std::map<std::string, DiffSide>;  // by name

struct Tables {
  double us_per_token = 0;
  uint32_t num_tokens = 0;
  Sides opcodes, phases;
};

// Figures of the visits that share a name.
class Tally {
 public:
  void Add(const Event& e) {
    times_.push_back(std::max<Nanos>(e.signaled - e.visited, 0));
    wait_ += static_cast<double>(std::max<Nanos>(ReadyTime(e) - e.visited, 0));
  }
  DiffSide Side(double tokens) {
    DiffSide side;
    side.per_token = static_cast<double>(times_.size()) / tokens;
    for (const Nanos t : times_) {
      side.us_per_token += static_cast<double>(t) / 1e3 / tokens;
    }
    side.wait_us_per_token = wait_ / 1e3 / tokens;
    const auto middle =
        times_.begin() + static_cast<int64_t>(times_.size() / 2);
    std::nth_element(times_.begin(), middle, times_.end());
    side.median_ns = static_cast<double>(*middle);
    return side;
  }

 private:
  std::vector<Nanos> times_;
  double wait_ = 0;
};

Sides SidesOf(std::map<std::string, Tally>& tallies, double tokens) {
  Sides sides;
  for (auto& [name, tally] : tallies) sides[name] = tally.Side(tokens);
  return sides;
}

Tables Tabulate(const Trace& trace) {
  Tables tables;
  const std::vector<PassSpan> typical = TypicalPasses(PassSpans(trace));
  if (typical.empty()) return tables;
  const auto tokens = static_cast<double>(typical.size());
  tables.num_tokens = static_cast<uint32_t>(typical.size());
  absl::flat_hash_set<uint32_t> passes;
  for (const PassSpan& s : typical) {
    passes.insert(s.pass);
    tables.us_per_token += static_cast<double>(s.end - s.begin) / 1e3 / tokens;
  }
  const Phases phases(trace.program);
  std::map<std::string, Tally> opcodes, kinds;
  for (const Event& e : trace.events) {
    if (!passes.contains(e.pass)) continue;
    const isa::OpcodeInfo* info =
        isa::FindOpcode(trace.program.queues[e.worker][e.pc].opcode);
    opcodes[info == nullptr ? "unknown" : std::string(info->name)].Add(e);
    kinds[phases.kinds()[phases.KindOf(e)]].Add(e);
  }
  tables.opcodes = SidesOf(opcodes, tokens);
  tables.phases = SidesOf(kinds, tokens);
  return tables;
}

std::vector<DiffRow> Match(const Sides& a, const Sides& b) {
  std::map<std::string, DiffRow> rows;
  for (const auto& [name, side] : a) rows[name].a = side;
  for (const auto& [name, side] : b) rows[name].b = side;
  std::vector<DiffRow> sorted;
  for (auto& [name, row] : rows) {
    row.name = name;
    sorted.push_back(std::move(row));
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const DiffRow& x, const DiffRow& y) {
                     return std::abs(x.change_us()) > std::abs(y.change_us());
                   });
  return sorted;
}

// "+12.3 %", or "new" and "gone".
std::string Percent(double a, double b) {
  if (a == 0) return b == 0 ? "0.0 %" : "new";
  if (b == 0) return "gone";
  return absl::StrFormat("%+.1f %%", 100 * (b / a - 1));
}

void AppendRows(absl::string_view title, const std::vector<DiffRow>& rows,
                std::string& text) {
  absl::StrAppendFormat(&text, "\n%-18s %15s %19s %21s %10s %9s %10s\n", title,
                        "visits a, b", "median us a, b", "worker us a, b",
                        "change us", "", "of it wait");
  for (const DiffRow& r : rows) {
    absl::StrAppendFormat(
        &text,
        "  %-16s %7.0f %7.0f %9.2f %9.2f %10.1f %10.1f %+10.1f %9s %+10.1f\n",
        r.name, r.a.per_token, r.b.per_token, r.a.median_ns / 1e3,
        r.b.median_ns / 1e3, r.a.us_per_token, r.b.us_per_token, r.change_us(),
        Percent(r.a.us_per_token, r.b.us_per_token),
        r.b.wait_us_per_token - r.a.wait_us_per_token);
  }
}

nlohmann::ordered_json RowsJson(const std::vector<DiffRow>& rows) {
  auto json = nlohmann::ordered_json::array();
  const auto side = [](const DiffSide& s) {
    return nlohmann::ordered_json{{"per_token", s.per_token},
                                  {"median_ns", s.median_ns},
                                  {"us_per_token", s.us_per_token},
                                  {"wait_us_per_token", s.wait_us_per_token}};
  };
  for (const DiffRow& r : rows) {
    json.push_back({{"name", r.name},
                    {"a", side(r.a)},
                    {"b", side(r.b)},
                    {"change_us", r.change_us()}});
  }
  return json;
}

std::string Side(absl::string_view name, const Trace& trace, double us,
                 uint32_t tokens) {
  return absl::StrFormat(
      "  %s %10.2f us/token (mean of %d, positions from %d, %s%s%s)\n", name,
      us, tokens, trace.first_position + trace.first_pass,
      trace.source == Source::kMeasured ? "measured on " : "predicted for ",
      trace.machine, trace.dropped > 0 ? ", INCOMPLETE" : "");
}

}  // namespace

Diff Compare(const Trace& a, const Trace& b) {
  const Tables tables_a = Tabulate(a);
  const Tables tables_b = Tabulate(b);
  return {.a_us_per_token = tables_a.us_per_token,
          .b_us_per_token = tables_b.us_per_token,
          .a_tokens = tables_a.num_tokens,
          .b_tokens = tables_b.num_tokens,
          .opcodes = Match(tables_a.opcodes, tables_b.opcodes),
          .phases = Match(tables_a.phases, tables_b.phases)};
}

std::string DiffText(const Trace& a, const Trace& b, const Diff& diff) {
  std::string text = absl::StrFormat(
      "Token: %+.2f us (%s)\n", diff.b_us_per_token - diff.a_us_per_token,
      Percent(diff.a_us_per_token, diff.b_us_per_token));
  text += Side("a", a, diff.a_us_per_token, diff.a_tokens);
  text += Side("b", b, diff.b_us_per_token, diff.b_tokens);
  AppendRows("Phase, per token", diff.phases, text);
  AppendRows("Opcode, per token", diff.opcodes, text);
  return text;
}

std::string DiffJson(const Diff& diff) {
  return nlohmann::ordered_json{{"a_us_per_token", diff.a_us_per_token},
                                {"b_us_per_token", diff.b_us_per_token},
                                {"a_tokens", diff.a_tokens},
                                {"b_tokens", diff.b_tokens},
                                {"phases", RowsJson(diff.phases)},
                                {"opcodes", RowsJson(diff.opcodes)}}
      .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace mkvm::trace
