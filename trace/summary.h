// What a trace says at a glance.
#ifndef MKVM_TRACE_SUMMARY_H_
#define MKVM_TRACE_SUMMARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "trace/critical_path.h"
#include "trace/dependencies.h"
#include "trace/what_if.h"

namespace mkvm::trace {

struct OpcodeTime {
  std::string opcode;
  uint64_t count = 0;
  // Of one visit, from visited to signaled, nanoseconds.
  double median_ns = 0, p99_ns = 0;
  double total_ns = 0;
  double share = 0;  // of all workers' time, 0..1
};

// The visits of one kind of phase ("down"), over all layers and passes.
struct PhaseTime {
  std::string kind;
  uint64_t count = 0;
  // Of the mean visit, nanoseconds.
  double overhead_ns = 0, wait_ns = 0, stage_wait_ns = 0, operand_wait_ns = 0,
         compute_ns = 0;
  double bytes = 0;  // of weights and KV cache per visit
  // The largest over the mean compute of the workers with a part in a phase,
  // in the mean over layers and passes; 1: perfect.
  double imbalance = 1;
};

struct WorkerTime {
  uint32_t worker = 0;
  Breakdown sums;
};

// The waits of one phase for another, and the longest of them.
struct WorstWait {
  EventIndex event = kNoEvent;
  EventIndex producer = kNoEvent;  // the last that it waited for
  Nanos wait = 0;
  uint64_t count = 0;  // of waits between these two phases
  double mean_ns = 0;  // of them
};

struct Summary {
  uint32_t num_passes = 0;    // with events
  uint32_t num_complete = 0;  // with all their events
  uint32_t num_tokens = 0;    // that us_per_token is the mean of
  double us_per_token = 0;
  double tokens_per_s = 0;
  // Edges between workers, and those among them whose waiter had its operands
  // before they were published: no machine does that, so the clocks differ by
  // as much at least.
  uint64_t num_edges = 0, num_impossible = 0;
  Nanos worst_impossible = 0;
  std::vector<OpcodeTime> opcodes;  // by total time, the largest first
  std::vector<PhaseTime> phases;    // in the order of the queues
  std::vector<WorkerTime> workers;  // those with events
  // Bytes read in equal slices of the time from the first event to the last.
  double slice_ns = 0;
  std::vector<double> gb_per_s;
  double mean_gb_per_s = 0;
  std::vector<WorstWait> worst_waits;  // the longest first
};

struct SummaryOptions {
  size_t num_slices = 20;
  size_t num_waits = 10;  // worst waits
};
Summary Summarize(const Dependencies& dependencies,
                  const SummaryOptions& options = {});
std::string SummaryText(const Dependencies& dependencies,
                        const Summary& summary);

// All of it as one JSON object; `what_if` may be nullptr.
std::string SummaryJson(const Dependencies& dependencies,
                        const Summary& summary, const PathTable& path,
                        const WhatIf* what_if);

// "L07.down[112] waited 1.9 us for L07.gate_up[31] on worker 31".
std::string WaitText(const Dependencies& dependencies, const WorstWait& wait);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_SUMMARY_H_
