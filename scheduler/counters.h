// Pass 5: counters and edges, from the data flow.
//
// An instruction waits for the counter of every producer of what it reads. Each
// such edge is written once, at the reader; the choice between tagged data and
// a release is made here and nowhere else.
#ifndef MKVM_SCHEDULER_COUNTERS_H_
#define MKVM_SCHEDULER_COUNTERS_H_

#include "absl/status/status.h"
#include "isa/program.h"
#include "scheduler/lower.h"
#include "scheduler/order.h"

namespace mkvm::scheduler {

struct EdgeOptions {
  // Edges of activations by tagged data, where they pay.
  bool tagged = true;
  // The edge from the LM head into argmax, or fused into advance, is always a
  // plain counter, so that each pass ends with a release by every worker.
  // Needed where state other than the token is handed from worker to worker.
  bool release_at_end = false;
};

// Fills counters, queues and labels of `program`, whose buffers are the
// graph's. Internal when an instruction needs more than kMaxWaits waits.
absl::Status Connect(const Tiles& tiles, const Queues& queues,
                     const EdgeOptions& options, isa::Program& program);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COUNTERS_H_
