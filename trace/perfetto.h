// A trace as Chrome trace events, for ui.perfetto.dev and chrome://tracing.
#ifndef MKVM_TRACE_PERFETTO_H_
#define MKVM_TRACE_PERFETTO_H_

#include <string>

#include "trace/critical_path.h"
#include "trace/dependencies.h"

namespace mkvm::trace {

// The JSON object form of the "Trace Event Format" document; times are
// microseconds with three decimals, so that no nanosecond is lost. Tracks:
//   process "compute"        per worker: a slice per visit, its parts inside
//   process "weight stream"  per worker: first to last copy issued
//   process "fetch"          per worker: an instant per instruction decoded
//   process "token"          the passes, the critical path, GB/s read
// A flow arrow runs from the last producer of every wait on another worker to
// the waiter.
std::string ToPerfetto(const Dependencies& dependencies,
                       const CriticalPath& path);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_PERFETTO_H_
