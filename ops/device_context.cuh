// What an op sees when it runs on the GPU: its operands and their addresses,
// the weight stream, scratch memory, and the loads and stores that carry
// activations. Filled by the VM; owned here so that ops never include the VM.
//
// A block is one worker: 8 compute warps run the op bodies, one warp streams
// weights into a ring of stages, one fetches instructions.
#ifndef MKVM_OPS_DEVICE_CONTEXT_CUH_
#define MKVM_OPS_DEVICE_CONTEXT_CUH_

#include <cmath>
#include <cstdint>

#include "isa/instruction.h"
#include "ops/device_buffer.h"
#include "ops/fault.h"
#include "ops/ptx/barrier.cuh"
#include "ops/ptx/memory.cuh"
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
// Panels whose partial sums an op may hold at once.
inline constexpr uint32_t kPanelGroup = 8;
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

// Operand indices by name, e.g. GemvIndex::x.
#define MKVM_OP(code, Name, name, synopsis) \
  struct Name##Index {                      \
    enum : uint32_t {
#define MKVM_READ(f, d, s, b, c) f,
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_U32(f, d) f,
#define MKVM_F32(f, d) f,
#define MKVM_ENUM(f, T, d) f,
#define MKVM_END(Name) \
  kCount               \
  }                    \
  ;                    \
  }                    \
  ;
#include "isa/opcodes.def"

// One decoded instruction in shared memory.
struct InstructionSlot {
  isa::Instruction instruction;
  // Of buffer operands, by operand index: so that no body looks them up in
  // global memory on its critical path.
  void* addresses[isa::kOperandWords];
  uint2 dims[isa::kOperandWords];  // the first two dimensions
  uint32_t f24_operands;           // bit i: operand i is an f24 buffer
  uint32_t panel_operands;         // bit i: operand i is stored in panels
  // The counter values that the waits want in this pass; 0: none.
  uint32_t wanted[isa::kMaxWaits];
  // Traced kernel.
  TraceRecord record;
  TraceRead reads[kComputeWarps];
};

// The shared memory of a block; the weight stages follow it, 128-byte aligned.
inline constexpr uint32_t kInstructionSlots = 8;
struct SharedMemory {
  alignas(128) InstructionSlot slots[kInstructionSlots];
  uint64_t slot_full[kInstructionSlots];
  uint64_t slot_empty[kInstructionSlots];
  uint64_t leave;        // completes when the compute threads have left
  uint64_t loader_left;  // traced kernel: when the loader has left, too
  uint64_t stage_full[kMaxStages];
  uint64_t stage_empty[kMaxStages];
  // Partial sums [warp][panel][row] and squares [warp] of a gemv. Two copies,
  // used in turn: a copy is read after one barrier and written again only by
  // warps that have passed the next.
  float partials[2][kComputeWarps][kPanelGroup][isa::kPanelRows];
  float squares[2][kComputeWarps];
  alignas(16) float scratch[kScratchFloats];
  // What cold paths need; constant during a launch.
  uint32_t* abort;       // global: some worker has faulted
  Fault* fault;          // host memory: its record
  uint64_t* token_ring;  // host memory: one word per pass
  uint64_t watchdog_ns;
  int64_t first_position;
  uint32_t stop;  // halt's broadcast
};
inline constexpr uint32_t kStagesOffset =
    (sizeof(SharedMemory) + 127) / 128 * 128;
static_assert(kStagesOffset <= isa::kWorkerReserveBytes);

// The time of a record; never 0.
__device__ inline uint32_t TraceClock() { return ptx::ClockCyclesLow() | 1; }

// Where a wait is, for the fault record.
struct Place {
  uint32_t pass;
  uint32_t pc;
  uint32_t opcode;
};

// Records the first fault of the launch and makes every worker's waits end.
static __device__ __noinline__ void RaiseFault(SharedMemory* shared,
                                               Place place, FaultKind kind,
                                               uint32_t what, uint64_t seen,
                                               uint64_t wanted);
// Polls until the word carries `tag`; `word` is what was seen so far. When the
// wait is lost (this one's budget is spent, or another worker has faulted) it
// returns what is there.
static __device__ __noinline__ uint32_t PollWord(SharedMemory* shared,
                                                 Place place,
                                                 const uint32_t* address,
                                                 uint32_t word, uint32_t tag,
                                                 uint32_t operand);
// One step of a wait in line: call it every so often with the state it
// returned before (0 at first). kSpinLost: the wait is lost, stop waiting.
inline constexpr uint64_t kSpinLost = ~uint64_t{0};
static __device__ __noinline__ uint64_t SpinStep(SharedMemory* shared,
                                                 Place place, uint64_t state,
                                                 uint32_t operand,
                                                 uint32_t seen, uint32_t tag);
