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
// chunk of them at a time, as far as they are free. The stream is as fast as
// this is, a copy every half microsecond, so it is kept short.
class StageRing {
 public:
  __device__ StageRing(ops::SharedMemory* shared, uint32_t num_stages,
                       uint32_t interval_cycles)
      : shared_(shared),
        end_(ops::kStagesOffset + num_stages * isa::kStageBytes),
        interval_cycles_(interval_cycles),
        free_(num_stages),
        policy_(ptx::PolicyEvictFirst()) {}

  // Traced kernel: where to note when copies are made.
  __device__ void SetRecord(ops::TraceRecord* record) { record_ = record; }

  // The chunk of the copies up to EndChunk, `bytes` altogether. False when the
  // compute warps have left, as Copy.
  __device__ bool BeginChunk(uint32_t bytes) {
    // With a free stage its barrier is free, too: no stage, no chunk.
    if (free_ == 0 && !WaitForOldest()) return false;
    ptx::ExpectCopies(full(), bytes);
    announced_bytes_ = bytes;
    return true;
  }

  // Copies a stage, once one is free.
  __device__ bool Copy(const char* source, uint32_t bytes) {
    if (free_ == 0 && !WaitForOldest()) return false;
    WaitForTurn(bytes);
    ptx::CopyToShared(reinterpret_cast<char*>(shared_) + stage_, source, bytes,
                      full(), policy_);
    stage_ += isa::kStageBytes;
    if (stage_ == end_) stage_ = ops::kStagesOffset;
    --free_;
    ++of_chunk_;
    announced_bytes_ -= bytes;
    if constexpr (ops::kTraced) {
      record_->load_end = ops::TraceClock();
      if (record_->load_begin == 0) record_->load_begin = record_->load_end;
    }
    return true;
  }

  __device__ void EndChunk() {
    ptx::EndCopies(full());
    const uint32_t shift = SizeShift(chunk_);
    sizes_ = (sizes_ & ~(uint64_t{kSizeMask} << shift)) |
             uint64_t{of_chunk_ - 1} << shift;
    ++chunk_;
    of_chunk_ = 0;
  }

  // Waits until all copies have landed, which needs nobody's help.
  __device__ void Drain() {
    // Of a chunk that was broken off.
    if (announced_bytes_ != 0) {
      ptx::ForgoCopies(full(), announced_bytes_);
      EndChunk();
    }
    for (; oldest_ != chunk_; ++oldest_) {
      while (!ptx::BarrierTestWait(
          &shared_->chunk_full[oldest_ % ops::kMaxStages], Parity(oldest_))) {
      }
    }
  }

 private:
  // A chunk's size less one, of one of kMaxStages chunks.
  static constexpr uint32_t kSizeBits = 4;
  static constexpr uint32_t kSizeMask = (1u << kSizeBits) - 1;
  static_assert(ops::kMaxStages <= 1u << kSizeBits);
  static_assert(ops::kMaxStages * kSizeBits <= 64);

  __device__ static uint32_t Parity(uint32_t chunk) {
    return chunk / ops::kMaxStages % 2;
  }
  __device__ static uint32_t SizeShift(uint32_t chunk) {
    return chunk % ops::kMaxStages * kSizeBits;
  }
  __device__ uint64_t* full() const {
    return &shared_->chunk_full[chunk_ % ops::kMaxStages];
  }

  // The oldest chunk's stages have been read by every compute warp.
  __device__ bool WaitForOldest() {
    bool read = WaitPhase(&shared_->chunk_empty[oldest_ % ops::kMaxStages],
                          Parity(oldest_), shared_);
    if constexpr (ptx::CopyLanes(kArchitecture) > 1) {
      read = __all_sync(0xffffffffu, read);
    }
    if (!read) return false;
    free_ +=
        (static_cast<uint32_t>(sizes_ >> SizeShift(oldest_)) & kSizeMask) + 1;
    ++oldest_;
    return true;
  }

  // A burst of copies makes all other accesses wait, and polls are what
  // everybody waits for. So the next copy is made when the last one has had the
  // time for its bytes.
  __device__ void WaitForTurn(uint32_t bytes) {
    uint32_t now;
    do {
      now = ptx::ClockCyclesLow();
    } while (now - last_copy_ < last_cycles_);
    last_copy_ = now;
    last_cycles_ = interval_cycles_ * bytes / isa::kStageBytes;
  }

  ops::SharedMemory* const shared_;
  const uint32_t end_;  // of the stages, from shared_
  const uint32_t interval_cycles_;
  uint32_t last_copy_ = 0;               // when, on the SM's clock
  uint32_t last_cycles_ = 0;             // that it has
  uint32_t stage_ = ops::kStagesOffset;  // to be filled next, from shared_
  uint32_t free_;                        // stages
  uint32_t chunk_ = 0;                   // being filled
  uint32_t of_chunk_ = 0;                // stages of it that are
  uint32_t announced_bytes_ = 0;         // of it that are not
  uint32_t oldest_ = 0;                  // chunk that may still be read
  uint64_t sizes_ = 0;                   // of chunks, see SizeShift
  const uint64_t policy_;
  ops::TraceRecord* record_ = nullptr;
};

// What the loader knows about the cache rows that this launch has appended: in
// an instruction's rows the newest one is what the same instruction, or an
// append that it waited for, wrote in the pass before: as many visits ago as
// the queue has instructions, or less by those that were skipped meanwhile.
class AppendedRows {
 public:
  // Before rows are copied for the instruction at `cursor`, the `visit`-th.
  // False when the compute warps have left.
  __device__ bool Wait(const Cursor& cursor, uint32_t visit,
                       ops::SharedMemory* shared) {
    if (visit < cursor.always || visit - cursor.always < seen_) return true;
    // That the slot was free says that the instruction before in it is done.
    uint32_t back = ops::kInstructionSlots;
    if (cursor.always < back) {
      back = cursor.always;
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
                                Cursor cursor) {
  if (context.lane() >= ptx::CopyLanes(kArchitecture)) return;
  ops::SharedMemory* shared =
      ptx::InRegister<ops::SharedMemory>(context.shared);
  StageRing ring(shared, arguments.num_stages, arguments.copy_interval_cycles);
  AppendedRows appended;
  bool running = true;
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
    ops::InstructionSlot& slot = shared->slots[cursor.slot];
    if constexpr (kSkipsIdle) cursor.pc = slot.head.pc;
    const bool gemv =
        slot.instruction.opcode == static_cast<uint16_t>(isa::Opcode::kGemv);
    // The body for any heads reads its rows by itself.
    const bool rows = (slot.head.code & (ops::kCodeMask | ops::kCodeIdle)) ==
                          static_cast<uint32_t>(isa::Opcode::kAttention) &&
                      slot.attention.streamed != 0;
    if (rows && !appended.Wait(cursor, visit, shared)) break;
    if (gemv || rows) {
      // Copied, so that it is read at once.
      const ops::GemvShape shape = slot.gemv;
      if constexpr (ops::kTraced) {
        ring.SetRecord(&shared->traces[cursor.slot].record);
      }
      running = ops::FillStages(
          gemv ? ops::SourceOf(*reinterpret_cast<const isa::GemvOperands*>(
                                   slot.instruction.operands),
                               *reinterpret_cast<const ops::GemvAddresses*>(
                                   slot.addresses),
                               shape)
               : RowsOf(slot),
          shape, ring);
    }
    // These lanes have read what they need of the slot.
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
