// The shared memory of a block of the interpreter, as one struct, and what the
// roles of its warps agree on.
#ifndef MKVM_OPS_SHARED_MEMORY_CUH_
#define MKVM_OPS_SHARED_MEMORY_CUH_

#include <cstdint>

#include "isa/instruction.h"
#include "ops/decoded_instruction.h"
#include "ops/fault.h"
#include "ops/trace_record.h"

namespace mkvm::ops {

inline constexpr uint32_t kComputeWarps = 8;
inline constexpr uint32_t kComputeThreads = 32 * kComputeWarps;
inline constexpr uint32_t kMaxStages = 16;
static_assert((kMaxStages & (kMaxStages - 1)) == 0);
// The threads that finish a group's rows: whole warps.
inline constexpr uint32_t kFinishThreads =
    (kGroupSlots * isa::kPanelRows + 31) / 32 * 32;
inline constexpr uint32_t kScratchFloats = 4400;

// Typed addresses, e.g. GemvAddresses: for each buffer operand where its data
// are (nullptr if not given), at the same index as in the operand struct.
#define MKVM_OP(code, Name, name, synopsis) struct Name##Addresses {
#define MKVM_READ(f, d, s, b, c) void* f;
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_U32(f, d) void* f##_unused;
#define MKVM_F32(f, d) void* f##_unused;
#define MKVM_ENUM(f, T, d) void* f##_unused;
#define MKVM_END(Name) \
  }                    \
  ;
#include "isa/opcodes.def"

// What an attention instruction does in its pass: the positions of its split,
// and where this pass's goes if it is the split's.
struct alignas(16) AttentionPlace {
  uint32_t positions;
  uint32_t append;  // 0: it is another split's
  uint32_t slot;
  uint32_t alone;  // 1: no other split has positions, the result is whole
  // Rows that come through the stages: those that were there before this pass.
  uint32_t streamed;
};

// An instruction, ready for its pass.
struct InstructionSlot : DecodedInstruction {
  AttentionPlace attention;  // of an attention
  // Of untagged waits: the counter values that they want in this pass; 0: none.
  uint32_t wanted[isa::kMaxWaits];
  // Traced kernel.
  TraceRecord record;
  TraceRead reads[kComputeWarps];
  TraceStageWait stage_waits[kComputeWarps];
};

// The shared memory of a block; the weight stages follow it, 128-byte aligned.
inline constexpr uint32_t kInstructionSlots = 8;
struct SharedMemory {
  alignas(128) InstructionSlot slots[kInstructionSlots];
  uint64_t slot_full[kInstructionSlots];
  uint64_t slot_empty[kInstructionSlots];
  uint64_t leave;  // completes when the compute threads have left
  // Traced kernel: when the loader and the finishing threads have left, too.
  uint64_t others_left;
  // Of the chunks of stages that the loader fills at a time (at least a stage
  // each, so that there are no more of them than stages), in turn.
  uint64_t chunk_full[kMaxStages];
  uint64_t chunk_empty[kMaxStages];
  // The sums of a batch (a group of a gemv) are in this copy; its rows are
  // written.
  uint64_t sums_ready[2];
  uint64_t rows_done[2];
  // Partial sums [warp][panel][row][upper or lower halves] and squares [warp]
  // of a gemv. Two copies, for batches in turn: sums_ready says that a copy may
  // be read, rows_done that it may be written again.
  alignas(8) float partials[2][kComputeWarps][kGroupSlots][isa::kPanelRows][2];
  alignas(16) float gemv_squares[2][kComputeWarps];
  alignas(16) float squares[2][kComputeWarps];
  uint2 second_best;  // of the second finishing warp: score, row
  alignas(16) float scratch[kScratchFloats];
  // What cold paths need; constant during a launch.
  uint32_t* abort;       // global: some worker has faulted
  Fault* fault;          // host memory: its record
  uint64_t* token_ring;  // host memory: one word per pass
  uint64_t watchdog_ns;
  int64_t first_position;
  uint32_t max_passes;
  // Halts' broadcasts: kStopProgram, kStopLimit or both. Two, in turn: between
  // one halt's and the next but one's there are barriers.
  uint32_t stop[2];
};
inline constexpr uint32_t kStagesOffset =
    (sizeof(SharedMemory) + 127) / 128 * 128;
static_assert(kStagesOffset <= isa::kWorkerReserveBytes);

inline constexpr uint32_t kStopProgram = 1;  // the program says so
inline constexpr uint32_t kStopLimit = 2;    // the passes are done

// The block's shared memory. A pointer in a variable would do, if the compiler
// could always see where it points: where it can't, every access is a generic
// one and takes longer.
struct SharedPointer {
  __device__ __forceinline__ operator SharedMemory*() const {
    extern __shared__ __align__(128) char memory[];
    return reinterpret_cast<SharedMemory*>(memory);
  }
  __device__ __forceinline__ SharedMemory* operator->() const { return *this; }
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SHARED_MEMORY_CUH_
