#include "scheduler/cost_model.h"

#include <algorithm>
#include <optional>

#include "isa/traffic.h"

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

// When a counter is complete: its two latest signals by different workers.
// Two suffice to know, for any worker, the latest signal by another one.
struct Completion {
  double us[2] = {0, 0};
  int64_t worker[2] = {-1, -1};
  uint32_t length[2] = {0, 0};  // of the chain up to the signal

  void Signal(double time, uint32_t by, uint32_t chain) {
    if (worker[0] == by || worker[0] < 0) {
      if (worker[0] < 0 || time >= us[0]) Set(0, time, by, chain);
    } else if (time > us[0]) {
      us[1] = us[0];
      worker[1] = worker[0];
      length[1] = length[0];
      Set(0, time, by, chain);
    } else if (worker[1] < 0 || time > us[1]) {
      Set(1, time, by, chain);
    }
  }

  // Raises {time, chain} to what `reader` sees.
  void See(uint32_t reader, double hop_us, double& time,
           uint32_t& chain) const {
    for (int i = 0; i < 2; ++i) {
      if (worker[i] < 0) continue;
      const double t = us[i] + (worker[i] == reader ? 0 : hop_us);
      if (t > time) {
        time = t;
        chain = length[i];
      }
    }
  }

 private:
  void Set(int i, double time, uint32_t by, uint32_t chain) {
    us[i] = time;
    worker[i] = by;
    length[i] = chain;
  }
};

// Bytes per microsecond of one worker. A worker left idle gives its share to
// nobody: one block can't draw more than its own loads in flight allow.
double WorkerRate(const isa::Program& program, const Target& target) {
  const uint32_t workers = std::max(target.workers, program.num_workers());
  return target.stream_gb_per_s * 1e3 / workers;
}

// The weight stream of one worker.
class Stream {
 public:
  Stream(double rate, double capacity) : rate_(rate), capacity_(capacity) {}

  // When an instruction that may start at `ready` and streams `bytes` is done.
  double Finish(double ready, uint64_t bytes, double instruction_us) {
    double done = ready;
    if (bytes > 0) {
      // Loading begins when what the ring holds in its place was consumed.
      double begin = end_us_;
      while (next_ < consumed_.size() &&
             consumed_[next_].bytes + capacity_ <= bytes_) {
        ++next_;
      }
      if (bytes_ > capacity_ && next_ < consumed_.size()) {
        begin = std::max(begin, consumed_[next_].us);
      }
      end_us_ = begin + bytes / rate_;
      const double beyond = std::max(0.0, bytes - capacity_) / rate_;
      done = std::max({done, end_us_, ready + beyond});
      bytes_ += bytes;
    }
    done += instruction_us;
    if (bytes > 0) consumed_.push_back({bytes_, done});
    return done;
  }

 private:
  struct Consumed {
    double bytes;  // in all, when the instruction was done
    double us;
  };
  double rate_;      // bytes per microsecond
  double capacity_;  // bytes of the ring
  double bytes_ = 0;
  double end_us_ = 0;
  std::vector<Consumed> consumed_;
  size_t next_ = 0;
};

}  // namespace

CriticalPath LongestPath(const isa::Program& program, const Target& target) {
  const auto order = TopologicalOrder(program);
  if (!order.has_value()) return {};
  const double rate = WorkerRate(program, target);
  struct Reached {
    double us = 0;
    uint32_t length = 0;
  };
  std::vector<Reached> workers(program.num_workers());
  std::vector<Completion> counters(program.counters.size());
  CriticalPath longest;
  for (const Place& place : *order) {
    const isa::Instruction& instruction =
        program.queues[place.worker][place.pc];
    Reached& reached = workers[place.worker];
    for (int i = 0; i < instruction.num_waits; ++i) {
      if (instruction.WaitIsLagged(i)) continue;
      counters[instruction.waits[i].counter].See(place.worker, target.hop_us,
                                                 reached.us, reached.length);
    }
    const uint64_t bytes = isa::StreamedBytes(program.buffers, instruction) +
                           isa::KvBytes(instruction, 0);
    reached.us += target.instruction_us + bytes / rate;
    ++reached.length;
    if (instruction.signal != isa::kNoCounter) {
      counters[instruction.signal].Signal(reached.us, place.worker,
                                          reached.length);
    }
    if (reached.us > longest.us) longest = {reached.length, reached.us};
  }
  return longest;
}

double PredictPassUs(const isa::Program& program, const Target& target,
                     uint64_t position) {
  const auto order = TopologicalOrder(program);
  if (!order.has_value() || program.queues.empty()) return 0;
  const double capacity =
      double{1} * program.target.stages * program.target.stage_bytes;
  std::vector<Stream> streams(program.num_workers(),
                              Stream(WorkerRate(program, target), capacity));
  std::vector<double> done(program.num_workers(), 0);
  // The first pass fills the rings; the last is the steady state.
  constexpr int kPasses = 3;
  double last = 0;
  double before = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::vector<Completion> counters(program.counters.size());
    for (const Place& place : *order) {
      const isa::Instruction& instruction =
          program.queues[place.worker][place.pc];
      double ready = done[place.worker];
      uint32_t chain = 0;
      for (int i = 0; i < instruction.num_waits; ++i) {
        if (instruction.WaitIsLagged(i)) continue;
        counters[instruction.waits[i].counter].See(place.worker, target.hop_us,
                                                   ready, chain);
      }
      const uint64_t bytes = isa::StreamedBytes(program.buffers, instruction) +
                             isa::KvBytes(instruction, position);
      done[place.worker] =
          streams[place.worker].Finish(ready, bytes, target.instruction_us);
      if (instruction.signal != isa::kNoCounter) {
        counters[instruction.signal].Signal(done[place.worker], place.worker,
                                            0);
      }
    }
    before = last;
    last = *std::max_element(done.begin(), done.end());
  }
  return last - before;
}

}  // namespace mkvm::scheduler
