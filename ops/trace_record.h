// What the traced interpreter records of one instruction.
#ifndef MKVM_OPS_TRACE_RECORD_H_
#define MKVM_OPS_TRACE_RECORD_H_

#include <cstdint>

namespace mkvm::ops {

// Times are the lower 32 bits of the SM's clock, the last bit set; 0: never. A
// visit that lasts longer than 2^32 cycles (2.4 s) comes out shorter. What the
// fields mean: trace/trace.h.
struct TraceRecord {
  uint64_t fetched;  // clock64
  uint32_t pass, pc;
  uint32_t load_begin, load_end;  // written by the loader's lane 0
  // The others by one compute thread each, or from the last of the warps'
  // reads. `signaled` only of releases.
  uint32_t visited, waited, poll_begin, ready, stage_ready, done, signaled;
  uint32_t stage_wait, operand_wait;  // durations, cycles
  uint32_t last_wait;                 // plus 1; 0: none
  uint32_t last_buffer;               // plus 1; 0: none
  uint32_t unused;
};
static_assert(sizeof(TraceRecord) == 72);

// The first read of operands by one compute warp. Kept per warp, so that no two
// write the same words; the last warp's goes into the record.
struct alignas(16) TraceRead {
  uint32_t ready, poll_begin, last_buffer, unused;
};

// What one compute warp has waited for stages in an instruction, and when it
// has last seen a late one; 0: never. The warp that has waited longest counts.
struct TraceStageWait {
  uint32_t wait, ready;
};

// One reading of both clocks of a worker.
struct TraceSample {
  uint64_t cycles;     // of the SM
  uint64_t global_ns;  // of the GPU, at a step of that clock
};

// What a worker has recorded in a launch.
struct TraceCounts {
  uint32_t records, dropped, samples, unused;
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_TRACE_RECORD_H_
