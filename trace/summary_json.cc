// The summary for scripts.
#include "nlohmann/json.hpp"
#include "trace/summary.h"

namespace mkvm::trace {
namespace {

using Json = nlohmann::ordered_json;

Json HeaderJson(const Trace& trace, const Summary& s) {
  return Json{
      {"source", trace.source == Source::kMeasured ? "measured" : "predicted"},
      {"machine", trace.machine},
      {"command", trace.command},
      {"program", trace.program.name},
      {"workers", trace.program.num_workers()},
      {"first_pass", trace.first_pass},
      {"passes", s.num_passes},
      {"complete_passes", s.num_complete},
      {"first_position", trace.first_position + trace.first_pass},
      {"events", trace.events.size()},
      {"dropped", trace.dropped},
      {"clock_resolution_ns", trace.resolution_ns},
      {"clock_skew_ns", trace.skew_ns},
      {"edges", s.num_edges},
      {"impossible_edges", s.num_impossible},
      {"worst_impossible_ns", s.worst_impossible},
      {"stream_gb_per_s", trace.stream_gb_per_s},
      {"tokens", s.num_tokens},
      {"us_per_token", s.us_per_token},
      {"tokens_per_s", s.tokens_per_s}};
}

Json RowsJson(const Trace& trace, const Summary& s) {
  Json json;
  json["opcodes"] = Json::array();
  for (const OpcodeTime& row : s.opcodes) {
    json["opcodes"].push_back({{"opcode", row.opcode},
                               {"count", row.count},
                               {"median_ns", row.median_ns},
                               {"p99_ns", row.p99_ns},
                               {"total_ns", row.total_ns},
                               {"share", row.share}});
  }
  json["phases"] = Json::array();
  for (const PhaseTime& row : s.phases) {
    json["phases"].push_back({{"phase", row.kind},
                              {"count", row.count},
                              {"wait_ns", row.wait_ns},
                              {"operand_wait_ns", row.operand_wait_ns},
                              {"stage_wait_ns", row.stage_wait_ns},
                              {"compute_ns", row.compute_ns},
                              {"overhead_ns", row.overhead_ns},
                              {"bytes", row.bytes},
                              {"imbalance", row.imbalance}});
  }
  json["worker_times"] = Json::array();
  for (const WorkerTime& w : s.workers) {
    json["worker_times"].push_back({{"worker", w.worker},
                                    {"wait_ns", w.sums.wait},
                                    {"operand_wait_ns", w.sums.operand_wait},
                                    {"stage_wait_ns", w.sums.stage_wait},
                                    {"compute_ns", w.sums.compute},
                                    {"overhead_ns", w.sums.overhead}});
  }
  json["mean_gb_per_s"] = s.mean_gb_per_s;
  json["slice_ns"] = s.slice_ns;
  json["gb_per_s"] = s.gb_per_s;
  json["worst_waits"] = Json::array();
  for (const WorstWait& w : s.worst_waits) {
    const Event& e = trace.events[w.event];
    const Event& p = trace.events[w.producer];
    json["worst_waits"].push_back({{"instruction", Name(trace, e)},
                                   {"worker", e.worker},
                                   {"pass", e.pass},
                                   {"wait_ns", w.wait},
                                   {"producer", Name(trace, p)},
                                   {"producer_worker", p.worker},
                                   {"count", w.count},
                                   {"mean_ns", w.mean_ns}});
  }
  return json;
}

Json PartsJson(const std::array<double, kNumPathParts>& parts) {
  Json json = Json::object();
  for (size_t i = 0; i < kNumPathParts; ++i) {
    json[std::string(Name(static_cast<PathPart>(i)))] = parts[i];
  }
  return json;
}

Json PathJson(const PathTable& path) {
  Json json = {{"tokens", path.num_tokens},
               {"ns_per_token", path.ns},
               {"hops", path.hops},
               {"parts_ns", PartsJson(path.parts)},
               {"phases", Json::array()}};
  for (const PathTable::Kind& kind : path.kinds) {
    json["phases"].push_back({{"phase", kind.kind},
                              {"steps", kind.steps},
                              {"hops", kind.hops},
                              {"parts_ns", PartsJson(kind.parts)}});
  }
  return json;
}

Json WhatIfJson(const WhatIf& what_if) {
  Json json = {{"tokens", what_if.num_tokens},
               {"measured_us_per_token", what_if.measured_us_per_token},
               {"replayed_us_per_token", what_if.replayed_us_per_token},
               {"stream_gb_per_s", what_if.stream_gb_per_s},
               {"results", Json::array()}};
  for (const WhatIfResult& r : what_if.results) {
    json["results"].push_back(
        {{"name", r.name},
         {"hops_free", r.assumptions.hops_free},
         {"bandwidth_infinite", r.assumptions.bandwidth_infinite},
         {"balance_perfect", r.assumptions.balance_perfect},
         {"us_per_token", r.us_per_token}});
  }
  return json;
}

}  // namespace

std::string SummaryJson(const Dependencies& dependencies,
                        const Summary& summary, const PathTable& path,
                        const WhatIf* what_if) {
  const Trace& trace = dependencies.trace();
  Json json = HeaderJson(trace, summary);
  json.update(RowsJson(trace, summary));
  json["critical_path"] = PathJson(path);
  if (what_if != nullptr) json["what_if"] = WhatIfJson(*what_if);
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mkvm::trace
