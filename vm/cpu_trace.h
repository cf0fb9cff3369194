// A trace of the CPU machine.
#ifndef MKVM_VM_CPU_TRACE_H_
#define MKVM_VM_CPU_TRACE_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "isa/program.h"
#include "trace/trace.h"
#include "vm/machine.h"
#include "vm/progress.h"

namespace mkvm::vm {

// Each worker's calls come from one thread at a time, in the order Visit, Hold
// any number of times, Begin, Done, Signaled; each call takes the time.
class CpuTrace {
 public:
  // REQUIRES: `program` outlives the trace.
  CpuTrace(const isa::Program& program, const TraceOptions& options);

  // Worker `w` looks at the instruction at `place`, perhaps again.
  void Visit(uint32_t w, const WorkerPlace& place);
  // Its wait `i` holds it.
  void Hold(uint32_t w, int i);
  void Begin(uint32_t w);
  void Done(uint32_t w);
  void Signaled(uint32_t w);

  // After the run. Without `program` and `machine`.
  trace::Trace Collect(int64_t first_position) const;

 private:
  using Clock = std::chrono::steady_clock;
  // Workers are written by different threads at the same time.
  struct alignas(64) Recording {
    bool visiting = false;  // `now` is open, whether wanted or not
    bool wanted = false;
    trace::Event now;
    std::vector<trace::Event> events;
    uint64_t dropped = 0;
  };

  trace::Nanos Now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() -
                                                                origin_)
        .count();
  }

  const isa::Program& program_;
  const TraceOptions options_;
  const Clock::time_point origin_ = Clock::now();
  uint64_t capacity_;  // events of one worker
  std::vector<Recording> workers_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_CPU_TRACE_H_
