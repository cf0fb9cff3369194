// A machine as the scheduler sees it: sizes, and the costs of its cost model.
#ifndef MKVM_SCHEDULER_TARGET_H_
#define MKVM_SCHEDULER_TARGET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/costs.h"

namespace mkvm::scheduler {

struct Target {
  std::string name;
  uint32_t workers = 1;              // instruction queues (blocks or threads)
  uint32_t stages = 4;               // weight stages per worker
  uint64_t shared_memory_bytes = 0;  // per worker
  bool panels = true;                // weights packed in panels of 8 rows
  bool tagged = true;                // edges by tagged data where they pay
  uint32_t max_kv_splits = 16;       // attention splits per kv head at most
  // Rows of a gemv instruction at least, where there are as many. The fewer
  // workers multiply a vector, the fewer of them read it.
  uint32_t min_gemv_rows = 1;
  // Cost model. Sources: docs/performance.md; measured ones say so in `notes`.
  double stream_gb_per_s = 100;  // read-only stream, all workers
  // KV cache that is still in a cache when the next pass reads it; 0: none is.
  uint64_t cache_bytes = 0;
  uint32_t slots = 8;  // instructions that a worker fetches ahead
  double copy_us = 1;  // a stage's copy on an idle machine
  double hop_us = 1;   // tagged data: last write -> another worker has them
  // A counter: its tick -> another worker has seen it; hop_us where not known.
  std::optional<double> counter_hop_us;
  double load_us = 0;     // reading a counter, or operands, that are there
  double signal_us = 0;   // last write -> signal
  double release_us = 0;  // more, when the signal is a release
  double instruction_us = 0.05;  // signal -> next instruction: fetch, decode
  CostTable costs;               // the instructions' own times
  std::string notes;
};

// Whether the KV cache that a pass at `position` reads comes from memory.
bool KvIsCold(const Target& target, const isa::Program& program,
              uint64_t position);

// "h200", "h100", "a100", "rtx4090", "rtx5090", "cpu", ... NotFound lists them.
absl::StatusOr<Target> FindTarget(absl::string_view name);
std::vector<std::string> TargetNames();
// The JSON form (docs/target.md): keys as the fields above.
absl::StatusOr<Target> ParseTarget(absl::string_view json);
std::string TargetToJson(const Target& target);
// A CPU target with that many workers.
Target CpuTarget(uint32_t workers);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_TARGET_H_
