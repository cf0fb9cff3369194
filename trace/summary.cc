#include "trace/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"

namespace mkvm::trace {
namespace {

// The value that `share` of the values don't exceed. REQUIRES: !values.empty().
double Quantile(std::vector<Nanos>& values, double share) {
  const auto nth = values.begin() +
                   std::llround(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return static_cast<double>(*nth);
}

class Summarizer {
 public:
  Summarizer(const Dependencies& dependencies, const SummaryOptions& options)
      : d_(dependencies),
        trace_(dependencies.trace()),
        events_(trace_.events),
        options_(options),
        phases_(trace_.program) {}

  Summary Run() {
    TimePasses();
    if (events_.empty()) return std::move(out_);
    BreakDownAll();
    AddOpcodes();
    AddPhases();
    AddBalance();
    AddRate();
    AddWaits();
    CheckClocks();
    return std::move(out_);
  }

 private:
  void TimePasses() {
    const std::vector<PassSpan> spans = PassSpans(trace_);
    out_.num_passes = static_cast<uint32_t>(spans.size());
    out_.num_complete = static_cast<uint32_t>(
        std::count_if(spans.begin(), spans.end(),
                      [](const PassSpan& s) { return s.complete; }));
    double ns = 0;
    const std::vector<PassSpan> typical = TypicalPasses(spans);
    for (const PassSpan& s : typical) {
      ns += static_cast<double>(s.end - s.begin);
    }
    out_.num_tokens = static_cast<uint32_t>(typical.size());
    if (ns <= 0) return;
    out_.us_per_token = ns / static_cast<double>(typical.size()) / 1e3;
    out_.tokens_per_s = 1e6 / out_.us_per_token;
  }

  void BreakDownAll() {
    breakdowns_.reserve(events_.size());
    for (EventIndex i = 0; i < events_.size(); ++i) {
      const EventIndex previous = d_.Previous(i);
      const Breakdown b = BreakDown(
          events_[i], previous == kNoEvent ? nullptr : &events_[previous]);
      breakdowns_.push_back(b);
      if (out_.workers.empty() ||
          out_.workers.back().worker != events_[i].worker) {
        out_.workers.push_back({.worker = events_[i].worker, .sums = {}});
      }
      Breakdown& sums = out_.workers.back().sums;
      sums.overhead += b.overhead;
      sums.wait += b.wait;
      sums.stage_wait += b.stage_wait;
      sums.operand_wait += b.operand_wait;
      sums.compute += b.compute;
    }
  }

  void AddOpcodes() {
    std::map<uint16_t, std::vector<Nanos>> times;
    for (const Event& e : events_) {
      times[trace_.program.queues[e.worker][e.pc].opcode].push_back(
          std::max<Nanos>(e.signaled - e.visited, 0));
    }
    double all = 0;
    for (const WorkerTime& w : out_.workers) {
      all += static_cast<double>(w.sums.total());
    }
    for (auto& [opcode, values] : times) {
      OpcodeTime row;
      const isa::OpcodeInfo* info = isa::FindOpcode(opcode);
      row.opcode = info == nullptr ? absl::StrCat("opcode ", opcode)
                                   : std::string(info->name);
      row.count = values.size();
      row.median_ns = Quantile(values, 0.5);
      row.p99_ns = Quantile(values, 0.99);
      for (const Nanos v : values) row.total_ns += static_cast<double>(v);
      row.share = all > 0 ? row.total_ns / all : 0;
      out_.opcodes.push_back(row);
    }
    std::stable_sort(out_.opcodes.begin(), out_.opcodes.end(),
                     [](const OpcodeTime& a, const OpcodeTime& b) {
                       return a.total_ns > b.total_ns;
                     });
  }

  void AddPhases() {
    out_.phases.resize(phases_.kinds().size());
    for (size_t k = 0; k < out_.phases.size(); ++k) {
      out_.phases[k].kind = phases_.kinds()[k];
    }
    for (EventIndex i = 0; i < events_.size(); ++i) {
      PhaseTime& row = out_.phases[phases_.KindOf(events_[i])];
      const Breakdown& b = breakdowns_[i];
      ++row.count;
      row.overhead_ns += static_cast<double>(b.overhead);
      row.wait_ns += static_cast<double>(b.wait);
      row.stage_wait_ns += static_cast<double>(b.stage_wait);
      row.operand_wait_ns += static_cast<double>(b.operand_wait);
      row.compute_ns += static_cast<double>(b.compute);
      row.bytes += static_cast<double>(events_[i].bytes);
    }
    for (PhaseTime& row : out_.phases) {
      const double n = std::max<double>(static_cast<double>(row.count), 1);
      for (double* sum : {&row.overhead_ns, &row.wait_ns, &row.stage_wait_ns,
                          &row.operand_wait_ns, &row.compute_ns, &row.bytes}) {
        *sum /= n;
      }
    }
  }

  // Each worker's compute in each phase of each pass.
  void AddBalance() {
    struct Load {
      double sum = 0, max = 0;
      uint32_t workers = 0;
    };
    absl::flat_hash_map<std::pair<uint32_t, uint32_t>, Load> loads;
    absl::flat_hash_map<uint32_t, double> mine;  // by phase
    for (EventIndex i = 0; i < events_.size(); ++i) {
      const Event& e = events_[i];
      mine[phases_.PhaseOf(e)] += static_cast<double>(breakdowns_[i].compute);
      if (i + 1 < events_.size() && events_[i + 1].worker == e.worker &&
          events_[i + 1].pass == e.pass) {
        continue;
      }
      for (const auto& [phase, compute] : mine) {
        Load& load = loads[{e.pass, phase}];
        load.sum += compute;
        load.max = std::max(load.max, compute);
        ++load.workers;
      }
      mine.clear();
    }
    const std::vector<uint32_t> kind_of = phases_.KindsOfPhases();
    std::vector<std::pair<double, uint32_t>> ratios(out_.phases.size());
    for (const auto& [key, load] : loads) {
      if (load.sum <= 0) continue;
      auto& [sum, count] = ratios[kind_of[key.second]];
      sum += load.max * load.workers / load.sum;
      ++count;
    }
    for (size_t k = 0; k < ratios.size(); ++k) {
      const auto& [sum, count] = ratios[k];
      if (count > 0) out_.phases[k].imbalance = sum / count;
    }
    std::erase_if(out_.phases, [](const PhaseTime& p) { return p.count == 0; });
  }

  // An event's bytes come evenly from the first copy's issue (its visit, where
  // nothing was copied ahead) until it is done.
  static std::pair<Nanos, Nanos> Reading(const Event& e) {
    const Nanos begin = e.load_begin == kNever ? e.visited : e.load_begin;
    return {begin, std::max({begin + 1, ReadyTime(e), e.stage_ready, e.done})};
  }

  void AddRate() {
    Nanos begin = std::numeric_limits<Nanos>::max();
    Nanos end = std::numeric_limits<Nanos>::min();
    for (const Event& e : events_) {
      const auto [from, to] = Reading(e);
      begin = std::min(begin, from);
      end = std::max(end, to);
    }
    const size_t n = std::max<size_t>(options_.num_slices, 1);
    out_.slice_ns = static_cast<double>(end - begin) / static_cast<double>(n);
    out_.gb_per_s.assign(n, 0);
    double bytes = 0;
    for (const Event& e : events_) {
      if (e.bytes == 0) continue;
      bytes += static_cast<double>(e.bytes);
      const auto [from, to] = Reading(e);
      SpreadBytes(static_cast<double>(from - begin),
                  static_cast<double>(to - begin),
                  static_cast<double>(e.bytes));
    }
    // Bytes per nanosecond are GB/s.
    for (double& slice : out_.gb_per_s) slice /= out_.slice_ns;
    out_.mean_gb_per_s = bytes / static_cast<double>(end - begin);
  }

  void SpreadBytes(double from, double to, double bytes) {
    const size_t n = out_.gb_per_s.size();
    const double rate = bytes / (to - from);
    for (auto s = static_cast<size_t>(from / out_.slice_ns); s < n; ++s) {
      const double slice_begin = static_cast<double>(s) * out_.slice_ns;
      if (slice_begin >= to) break;
      const double overlap = std::min(to, slice_begin + out_.slice_ns) -
                             std::max(from, slice_begin);
      out_.gb_per_s[s] += rate * std::max(overlap, 0.0);
    }
  }

  // One line per pair of phases: the worst waits one by one would all be of
  // one phase.
  void AddWaits() {
    absl::flat_hash_map<std::pair<uint32_t, uint32_t>, WorstWait> worst;
    for (EventIndex i = 0; i < events_.size(); ++i) {
      const Nanos wait = breakdowns_[i].wait;
      if (wait <= 0) continue;
      Edge edge = d_.LastHop(i);
      if (edge.producer == kNoEvent) edge = d_.LastEdge(i);
      if (edge.producer == kNoEvent) continue;
      WorstWait& w = worst[{phases_.PhaseOf(events_[i]),
                            phases_.PhaseOf(events_[edge.producer])}];
      ++w.count;
      w.mean_ns += static_cast<double>(wait);
      if (wait <= w.wait) continue;
      w.wait = wait;
      w.event = i;
      w.producer = edge.producer;
    }
    for (auto& [phases, w] : worst) {
      w.mean_ns /= static_cast<double>(w.count);
      out_.worst_waits.push_back(w);
    }
    std::sort(out_.worst_waits.begin(), out_.worst_waits.end(),
              [](const WorstWait& a, const WorstWait& b) {
                return a.wait != b.wait ? a.wait > b.wait : a.event < b.event;
              });
    if (out_.worst_waits.size() > options_.num_waits) {
      out_.worst_waits.resize(options_.num_waits);
    }
  }

  void CheckClocks() {
    for (EventIndex i = 0; i < events_.size(); ++i) {
      const Event& e = events_[i];
      for (int w = 0; w < d_.NumWaits(i); ++w) {
        const Edge edge = d_.HopOf(i, w);
        if (edge.producer == kNoEvent) continue;
        ++out_.num_edges;
        // Some operands may come while it computes with others.
        const bool late = edge.transport == Transport::kTagged &&
                          breakdowns_[i].operand_wait > 0;
        const Nanos early = edge.publish - (late ? e.done : ReadyTime(e));
        if (early <= 0) continue;
        ++out_.num_impossible;
        out_.worst_impossible = std::max(out_.worst_impossible, early);
      }
    }
  }

  const Dependencies& d_;
  const Trace& trace_;
  const std::vector<Event>& events_;
  const SummaryOptions options_;
  const Phases phases_;
  std::vector<Breakdown> breakdowns_;
  Summary out_;
};

}  // namespace

Summary Summarize(const Dependencies& dependencies,
                  const SummaryOptions& options) {
  return Summarizer(dependencies, options).Run();
}

}  // namespace mkvm::trace
