// From measured traces to the costs of a target.
#ifndef MKVM_SCHEDULER_CALIBRATE_H_
#define MKVM_SCHEDULER_CALIBRATE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "scheduler/target.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

// `base` with costs fitted to the traces: hop_us, counter_hop_us, load_us,
// instruction_us, signal_us, release_us, stream_gb_per_s where the traces know
// it, and an entry of `costs` for every class that they hold. What they don't
// show (a class without events, releases when there was none) stays as in
// `base`. Sizes (cache_bytes too), name and notes are base's.
//
// Well determined when the traces come from one idle machine, hold two or more
// passes each (an event whose producers are not in the trace doesn't count, so
// the first pass of each is lost in part), and differ in what the costs depend
// on:
//   - stages and groups of a gemv: three geometries, so that each class (qkv,
//     o, gate/up, down, LM head) comes with several numbers of rows per worker.
//     One layer or two of each suffice;
//   - slabs: columns of 1024 and below, and of 2048, 3072 and more, both for
//     classes with and without a residual;
//   - attention's turns: positions near 0, 500 and some thousands, the latter
//     with so many layers that their KV cache is larger than cache_bytes, as a
//     whole model's is;
//   - splits of a merge: two values of max_kv_splits;
//   - both transports: tagged for hop_us, counters for counter_hop_us and
//     release_us.
// One trace alone is enough for predictions of runs like it: what it can't
// tell apart goes to fixed_us.
//
// Errors: InvalidArgument when there is no trace, or none with two events that
// follow each other on a worker.
//
// pass_us[i]: how long a pass of trace i's run takes when it isn't traced,
// microseconds. Tracing costs some per cent; where the predictions are longer
// than these times in the mean, instruction_us is shortened, then the hops. 0
// or left out: as the trace says.
absl::StatusOr<Target> Fit(const std::vector<trace::Trace>& traces,
                           const Target& base,
                           absl::Span<const double> pass_us = {});

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_CALIBRATE_H_
