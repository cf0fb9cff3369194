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
#include "ops/activation_layout.h"
#include "ops/device_buffer.h"
#include "ops/fault.h"
#include "ops/ptx/barrier.cuh"
#include "ops/ptx/memory.cuh"
#include "ops/ptx/mma.cuh"
#include "ops/shared_memory.cuh"
#include "ops/trace_record.h"

namespace mkvm::ops {

// The time of a record; never 0.
__device__ inline uint32_t TraceClock() { return ptx::ClockCyclesLow() | 1; }

// Where a wait is, for the fault record.
struct Place {
  uint32_t pass;
  uint32_t pc;
  uint32_t opcode;
};

// Records the first fault of the launch and makes every worker's waits end.
__device__ __forceinline__ void RaiseFaultInLine(SharedMemory* shared,
                                                 Place place, FaultKind kind,
                                                 uint32_t what, uint64_t seen,
                                                 uint64_t wanted) {
  if (ptx::ExchangeRelaxedGpu(shared->abort, 1) != 0) return;
  Fault* fault = shared->fault;
  fault->worker = blockIdx.x;
  fault->pass = place.pass;
  fault->pc = place.pc;
  fault->opcode = place.opcode;
  fault->what = what;
  fault->seen = seen;
  fault->wanted = wanted;
  // The host reads `kind` first.
  ptx::FenceSystem();
  *reinterpret_cast<volatile FaultKind*>(&fault->kind) = kind;
}
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
// Polls a chunk's barrier; what WaitChunk does when it is not there at once.
// False when the wait is lost.
static __device__ __noinline__ bool PollChunk(SharedMemory* shared, Place place,
                                              uint32_t at, uint32_t parity);

// Lives in registers: no out-of-line function takes its address. (Local memory
// for all threads would not fit the L1 cache that the stages leave; it made
// every op about 8,000 cycles longer: docs/performance.md.)
class DeviceContext {
 public:
  [[no_unique_address]] SharedPointer shared;
  uint32_t visit;         // instructions of this worker's queue begun before
  uint32_t thread_index;  // of the block
  uint32_t ring_bytes;    // of all stages
  uint32_t ring_at;       // where in them the next one to consume begins
  uint32_t chunk;         // chunks of stages consumed
  uint32_t batch;         // groups of gemvs whose sums were handed over
  bool has_operands;      // traced kernel: this warp has read some
  uint32_t tag;           // of this pass
  uint32_t state;         // kFaulty and so on, in one register

  // This thread has lost a wait or raised a fault. The body goes on, so that
  // every barrier is met, and the block leaves at the end of the instruction.
  static constexpr uint32_t kFaulty = 1;
  // Some thread is, as of the last commit.
  static constexpr uint32_t kBlockFaulty = 2;
  // The instruction needs no commit any more: it has had it, or does without.
  static constexpr uint32_t kCommitted = 4;
  // Which copy of a block's sums (BlockSum and the like) is next.
  static constexpr uint32_t kCopy = 8;

  __device__ void Fail(bool fails = true) { state |= fails ? kFaulty : 0; }
  __device__ bool faulty() const { return (state & kFaulty) != 0; }
  __device__ bool block_faulty() const { return (state & kBlockFaulty) != 0; }
  __device__ bool committed() const { return (state & kCommitted) != 0; }
  __device__ void BeginUncommitted() { state &= ~kCommitted; }

  // Of the instruction. Not kept as a pointer: that would be a generic one.
  __device__ InstructionSlot* slot() const {
    return &shared->slots[visit % kInstructionSlots];
  }
  // Traced kernel: what is noted of it.
  __device__ InstructionTrace* trace() const {
    return &shared->traces[visit % kInstructionSlots];
  }
  __device__ uint32_t thread() const { return thread_index; }
  __device__ uint32_t warp() const { return thread_index / 32; }
  __device__ uint32_t lane() const { return thread_index % 32; }
  __device__ uint32_t pass() const { return slot()->head.pass; }
  // Of this pass, tokens.
  __device__ int64_t position() const {
    return shared->first_position + pass();
  }
  __device__ bool IsPolled(uint32_t operand) const {
    return slot()->instruction.OperandIsPolled(operand);
  }
  __device__ bool IsF24(uint32_t operand) const {
    return slot()->head.f24_operands >> operand & 1;
  }
  __device__ bool IsPanels(uint32_t operand) const {
    return slot()->head.panel_operands >> operand & 1;
  }
  __device__ Place place() const {
    return {slot()->head.pass, slot()->head.pc, slot()->instruction.opcode};
  }

  // The copy of a block's sums whose turn it is.
  __device__ uint32_t NextPartials() {
    const uint32_t copy = state / kCopy % 2;
    state ^= kCopy;
    return copy;
  }

  // The last barrier of an instruction: orders like Barrier, and all threads
  // agree on whether one is faulty.
  __device__ void Commit() {
    const bool any =
        ptx::SyncNamedOr(1, kComputeThreads, (state & kFaulty) != 0);
    state |= kCommitted | (any ? kBlockFaulty : 0);
  }

  // Ends an instruction whose rows the finishing warps write: without a
  // barrier.
  __device__ void EndOpen() { state |= kCommitted; }

