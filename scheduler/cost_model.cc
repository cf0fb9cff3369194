#include "scheduler/cost_model.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "isa/traffic.h"
#include "scheduler/costs.h"
#include "scheduler/simulate.h"

namespace mkvm::scheduler {
namespace {

struct Place {
  uint32_t worker;
  uint32_t pc;
};

// The instructions of one pass in an order that respects queues and waits;
// nothing when there is none. Waits for the previous pass are fulfilled.
std::optional<std::vector<Place>> TopologicalOrder(
    const isa::Program& program) {
  std::vector<Place> order;
  std::vector<uint32_t> pc(program.queues.size(), 0);
  std::vector<uint32_t> seen(program.counters.size(), 0);
  const auto ready = [&](const isa::Instruction& instruction) {
    for (int i = 0; i < instruction.num_waits; ++i) {
      const isa::Wait& wait = instruction.waits[i];
      if (!instruction.WaitIsLagged(i) && seen[wait.counter] < wait.threshold) {
        return false;
      }
    }
    return true;
  };
  bool progress = true;
  while (progress) {
    progress = false;
    for (uint32_t w = 0; w < program.queues.size(); ++w) {
      const std::vector<isa::Instruction>& queue = program.queues[w];
      for (; pc[w] < queue.size() && ready(queue[pc[w]]); ++pc[w]) {
        if (queue[pc[w]].signal != isa::kNoCounter) {
          ++seen[queue[pc[w]].signal];
        }
        order.push_back({w, pc[w]});
        progress = true;
      }
    }
  }
  if (order.size() != isa::NumInstructions(program)) return std::nullopt;
  return order;
}

// The end of the longest chain through an instruction.
struct Reached {
  double us = 0;
  uint32_t length = 0;
};

// The ends of the two longest chains into a counter, by different workers: two
// suffice to know, for any worker, the longest by another one.
struct Chains {
  Reached reached[2];
  int64_t worker[2] = {-1, -1};

  void Signal(const Reached& end, uint32_t by) {
    if (worker[0] < 0 || worker[0] == by) {
      if (worker[0] < 0 || end.us >= reached[0].us) reached[0] = end;
      worker[0] = by;
    } else if (end.us > reached[0].us) {
      reached[1] = std::exchange(reached[0], end);
      worker[1] = std::exchange(worker[0], by);
    } else if (worker[1] < 0 || end.us > reached[1].us) {
      reached[1] = end;
      worker[1] = by;
    }
  }

  // Raises `chain` to what `reader` sees.
  void See(uint32_t reader, double hop_us, Reached& chain) const {
    for (int i = 0; i < 2; ++i) {
      if (worker[i] < 0) continue;
      const double us = reached[i].us + (worker[i] == reader ? 0 : hop_us);
      if (us > chain.us) chain = {us, reached[i].length};
    }
  }
};

// Between an instruction's operands and the next one's turn, nothing being
// prefetched.
double AloneUs(const isa::Program& program, const Target& target,
               const isa::Instruction& instruction) {
  const double rate_gb_per_s =
      target.stream_gb_per_s / std::max(target.workers, program.num_workers());
  const uint64_t bytes = isa::StreamedBytes(program.buffers, instruction) +
                         isa::KvBytes(instruction, 0);
  const OpCost& cost = FindCost(target.costs, ClassOf(instruction));
  return target.instruction_us + target.signal_us +
         static_cast<double>(bytes) / (rate_gb_per_s * 1e3) +
         WorkUs(cost, WorkOf(instruction, {.panels = target.panels}));
}

}  // namespace

CriticalPath LongestPath(const isa::Program& program, const Target& target) {
  const auto order = TopologicalOrder(program);
  if (!order.has_value()) return {};
  std::vector<Reached> workers(program.num_workers());
  std::vector<Chains> counters(program.counters.size());
  CriticalPath longest;
  for (const Place& place : *order) {
    const isa::Instruction& instruction =
        program.queues[place.worker][place.pc];
    Reached& reached = workers[place.worker];
    for (int i = 0; i < instruction.num_waits; ++i) {
      if (instruction.WaitIsLagged(i)) continue;
      counters[instruction.waits[i].counter].See(place.worker, target.hop_us,
                                                 reached);
    }
    reached.us += AloneUs(program, target, instruction);
    ++reached.length;
    if (instruction.signal != isa::kNoCounter) {
      counters[instruction.signal].Signal(reached, place.worker);
    }
    if (reached.us > longest.us) longest = {reached.length, reached.us};
  }
  return longest;
}

double PredictPassUs(const isa::Program& program, const Target& target,
                     uint64_t position) {
  // The first pass fills the rings; the last two are the steady state.
  std::array<uint64_t, 4> positions;
  positions.fill(position);
  const std::vector<double> ends = SimulatePassEnds(program, target, positions);
  return ends.empty() ? 0 : (ends[3] - ends[1]) / 2;
}

}  // namespace mkvm::scheduler
