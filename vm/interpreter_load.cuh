// The load warp: streams the weights of coming instructions into stages, as far
// ahead as slots and stages allow.
#ifndef MKVM_VM_INTERPRETER_LOAD_CUH_
#define MKVM_VM_INTERPRETER_LOAD_CUH_

#include <cstdint>

#include "ops/attention_tile.cuh"
#include "ops/gemv_stages.cuh"
#include "ops/ptx/copy.cuh"
#include "vm/interpreter.cuh"

namespace mkvm::vm {

// The loader's view of the stages: those from `stage` on are filled next, a
// chunk of them at a time, as far as they are free.
class StageRing {
 public:
  __device__ StageRing(ops::SharedMemory* shared, char* stages,
                       uint32_t num_stages, uint32_t interval_cycles)
      : shared_(shared),
        stages_(stages),
        num_stages_(num_stages),
        interval_cycles_(interval_cycles),
        free_(num_stages),
        policy_(ptx::PolicyEvictFirst()) {}

  // From here on, whether to leave the interval between copies. A burst of them
  // makes all other accesses wait, and polls are what everybody waits for;
  // except where the weights themselves are waited for.
  __device__ void SetPaced(bool paced) { paced_ = paced; }

  // Copies a stage, the `last` or not of its chunk, once one is free. False
  // when the compute warps have left. Whole warp.
  __device__ bool Issue(const char* source, uint32_t bytes, bool last) {
    if (free_ == 0 && !WaitForOldest()) return false;
    if (paced_) WaitForInterval();
    last_copy_ = ptx::ClockCyclesLow();
    ptx::CopyToShared(stages_ + stage_ * isa::kStageBytes, source, bytes,
                      &shared_->chunk_full[chunk_ % ops::kMaxStages], policy_);
    if (++stage_ == num_stages_) stage_ = 0;
    --free_;
    ++of_chunk_;
    if (last) EndChunk();
    return true;
  }

  // Waits until all copies have landed, which needs nobody's help.
  __device__ void Drain() {
    if (of_chunk_ != 0) EndChunk();
    for (; oldest_ != chunk_; ++oldest_) {
      while (!ptx::BarrierTestWait(
          &shared_->chunk_full[oldest_ % ops::kMaxStages], Parity(oldest_))) {
      }
    }
  }

 private:
  __device__ static uint32_t Parity(uint32_t chunk) {
    return chunk / ops::kMaxStages % 2;
  }

  // The oldest chunk's stages have been read by every compute warp.
  __device__ bool WaitForOldest() {
    const bool read =
        WaitPhase(&shared_->chunk_empty[oldest_ % ops::kMaxStages],
                  Parity(oldest_), shared_);
    // All lanes agree; and what each has acquired comes before lane 0's copy.
    __syncwarp();
    if (!__all_sync(0xffffffffu, read)) return false;
    free_ += __shfl_sync(0xffffffffu, sizes_, oldest_ % ops::kMaxStages);
    ++oldest_;
    return true;
  }

  __device__ void WaitForInterval() const {
    while (ptx::ClockCyclesLow() - last_copy_ < interval_cycles_) {
    }
  }

  __device__ void EndChunk() {
    ptx::EndCopies(&shared_->chunk_full[chunk_ % ops::kMaxStages]);
    if (threadIdx.x % 32 == chunk_ % ops::kMaxStages) sizes_ = of_chunk_;
    ++chunk_;
    of_chunk_ = 0;
  }

  ops::SharedMemory* shared_;
  char* stages_;
  const uint32_t num_stages_;
  const uint32_t interval_cycles_;
  uint32_t last_copy_ = 0;  // when, on the SM's clock
  bool paced_ = false;
  uint32_t stage_ = 0;   // to be filled next
  uint32_t free_;        // stages
  uint32_t chunk_ = 0;   // being filled
  uint32_t oldest_ = 0;  // that may still be read
  uint32_t sizes_ = 0;   // stages of chunk i, in lane i % kMaxStages
  uint32_t of_chunk_ = 0;
  const uint64_t policy_;
};
static_assert(ops::kMaxStages <= 32);

// What the loader knows about the cache rows that this launch has appended: in
// an instruction's rows the newest one is what the same instruction, or an
// append that it waited for, wrote in the pass before.
class AppendedRows {
 public:
  // Before rows are copied for the instruction at `cursor`, the `visit`-th.
  // False when the compute warps have left.
  __device__ bool Wait(const Cursor& cursor, uint32_t visit,
                       ops::SharedMemory* shared) {
    if (visit < cursor.length || visit - cursor.length < seen_) return true;
    // That the slot was free says that the instruction before in it is done.
    uint32_t back = ops::kInstructionSlots;
    if (cursor.length < back) {
      back = cursor.length;
      if (!WaitForInstructionBefore(cursor, back, shared)) return false;
    }
    // They were written by the generic proxy, and are read by the asynchronous
    // one. A fence may wait for all copies under way, so one does for as many
    // instructions as there are.
    ptx::FenceProxyAsync();
    seen_ = visit - back + 1;
    return true;
  }