  // Hands this thread's sums of a batch to the finishing warps.
  __device__ void HandOver() {
    ptx::BarrierArrive(&shared->sums_ready[batch % 2]);
    ++batch;
  }
  // Which copy of partial sums the next batch takes.
  __device__ uint32_t copy() const { return batch % 2; }
  // Waits until the rows of the last batch but one, whose copy the next takes,
  // are written. Ends without a budget, like the next: the finishing warps' own
  // waits have one.
  __device__ void WaitForCopy() const {
    while (!ptx::BarrierTestWait(&shared->rows_done[batch % 2],
                                 batch / 2 % 2 ^ 1)) {
    }
  }
  // The same for the last batch, if there was one.
  __device__ void WaitForRows() const {
    while (!ptx::BarrierTestWait(&shared->rows_done[(batch - 1) % 2],
                                 (batch - 1) / 2 % 2)) {
    }
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
  // Element `index` of a vector.
  __device__ float Load(const void* base, uint64_t index, bool polled,
                        uint32_t operand) {
    return isa::FloatOfF24Bits(
        LoadWord(static_cast<const uint32_t*>(base) + ActivationWord(index),
                 polled, operand));
  }
  __device__ uint64_t LoadRanked(const uint64_t* address, bool polled,
                                 uint32_t operand) {
    uint64_t word = ptx::LoadRelaxedGpu(address);
    if (!polled || isa::TagOfRanked(word) == tag) return word;
    const uint32_t begin = TraceNow();
    word = PollRanked(shared, place(), address, word, tag, operand);
    Fail(isa::TagOfRanked(word) != tag);
    TraceLane(begin, operand);
    return word;
  }
  __device__ uint32_t Poll(const uint32_t* address, uint32_t word,
                           uint32_t operand) {
    const uint32_t begin = TraceNow();
    word = PollWord(shared, place(), address, word, tag, operand);
    Fail((word & 0xffu) != tag);
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
          Fail();
          return;
        }
      }
    }
  }

  // ---- publishing
  // What holds `value` in this pass.
  __device__ uint32_t WordOf(float value) const {
    return isa::F24BitsOfFloat(value) | tag;
  }
  // Element `index` of a vector.
  __device__ void Store(void* base, uint64_t index, float value) const {
    StoreWord(base, ActivationWord(index), value);
  }
  // Word `word` of a buffer.
  __device__ void StoreWord(void* base, uint64_t word, float value) const {
    ptx::StoreRelaxedGpu(static_cast<uint32_t*>(base) + word, WordOf(value));
  }
  // Four at once; each is atomic by itself. REQUIRES: word % 4 == 0.
  __device__ void StoreWords4(void* base, uint64_t word, float a, float b,
                              float c, float d) const {
    ptx::StoreRelaxedGpu4(
        static_cast<uint32_t*>(base) + word,
        make_uint4(WordOf(a), WordOf(b), WordOf(c), WordOf(d)));
  }
  __device__ void StoreRanked(void* base, uint64_t index, float score,
                              uint32_t row) const {
    ptx::StoreRelaxedGpu(static_cast<uint64_t*>(base) + index,
                         isa::PackRanked(score, row, tag));
  }

  // ---- the weight stream
  // Waits until the next chunk of stages has arrived. Each warp for itself.
  __device__ void WaitChunk() {
    const uint32_t begin = TraceNow();
    const uint32_t at = chunk % kMaxStages;
    const uint32_t parity = chunk / kMaxStages % 2;
    if (!ptx::BarrierTestWait(&shared->chunk_full[at], parity)) {
      Fail(!PollChunk(shared, place(), at, parity));
      TraceStage(begin);
    }
  }
  // Stage `ahead` of the chunk waited for.
  __device__ const uint4* StageData(uint32_t ahead) const {
    uint32_t at = ring_at + ahead * isa::kStageBytes;
    at -= at >= ring_bytes ? ring_bytes : 0;
    return reinterpret_cast<const uint4*>(
        reinterpret_cast<const char*>(static_cast<SharedMemory*>(shared)) +
        kStagesOffset + at);
  }
  // Hands a chunk of `count` stages back, as far as this thread is concerned:
  // it has read what it needs of it. `read` is made of what its loads have
  // returned, so that they have by then. (No tag has a bit beyond the eighth,
  // but the compiler doesn't know.)
  __device__ void FreeChunk(uint32_t count, uint32_t read) {
    ptx::BarrierArriveAfter(&shared->chunk_empty[chunk % kMaxStages],
                            read & (tag >> 8));
    ++chunk;
    ring_at += count * isa::kStageBytes;
    ring_at -= ring_at >= ring_bytes ? ring_bytes : 0;
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
        trace()->reads[warp()] = {now, poll_begin, buffer + 1, 0};
      }
    } else if (thread() == 0) {
      trace()->record.operand_wait += now - begin;
    }
  }
  // The same for a lane on its own: the last lane counts.
  __device__ void TraceLane(uint32_t begin, uint32_t buffer) {
    if constexpr (!kTraced) return;
    const uint32_t now = TraceNow();
    TraceRead& read = trace()->reads[warp()];
    if (atomicMax(&read.ready, now) >= now) return;
    atomicExch(&read.poll_begin, begin);
    atomicExch(&read.last_buffer, buffer + 1);
  }
  // This warp has waited for a stage since `begin`.
  __device__ void TraceStage(uint32_t begin) {
    if constexpr (!kTraced) return;
    if (lane() != 0) return;
    const uint32_t now = TraceNow();
    TraceStageWait& stages = trace()->stage_waits[warp()];
    stages.wait += now - begin;
    stages.ready = now;
  }

  // ---- faults
  __device__ void Raise(FaultKind kind, uint32_t what, uint64_t seen,
                        uint64_t wanted) {
    Fail();
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