static __device__ __noinline__ uint64_t PollRanked(SharedMemory* shared,
                                                   Place place,
                                                   const uint64_t* address,
                                                   uint64_t word, uint32_t tag,
                                                   uint32_t operand);
// Polls a stage's barrier; what WaitStage does when it is not there at once.
// False when the wait is lost.
static __device__ __noinline__ bool PollStage(SharedMemory* shared, Place place,
                                              uint32_t stage, uint32_t parity);

// Lives in registers: no out-of-line function takes its address. (Local memory
// for 320 threads would not fit the L1 cache that the stages leave; it made
// every op about 8,000 cycles longer: docs/performance.md.)
class DeviceContext {
 public:
  SharedMemory* shared;
  InstructionSlot* slot;  // in shared memory
  uint32_t num_stages;
  uint32_t stage;  // next stage to consume
  uint32_t stage_parity;
  uint32_t partials_copy;  // which copy of partials is next
  bool has_operands;       // traced kernel: this warp has read some
  uint32_t pass;
  uint32_t tag;  // of this pass
  uint32_t pc;
  // This thread has lost a wait or raised a fault. The body goes on, so that
  // every barrier is met, and the block leaves at the end of the instruction.
  bool faulty;

  __device__ uint32_t thread() const { return threadIdx.x; }
  __device__ uint32_t warp() const { return threadIdx.x / 32; }
  __device__ uint32_t lane() const { return threadIdx.x % 32; }
  // Of this pass, tokens.
  __device__ int64_t position() const { return shared->first_position + pass; }
  __device__ bool IsPolled(uint32_t operand) const {
    return slot->instruction.OperandIsPolled(operand);
  }
  __device__ bool IsF24(uint32_t operand) const {
    return slot->f24_operands >> operand & 1;
  }
  __device__ bool IsPanels(uint32_t operand) const {
    return slot->panel_operands >> operand & 1;
  }
  __device__ Place place() const {
    return {pass, pc, slot->instruction.opcode};
  }

  // Orders the compute warps: shared and global accesses before it are seen
  // after it.
  __device__ void Barrier() const { ptx::SyncNamed(1, kComputeThreads); }

  // ---- reading activations
  // The word at `address`, once it carries this pass's tag if `polled`.
  __device__ uint32_t LoadWord(const uint32_t* address, bool polled,
                               uint32_t operand) {
    const uint32_t word = ptx::LoadRelaxedGpu(address);
    if (!polled || (word & 0xffu) == tag) return word;
    return Poll(address, word, operand);
  }
  __device__ float Load(const void* base, uint64_t index, bool polled,
                        uint32_t operand) {
    return isa::FloatOfF24Bits(
        LoadWord(static_cast<const uint32_t*>(base) + index, polled, operand));
  }
  __device__ uint64_t LoadRanked(const uint64_t* address, bool polled,
                                 uint32_t operand) {
    uint64_t word = ptx::LoadRelaxedGpu(address);
    if (!polled || isa::TagOfRanked(word) == tag) return word;
    const uint32_t begin = TraceNow();
    word = PollRanked(shared, place(), address, word, tag, operand);
    faulty |= isa::TagOfRanked(word) != tag;
    TraceLane(begin, operand);
    return word;
  }
  __device__ uint32_t Poll(const uint32_t* address, uint32_t word,
                           uint32_t operand) {
    const uint32_t begin = TraceNow();
    word = PollWord(shared, place(), address, word, tag, operand);
    faulty |= (word & 0xffu) != tag;
    TraceOperands(begin, begin, operand);
    return word;
  }
  // Several words at once: one round trip to memory instead of kCount. Calls
  // load(words), which fills in what it wants and sets the others to `tag`,
  // until every word carries this pass's tag (or once, if not polled). The
  // lanes of the warp stay together.
  template <int kCount, typename LoadWords>
  __device__ void LoadTogether(uint32_t (&words)[kCount], bool polled,
                               uint32_t operand, LoadWords&& load) {
    uint64_t state = 0;
    const uint32_t begin = TraceNow();
    for (uint32_t polls = 1;; ++polls) {
      const uint32_t poll_begin = polls == 1 ? begin : TraceNow();
      load(words);
      uint32_t wrong = 0;
#pragma unroll
      for (int i = 0; i < kCount; ++i) wrong |= words[i] ^ tag;
      if (!polled || !__any_sync(0xffffffffu, (wrong & 0xffu) != 0)) {
        TraceOperands(begin, poll_begin, operand);
        return;
      }
      if (polls % 64 == 0) {
        if ((wrong & 0xffu) != 0) {
          uint32_t seen = 0;
#pragma unroll
          for (int i = 0; i < kCount; ++i) {
            if (((words[i] ^ tag) & 0xffu) != 0) seen = words[i] & 0xffu;
          }
          state = SpinStep(shared, place(), state, operand, seen, tag);
        }
        if (__any_sync(0xffffffffu, state == kSpinLost)) {
          faulty = true;
          return;
        }
      }
    }
  }

