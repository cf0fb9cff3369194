#include "trace/replay.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "isa/traffic.h"

namespace mkvm::trace {
namespace {

// A file can claim more; beyond these, stages are no model of a machine.
constexpr uint32_t kMostRingStages = 4096;
constexpr uint64_t kMostEventStages = 1 << 16;

// The element at that share of the sorted values; 0 when there is none.
double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto nth =
      values.begin() + static_cast<int64_t>(share * (values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace

Replay::Replay(const Dependencies& dependencies) : d_(dependencies) {
  MakeWork();
  AddHops();
  Balance();
  ObserveStream();
  FindContributions();
  FindOrder();
}

void Replay::MakeWork() {
  const Trace& trace = d_.trace();
  const isa::Program& program = trace.program;
  stream_.stages = std::clamp(program.target.stages, 1u, kMostRingStages);
  stream_.recorded =
      std::any_of(trace.events.begin(), trace.events.end(),
                  [](const Event& e) { return e.load_begin != kNever; });
  const uint64_t stage_bytes = std::max(program.target.stage_bytes, 1u);
  work_.resize(trace.events.size());
  for (EventIndex i = 0; i < work_.size(); ++i) {
    const Event& e = trace.events[i];
    const bool first = i == 0 || trace.events[i - 1].worker != e.worker;
    const Breakdown b = BreakDown(e, nullptr);
    Work& work = work_[i];
    if (!first) {
      work.dispatch = static_cast<double>(
          std::max<Nanos>(e.visited - trace.events[i - 1].signaled, 0));
    }
    work.operand_wait = static_cast<double>(b.operand_wait);
    work.compute = static_cast<double>(b.compute);
    work.signal = static_cast<double>(b.overhead);
    const uint64_t bytes =
        isa::StreamedBytes(program.buffers, program.queues[e.worker][e.pc]);
    const uint64_t stages = (bytes + stage_bytes - 1) / stage_bytes;
    if (stream_.recorded && stages > 0 && stages <= kMostEventStages) {
      work.stages = static_cast<uint32_t>(stages);
    } else {
      work.fixed_wait = static_cast<double>(b.stage_wait);
    }
  }
}

// Splits visited-to-ready into what a look at operands costs in any case and
// the hop from the last producer, so that the recording is met again.
void Replay::AddHops() {
  const Trace& trace = d_.trace();
  constexpr double kNone = std::numeric_limits<double>::max();
  std::map<uint16_t, double> least;  // by opcode
  std::vector<double> hops;
  const auto opcode = [&](const Event& e) {
    return trace.program.queues[e.worker][e.pc].opcode;
  };
  const auto bound_by_data = [&](EventIndex i) {
    const Edge hop = d_.LastHop(i);
    return hop.producer != kNoEvent &&
           hop.publish + d_.Propagation(hop.transport) >
               trace.events[i].visited;
  };
  std::vector<Edge> last(work_.size());
  for (EventIndex i = 0; i < work_.size(); ++i) {
    const Event& e = trace.events[i];
    last[i] = d_.LastEdge(i);
    Nanos begin = e.visited;
    if (last[i].producer != kNoEvent) begin = std::max(begin, last[i].publish);
    const auto taken =
        static_cast<double>(std::max<Nanos>(ReadyTime(e) - begin, 0));
    double& smallest = least.try_emplace(opcode(e), kNone).first->second;
    smallest = std::min(smallest, taken);
    if (bound_by_data(i)) hops.push_back(taken);
  }
  const double typical = Quantile(std::move(hops), 0.5);
  for (EventIndex i = 0; i < work_.size(); ++i) {
    const Event& e = trace.events[i];
    const auto wait =
        static_cast<double>(std::max<Nanos>(ReadyTime(e) - e.visited, 0));
    Work& work = work_[i];
    if (last[i].producer == kNoEvent) {
      work.check = wait;
      continue;
    }
    const auto since_publish =
        static_cast<double>(ReadyTime(e) - last[i].publish);
    const bool bound = bound_by_data(i);
    work.check = bound ? std::min(wait, least[opcode(e)]) : wait;
    work.hop = bound ? since_publish : std::min(typical, since_publish);
  }
}

void Replay::Balance() {
  const std::vector<Event>& events = d_.trace().events;
  const Phases phases(d_.trace().program);
  using Key = std::pair<uint32_t, uint32_t>;  // pass, phase
  struct Sum {
    double all = 0;
    uint32_t workers = 0;
  };
  absl::flat_hash_map<Key, Sum> sums;
  // Calls visit(key, compute) for each phase of each worker and pass.
  const auto for_each = [&](auto visit) {
    absl::flat_hash_map<Key, double> mine;
    for (size_t i = 0; i < events.size(); ++i) {
      mine[{events[i].pass, phases.PhaseOf(events[i])}] += work_[i].compute;
      const bool ends = i + 1 == events.size() ||
                        events[i + 1].worker != events[i].worker ||
                        events[i + 1].pass != events[i].pass;
      if (!ends) continue;
      visit(i, mine);
      mine.clear();
    }
  };
  for_each([&](size_t, const auto& mine) {
    for (const auto& [key, compute] : mine) {
      Sum& sum = sums[key];
      sum.all += compute;
      ++sum.workers;
    }
  });
  size_t begin = 0;
  for_each([&](size_t last, const auto& mine) {
    for (; begin <= last; ++begin) {
      const Key key = {events[begin].pass, phases.PhaseOf(events[begin])};
      const double own = mine.at(key);
      if (own <= 0) continue;
      const Sum& sum = sums.at(key);
      work_[begin].balance = static_cast<float>(sum.all / sum.workers / own);
    }
  });
}

// The stream's rate shows where an instruction wanted its stages sooner than
// they came: all but those that the ring held when it began came meanwhile.
void Replay::ObserveStream() {
  if (!stream_.recorded) return;
  const std::vector<Event>& events = d_.trace().events;
  double time = 0, stages = 0;
  std::vector<double> latencies;
  for (EventIndex i = 0; i < events.size(); ++i) {
    const Event& e = events[i];
    if (e.stage_ready == kNever || e.stage_wait <= 0) continue;
    if (e.load_end != kNever && e.stage_ready > e.load_end) {
      latencies.push_back(static_cast<double>(e.stage_ready - e.load_end));
    }
    const Nanos streaming = e.stage_ready - ReadyTime(e);
    // Those that hardly waited say more of their computing.
    constexpr Nanos kShare = 10;
    if (work_[i].stages <= stream_.stages ||
        e.stage_wait * kShare < streaming) {
      continue;
    }
    time += static_cast<double>(streaming);
    stages += work_[i].stages - stream_.stages;
  }
  stream_.latency_ns = Quantile(std::move(latencies), 0.1);
  const Trace& trace = d_.trace();
  if (stages > 0) {
    stream_.stage_ns = time / stages;
  } else if (trace.stream_gb_per_s > 0) {
    stream_.stage_ns = static_cast<double>(trace.program.target.stage_bytes) *
                       trace.program.num_workers() / trace.stream_gb_per_s;
  }
}

void Replay::FindContributions() {
  const absl::Span<const Join> joins = d_.joins();
  contribution_begin_.assign(work_.size() + 1, 0);
  const auto for_each = [&](auto visit) {
    for (uint32_t j = 0; j < joins.size(); ++j) {
      for (const ProducerPlace& place : d_.Producers(joins[j].set)) {
        if (!d_.WaitsFor(joins[j], place)) continue;
        const EventIndex e = d_.Find(place.worker, joins[j].pass, place.pc);
        if (e != kNoEvent) visit(e, j);
      }
    }
  };
  for_each([&](EventIndex e, uint32_t) { ++contribution_begin_[e + 1]; });
  for (size_t i = 1; i < contribution_begin_.size(); ++i) {
    contribution_begin_[i] += contribution_begin_[i - 1];
  }
  contributions_.resize(contribution_begin_.back());
  std::vector<uint32_t> next(contribution_begin_.begin(),
                             contribution_begin_.end() - 1);
  for_each([&](EventIndex e, uint32_t j) { contributions_[next[e]++] = j; });
}

// Runs each worker until it lacks a producer, over and over.
void Replay::FindOrder() {
  const std::vector<Event>& events = d_.trace().events;
  std::vector<uint32_t> missing(d_.joins().size(), 0);
  for (const uint32_t join : contributions_) ++missing[join];
  std::vector<std::vector<EventIndex>> blocked(missing.size());
  std::vector<EventIndex> runnable;
  for (EventIndex i = 0; i < events.size(); ++i) {
    if (i == 0 || events[i - 1].worker != events[i].worker) {
      runnable.push_back(i);
    }
  }
  order_.reserve(events.size());
  const auto blocker = [&](EventIndex e) {
    for (int w = 0; w < d_.NumWaits(e); ++w) {
      const uint32_t join = d_.JoinOf(e, w);
      if (join != kNoJoin && missing[join] > 0) return join;
    }
    return kNoJoin;
  };
  while (!runnable.empty()) {
    EventIndex e = runnable.back();
    runnable.pop_back();
    const uint32_t worker = events[e].worker;
    for (; e < events.size() && events[e].worker == worker; ++e) {
      const uint32_t join = blocker(e);
      if (join != kNoJoin) {
        blocked[join].push_back(e);
        break;
      }
      order_.push_back(e);
      for (uint32_t c = contribution_begin_[e]; c < contribution_begin_[e + 1];
           ++c) {
        std::vector<EventIndex>& waiters = blocked[contributions_[c]];
        if (--missing[contributions_[c]] > 0) continue;
        runnable.insert(runnable.end(), waiters.begin(), waiters.end());
        waiters.clear();
      }
    }
  }
}

struct Replay::Clocks {
  struct Worker {
    double signaled = 0;
    bool started = false;
    double last_arrival = -std::numeric_limits<double>::infinity();
    uint64_t next_stage = 0;
    std::vector<double> freed;  // by stage of the ring
  };
  std::vector<Worker> workers;
};

// When the event is done; takes its stages from the ring.
double Replay::Body(const Assumptions& assumptions, EventIndex event,
                    double ready, Clocks& clocks) const {
  const Work& work = work_[event];
  const double scale = assumptions.balance_perfect ? work.balance : 1;
  double now = ready + (assumptions.hops_free ? 0 : work.operand_wait);
  if (!assumptions.bandwidth_infinite) now += work.fixed_wait;
  if (work.stages == 0 || assumptions.bandwidth_infinite) {
    return now + work.compute * scale;
  }
  Clocks::Worker& worker = clocks.workers[d_.trace().events[event].worker];
  const double compute = work.compute * scale / work.stages;
  for (uint32_t i = 0; i < work.stages; ++i) {
    double& freed = worker.freed[worker.next_stage++ % stream_.stages];
    const double arrival =
        std::max(freed + stream_.latency_ns,
                 worker.last_arrival + stream_.stage_ns * scale);
    worker.last_arrival = arrival;
    now = std::max(now, arrival) + compute;
    freed = now;
  }
  return now;
}

std::vector<double> Replay::PassEnds(const Assumptions& assumptions) const {
  const std::vector<Event>& events = d_.trace().events;
  Clocks clocks;
  clocks.workers.resize(d_.trace().program.num_workers());
  for (Clocks::Worker& worker : clocks.workers) {
    worker.freed.assign(stream_.stages,
                        -std::numeric_limits<double>::infinity());
  }
  std::vector<double> published(d_.joins().size(), 0);
  std::map<uint32_t, double> ends;
  for (const EventIndex e : order_) {
    const Work& work = work_[e];
    Clocks::Worker& worker = clocks.workers[events[e].worker];
    const double visited = worker.started
                               ? worker.signaled + work.dispatch
                               : static_cast<double>(events[e].visited);
    worker.started = true;
    double ready = visited + (assumptions.hops_free ? 0 : work.check);
    const double hop =
        assumptions.hops_free ? std::min(work.hop, 0.0) : work.hop;
    for (int w = 0; w < d_.NumWaits(e); ++w) {
      const uint32_t join = d_.JoinOf(e, w);
      if (join == kNoJoin || d_.joins()[join].last == kNoEvent) continue;
      ready = std::max(ready, published[join] + hop);
    }
    const double done = Body(assumptions, e, ready, clocks);
    worker.signaled = done + (assumptions.hops_free ? 0 : work.signal);
    for (uint32_t c = contribution_begin_[e]; c < contribution_begin_[e + 1];
         ++c) {
      const uint32_t join = contributions_[c];
      const bool tagged = d_.joins()[join].transport == Transport::kTagged;
      published[join] =
          std::max(published[join], tagged ? done : worker.signaled);
    }
    double& end = ends.try_emplace(events[e].pass, done).first->second;
    end = std::max(end, done);
  }
  std::vector<double> result;
  result.reserve(ends.size());
  for (const auto& [pass, end] : ends) result.push_back(end);
  return result;
}

}  // namespace mkvm::trace
