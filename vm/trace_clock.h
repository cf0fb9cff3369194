// One clock for all workers of a GPU trace.
#ifndef MKVM_VM_TRACE_CLOCK_H_
#define MKVM_VM_TRACE_CLOCK_H_

#include <cstdint>

#include "absl/types/span.h"
#include "ops/trace_record.h"
#include "trace/trace.h"

namespace mkvm::vm {

// Maps the cycles of one SM to the GPU's global timer, by straight lines
// between the samples (the SM's clock may change its rate). REQUIRES: at least
// two samples with ascending cycles and times, which outlive the map.
class ClockMap {
 public:
  // Times count from `origin_ns` of the global timer.
  ClockMap(absl::Span<const ops::TraceSample> samples, uint64_t origin_ns)
      : samples_(samples), origin_ns_(origin_ns) {}

  double NanosAt(uint64_t cycles) const;
  // Over all samples.
  double NanosPerCycle() const;
  // What the steps of the global timer and changes of the rate may do to a
  // time: half of the farthest that a sample is from the line between its
  // neighbours, which lie twice as far apart as the map's own lines reach. 0
  // with fewer than three samples.
  double LargestError() const;

 private:
  double Between(const ops::TraceSample& a, const ops::TraceSample& b,
                 uint64_t cycles) const;
  double Nanos(const ops::TraceSample& sample) const;

  absl::Span<const ops::TraceSample> samples_;
  uint64_t origin_ns_;
};

// The record as an event; `bytes` is left to the caller.
trace::Event ToEvent(const ops::TraceRecord& record, uint32_t worker,
                     const ClockMap& clock);

}  // namespace mkvm::vm

#endif  // MKVM_VM_TRACE_CLOCK_H_