  // ---- publishing
  __device__ void Store(void* base, uint64_t index, float value) const {
    ptx::StoreRelaxedGpu(static_cast<uint32_t*>(base) + index,
                         isa::F24BitsOfFloat(value) | tag);
  }
  __device__ void StoreRanked(void* base, uint64_t index, float score,
                              uint32_t row) const {
    ptx::StoreRelaxedGpu(static_cast<uint64_t*>(base) + index,
                         isa::PackRanked(score, row, tag));
  }

  // ---- the weight stream
  // Waits until the next stage has arrived. Whole warp.
  __device__ const uint4* WaitStage() {
    uint64_t* const full = &shared->stage_full[stage];
    if constexpr (kTraced) {
      if (ptx::BarrierIsComplete(full, stage_parity)) return StageData();
    }
    const uint32_t begin = TraceNow();
    if (!ptx::BarrierTestWait(full, stage_parity)) {
      faulty |= !PollStage(shared, place(), stage, stage_parity);
    }
    TraceStage(begin);
    return StageData();
  }
  __device__ const uint4* StageData() const {
    return reinterpret_cast<const uint4*>(
        reinterpret_cast<const char*>(shared) + kStagesOffset +
        stage * isa::kStageBytes);
  }
  // Hands the stage back; the warp has read what it needs of it. Whole warp.
  __device__ void FreeStage() {
    ptx::BarrierArrive(&shared->stage_empty[stage]);
    if (++stage == num_stages) {
      stage = 0;
      stage_parity ^= 1;
    }
  }

  // ---- trace points: nothing in the kernel without them
  __device__ uint32_t TraceNow() const {
    if constexpr (!kTraced) return 0;
    return TraceClock();
  }
  // This warp has read operands from `buffer`, in lane 0's eyes: the wait began
  // at `begin`, the read that succeeded at `poll_begin`. The last warp's first
  // read makes the instruction ready; later ones count as waiting, in thread
  // 0's eyes.
  __device__ void TraceOperands(uint32_t begin, uint32_t poll_begin,
                                uint32_t buffer) {
    if constexpr (!kTraced) return;
    const uint32_t now = TraceNow();
    if (!has_operands) {
      has_operands = true;
      if (lane() == 0) {
        slot->reads[warp()] = {now, poll_begin, buffer + 1, 0};
      }
    } else if (thread() == 0) {
      slot->record.operand_wait += now - begin;
    }
  }
  // The same for a lane on its own: the last lane counts.
  __device__ void TraceLane(uint32_t begin, uint32_t buffer) {
    if constexpr (!kTraced) return;
    const uint32_t now = TraceNow();
    TraceRead& read = slot->reads[warp()];
    if (atomicMax(&read.ready, now) >= now) return;
    atomicExch(&read.poll_begin, begin);
    atomicExch(&read.last_buffer, buffer + 1);
  }
  // Warp 0 has waited for a stage since `begin`.
  __device__ void TraceStage(uint32_t begin) {
    if constexpr (!kTraced) return;
    if (thread() != 0) return;
    const uint32_t now = TraceNow();
    slot->record.stage_wait += now - begin;
    slot->record.stage_ready = now;
  }

  // ---- faults
  __device__ void Raise(FaultKind kind, uint32_t what, uint64_t seen,
                        uint64_t wanted) {
    faulty = true;
    RaiseFault(shared, place(), kind, what, seen, wanted);
  }
};

// A spin that ends: Expired() is true once the budget is spent or another
// worker has faulted.
class Spin {
 public:
  __device__ explicit Spin(const SharedMemory* shared) : shared_(shared) {}

  __device__ bool Expired() {
    if (++polls_ % 256 != 0) return false;
    if (ptx::LoadRelaxedGpu(shared_->abort) != 0) return true;
    const uint64_t now = ptx::GlobalTimerNs();
    if (begin_ == 0) begin_ = now;
    timed_out_ = now - begin_ > shared_->watchdog_ns;
    return timed_out_;
  }
  // Whether it was this spin's budget that ran out.
  __device__ bool timed_out() const { return timed_out_; }

 private:
  const SharedMemory* shared_;
  uint32_t polls_ = 0;
  uint64_t begin_ = 0;
  bool timed_out_ = false;
};

// The body of every opcode, one per file ops/<op>.cuh. Run by all compute
// threads; `op` and `at` live in shared memory. A body ends with its writes
// issued; the interpreter's barrier and signal follow.
#define MKVM_OP(code, Name, name, synopsis)                   \
  __device__ void Device##Name(const isa::Name##Operands& op, \
                               const Name##Addresses& at,     \
                               DeviceContext& context);
#include "isa/opcodes.def"

}  // namespace mkvm::ops

#endif  // MKVM_OPS_DEVICE_CONTEXT_CUH_
