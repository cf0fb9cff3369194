// A trace of the GPU machine: memory for the traced kernel to record in, and
// its records as a trace on one clock.
#ifndef MKVM_VM_GPU_TRACE_H_
#define MKVM_VM_GPU_TRACE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "isa/program.h"
#include "ops/trace_record.h"
#include "trace/trace.h"
#include "vm/cuda_memory.h"
#include "vm/launch.h"
#include "vm/machine.h"

namespace mkvm::vm {

class GpuTrace {
 public:
  // Memory for passes [first_pass, end_pass) of options, of which the run has
  // `max_passes`. ResourceExhausted when the GPU has too little.
  static absl::StatusOr<GpuTrace> Create(const isa::Program& program,
                                         const TraceOptions& options,
                                         int64_t max_passes);

  TraceArguments arguments() const;

  // After the launch. Without `program`, `machine` and `first_position`.
  absl::StatusOr<trace::Trace> Collect(const isa::Program& program,
                                       int64_t first_position) const;

 private:
  uint32_t workers_ = 0;
  uint32_t capacity_ = 0;
  uint32_t samples_per_worker_ = 0;
  uint32_t first_pass_ = 0, end_pass_ = 0;
  DevicePointer<ops::TraceRecord> records_;
  DevicePointer<ops::TraceSample> samples_;
  DevicePointer<ops::TraceCounts> counts_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_TRACE_H_