 private:
  uint32_t seen_ = 0;  // what visits below this one have written is seen
};

// Where the cache rows of an attention instruction are.
__device__ inline ops::StageSource RowsOf(const ops::InstructionSlot& slot) {
  const auto& op = *reinterpret_cast<const isa::AttentionOperands*>(
      slot.instruction.operands);
  const auto& at =
      *reinterpret_cast<const ops::AttentionAddresses*>(slot.addresses);
  const uint64_t begin = uint64_t{op.kv_head * op.splits + op.split} *
                         slot.dims[ops::AttentionIndex::k_cache].y *
                         ops::head128::kRowBytes;
  return {static_cast<const char*>(at.k_cache) + begin,
          static_cast<const char*>(at.v_cache) + begin,
          slot.attention.streamed * ops::head128::kRowBytes};
}

__device__ inline void LoadLoop(const LaunchArguments& arguments,
                                const ops::DeviceContext& context,
                                Cursor cursor, char* stages) {
  ops::SharedMemory* shared = context.shared;
  StageRing ring(shared, stages, arguments.num_stages,
                 arguments.copy_interval_cycles);
  AppendedRows appended;
  bool running = true;
  auto issue = [&](const char* source, uint32_t bytes, bool last) {
    running = ring.Issue(source, bytes, last);
    if constexpr (ops::kTraced) {
      ops::TraceRecord& record = shared->slots[cursor.slot].record;
      if (running && context.lane() == 0) {
        record.load_end = ops::TraceClock();
        if (record.load_begin == 0) record.load_begin = record.load_end;
      }
    }
    return running;
  };
  for (uint32_t visit = 0; running && cursor.pass < EndPass(arguments, cursor);
       ++visit) {
    if (!WaitPhase(&shared->slot_full[cursor.slot], cursor.slot_parity,
                   shared)) {
      break;
    }
    if constexpr (kAblated) {
      if (arguments.ablation.no_prefetch &&
          !WaitForInstructionBefore(cursor, 1, shared)) {
        break;
      }
    }
    const ops::InstructionSlot& slot = shared->slots[cursor.slot];
    const bool gemv =
        slot.instruction.opcode == static_cast<uint16_t>(isa::Opcode::kGemv);
    // The body for any heads reads its rows by itself.
    const bool rows = (slot.head.code & (ops::kCodeMask | ops::kCodeIdle)) ==
                          static_cast<uint32_t>(isa::Opcode::kAttention) &&
                      slot.attention.streamed != 0;
    if (rows && !appended.Wait(cursor, visit, shared)) break;
    if (gemv || rows) {
      const ops::GemvShape& shape = slot.gemv;
      // One of several chunks has nothing to wait for but what is loaded.
      ring.SetPaced(shape.panels <= shape.group &&
                    (gemv || shape.slabs <= shape.chunk));
      ops::ForEachStage(
          gemv ? ops::SourceOf(*reinterpret_cast<const isa::GemvOperands*>(
                                   slot.instruction.operands),
                               *reinterpret_cast<const ops::GemvAddresses*>(
                                   slot.addresses),
                               shape)
               : RowsOf(slot),
          shape, issue);
    }
    // Each lane has read what it needs of the slot.
    ptx::BarrierArrive(&shared->slot_empty[cursor.slot]);
    cursor.Next();
  }
  // Copies under way write to this block's memory: they land before it leaves.
  ring.Drain();
  // What it has recorded is there for the fetcher.
  if constexpr (ops::kTraced) ptx::BarrierArrive(&shared->others_left);
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_LOAD_CUH_
