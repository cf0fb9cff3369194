// The shared memory of a block of the interpreter, as one struct, and what the
// roles of its warps agree on.
#ifndef MKVM_OPS_SHARED_MEMORY_CUH_
#define MKVM_OPS_SHARED_MEMORY_CUH_

#include <cstdint>
#include <type_traits>

#include "isa/instruction.h"
#include "ops/decoded_instruction.h"
#include "ops/fault.h"
#include "ops/ptx/barrier.cuh"
#include "ops/trace_record.h"

// The interpreter is compiled twice, from the same sources: as it is, and with
// the trace points (vm/interpreter_traced.cu). Device code of the two is never
// linked together.
#ifndef MKVM_TRACED
#define MKVM_TRACED 0
#endif

namespace mkvm::ops {

constexpr bool kTraced = MKVM_TRACED != 0;

inline constexpr uint32_t kComputeWarps = 8;
inline constexpr uint32_t kComputeThreads = 32 * kComputeWarps;
inline constexpr uint32_t kMaxStages = 16;
static_assert((kMaxStages & (kMaxStages - 1)) == 0);
// The threads that finish a group's rows: whole warps.
inline constexpr uint32_t kFinishThreads =
    (kGroupSlots * isa::kPanelRows + 31) / 32 * 32;

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

// An instruction, ready for its pass.
using InstructionSlot = DecodedInstruction;

// What the traced kernel notes of it.
struct InstructionTrace {
  TraceRecord record;
  TraceRead reads[kComputeWarps];
  TraceStageWait stage_waits[kComputeWarps];
};

// What a compute warp needs in a gemv: its columns of the vector, as operands
// of products (fragments), and its partial sums. Two copies of these, for
// batches in turn: sums_ready says that a copy may be read, rows_done that it
// may be written again. A third slab's fragments take much of the copies'
// place; there are few sums then (ops/gemv_stages.cuh).
inline constexpr uint32_t kFragmentSlabs = 2;
inline constexpr uint32_t kSlabFragments = 32;
struct WarpSums {
  uint4 fragments[kFragmentSlabs][kSlabFragments];
  float partials[2][kGroupSlots][isa::kPanelRows][2];  // upper, lower halves
};
union WarpScratch {
  uint4 fragments[kChunkSlabs][kSlabFragments];
  WarpSums sums;
};
static_assert(kChunkSlabs == kFragmentSlabs + 1);
// All of them, and what other bodies use when no gemv is under way.
inline constexpr uint32_t kScratchFloats =
    kComputeWarps * sizeof(WarpScratch) / sizeof(float);
union Scratch {
  WarpScratch warps[kComputeWarps];
  float floats[kScratchFloats];
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
  alignas(16) float gemv_squares[2][kComputeWarps];  // likewise two copies
  alignas(16) float squares[2][kComputeWarps];
  uint2 second_best;  // of the second finishing warp: score, row
  alignas(16) Scratch scratch;
  // What cold paths need; constant during a launch.
  uint32_t* abort;       // global: some worker has faulted
  Fault* fault;          // host memory: its record
  uint64_t* token_ring;  // host memory: one word per pass
  uint64_t watchdog_ns;
  int64_t first_position;
  uint32_t max_passes;
  // Halts' broadcasts: kStopProgram, kStopLimit or both. By pass, two in turn:
  // between one halt's and the next but one's there is a barrier, the last of
  // the halt between them, but perhaps none between one's and the next's.
  uint32_t stop[2];
  // Traced kernel, at the slots' indices.
  std::conditional_t<kTraced, InstructionTrace[kInstructionSlots],
                     InstructionTrace*>
      traces;
};
inline constexpr uint32_t kStagesOffset =
    (sizeof(SharedMemory) + 127) / 128 * 128;
// (The traced kernel may have a stage less.)
static_assert(kTraced || kStagesOffset <= isa::kWorkerReserveBytes);

inline constexpr uint32_t kStopProgram = 1;  // the program says so
inline constexpr uint32_t kStopLimit = 2;    // the passes are done

// The block's shared memory. A pointer in a variable would do, if the compiler
// could always see where it points: where it can't, every access is a generic
// one and takes longer.
struct SharedPointer {
  __device__ __forceinline__ operator SharedMemory*() const {
    return reinterpret_cast<SharedMemory*>(ptx::DynamicSharedMemory());
  }
  __device__ __forceinline__ SharedMemory* operator->() const { return *this; }
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SHARED_MEMORY_CUH_
