// What the host hands to the interpreter kernel. No CUDA headers, so that the
// host side compiles without nvcc.
#ifndef MKVM_VM_LAUNCH_H_
#define MKVM_VM_LAUNCH_H_

#include <cstdint>

#include "ops/decoded_instruction.h"
#include "ops/fault.h"
#include "ops/trace_record.h"

struct CUstream_st;

namespace mkvm::vm {

// Counters lie one cache line apart.
inline constexpr uint32_t kCounterStride = 32;  // words

// Where the traced kernel records; device addresses.
struct TraceArguments {
  ops::TraceRecord* records;  // [workers, capacity]
  ops::TraceSample* samples;  // [workers, samples_per_worker]
  ops::TraceCounts* counts;   // [workers]
  uint32_t capacity;
  uint32_t samples_per_worker;
  uint32_t first_pass, end_pass;  // records passes in [first_pass, end_pass)
};

// What the ablated kernel leaves out (GpuAblations, vm/gpu_machine.h).
struct AblationArguments {
  // Slots that the fetcher fills before the oldest of them is done,
  // 1..MaxFetchDepth().
  uint32_t fetch_depth;
  // An instruction's weights are requested once the one before is done.
  bool no_prefetch;
  // [2, workers]: where each queue's part of this launch begins and ends, in
  // instructions; nullptr: whole queues.
  const uint32_t* part;
  const uint32_t* pass;  // [1]: with `part`, the pass that is run
};

// A worker's queue.
struct QueueRange {
  uint32_t begin;   // of its instructions, in the code
  uint32_t length;  // instructions
  uint32_t always;  // of them those that are idle in no pass
};

// All pointers are device addresses; fault, token_ring and passes are mapped
// host memory.
struct LaunchArguments {
  const ops::DecodedInstruction* code;  // the queues, one after the other
  const QueueRange* queues;             // [workers]
  uint32_t* counters;                   // [counters * kCounterStride], zero
  const uint32_t* producers;            // [counters]
  uint32_t* abort;                      // [1], zero
  uint32_t num_stages;
  // From the copy of a whole stage to the next one, of less in proportion: 0,
  // or so that memory is not asked for much more than it can give.
  uint32_t copy_interval_cycles;
  uint32_t max_passes;
  int64_t first_position;
  uint64_t watchdog_ns;
  ops::Fault* fault;
  uint64_t* token_ring;     // [max_passes], zero
  uint64_t* passes;         // [1]: passes that worker 0 has completed
  TraceArguments trace;     // traced kernel only
  uint32_t first_pass = 0;  // runs passes [first_pass, max_passes)
  // Of a run in several launches, else nullptr. [1], zero: the passes after
  // which a halt stopped the program. Launches of later passes do nothing, nor
  // does any after a fault.
  uint32_t* stopped = nullptr;
  AblationArguments ablation = {};  // ablated kernel only
};

// A line of the GPU's own limits, or of what the kernel needs.
struct KernelLimits {
  uint32_t workers = 0;              // blocks that can be resident at once
  uint32_t shared_memory_bytes = 0;  // of one block, stages included
  int registers = 0;
  int local_bytes = 0;  // spilled per thread
};

// Stages that fit one block's shared memory of `bytes`; 0 if fewer than 2. The
// traced kernel needs more for itself, and may have a stage less.
uint32_t StagesThatFit(uint64_t bytes);
uint32_t TracedStagesThatFit(uint64_t bytes);

// CUDA errors are returned as they are (0: success).
int QueryKernelLimits(uint32_t num_stages, int multiprocessors,
                      KernelLimits& limits);
int LaunchInterpreter(const LaunchArguments& arguments, uint32_t workers,
                      CUstream_st* stream);
// The same kernel with trace points, which fills arguments.trace.
int LaunchTracedInterpreter(const LaunchArguments& arguments, uint32_t workers,
                            CUstream_st* stream);

// The same kernel with what arguments.ablation says.
int LaunchAblatedInterpreter(const LaunchArguments& arguments, uint32_t workers,
                             CUstream_st* stream);
// Loads it and the next one: not while a stream is captured.
int LoadAblatedInterpreter();
uint32_t MaxFetchDepth();
// Adds 1 to *word on the device.
int LaunchIncrement(uint32_t* word, CUstream_st* stream);

// Reads `bytes` (a multiple of isa::kStageBytes) in bulk copies, as the weight
// stream of `workers` workers does.
int LaunchStream(const char* data, uint64_t bytes, uint32_t workers,
                 uint32_t num_stages, CUstream_st* stream);

// Packs rows [row_begin, row_begin + rows) of a bf16 matrix (row-major, at
// `source` on the device, `rows` rows) into panels at `destination`.
int LaunchPack(const uint16_t* source, uint64_t row_begin, uint64_t rows,
               uint64_t columns, uint16_t* destination, CUstream_st* stream);

// Limits of the device bodies that the ISA doesn't have.
inline constexpr uint32_t kMaxGroupElements = 2048;  // group * head_dim

}  // namespace mkvm::vm

#endif  // MKVM_VM_LAUNCH_H_
