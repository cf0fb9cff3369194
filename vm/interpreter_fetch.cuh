// The fetch warp: fills the slots ahead of the compute warps and the loader
// with instructions, which the host has decoded (vm/decode.h), and with what
// they are in their pass.
#ifndef MKVM_VM_INTERPRETER_FETCH_CUH_
#define MKVM_VM_INTERPRETER_FETCH_CUH_

#include <cstdint>

#include "ops/attention_part.h"
#include "ops/kv_cache.cuh"
#include "vm/interpreter.cuh"
#include "vm/interpreter_trace.cuh"

namespace mkvm::vm {

// Lane l has 16 bytes of an instruction, from word 4 l on.
inline constexpr uint32_t kBytesPerLane = sizeof(uint4);
inline constexpr uint32_t kLanes = sizeof(ops::DecodedInstruction) / 16;
static_assert(kLanes == 32);
// The head's first four words, and the other four.
inline constexpr uint32_t kHeadLane =
    offsetof(ops::DecodedInstruction, head) / kBytesPerLane;
static_assert(offsetof(ops::DecodedInstruction, head) % kBytesPerLane == 0);
static_assert(offsetof(ops::SlotHead, code) == 0);
static_assert(offsetof(ops::SlotHead, untagged) == 4);
static_assert(offsetof(ops::SlotHead, tag) == 8);
static_assert(offsetof(ops::SlotHead, pass) == 12);
static_assert(offsetof(ops::SlotHead, idle_below) == 28);

// What attention does in this pass. Divisions are slow, and here is time.
__device__ inline void FillAttention(uint32_t position,
                                     ops::InstructionSlot& slot) {
  const auto& op = *reinterpret_cast<const isa::AttentionOperands*>(
      slot.instruction.operands);
  const uint32_t capacity = slot.dims[ops::AttentionIndex::k_cache].y;
  const uint32_t rope_rows = slot.dims[ops::AttentionIndex::rope].x;
  const bool room = ops::HasRoom(position, capacity, op.splits, rope_rows);
  const ops::SplitPlace place = ops::PlaceOf(position, op.block, op.splits);
  ops::AttentionPlace attention;
  attention.positions =
      ops::PositionsIn(position, op.split, op.block, op.splits);
  attention.append = place.split == op.split ? 1 : 0;
  attention.slot = place.slot;
  attention.alone = position < op.alone ? 1 : 0;
  // The body of an instruction without room takes no stages.
  attention.streamed = room ? attention.positions - attention.append : 0;
  slot.attention = attention;
  slot.gemv = ops::head128::MakeRowsShape(attention.streamed);
}

// Which parts a merge takes in this pass.
__device__ inline void FillMerge(uint32_t position,
                                 ops::InstructionSlot& slot) {
  const auto& op = *reinterpret_cast<const isa::AttentionMergeOperands*>(
      slot.instruction.operands);
  slot.merge.parts = isa::PartsAt(position, op.block, op.splits);
}

// The counter value that wait `i` wants in this pass; 0: none.
__device__ inline uint32_t WantedBy(const isa::Instruction& instruction,
                                    uint32_t i, uint32_t pass,
                                    const uint32_t* producers) {
  const isa::Wait wait = instruction.waits[i];
  const uint32_t lag = instruction.WaitIsLagged(static_cast<int>(i)) ? 1 : 0;
  if (pass < lag) return 0;
  return (pass - lag) * producers[wait.counter] + wait.threshold;
}

// An instruction's code in this pass.
__device__ inline uint32_t CodeInPass(uint32_t code, uint32_t untagged,
                                      bool idle, bool last) {
  if (last) code |= ops::kCodeLast;
  if (idle) code |= ops::kCodeIdle;
  if (!idle && !last) return code;
  const bool direct =
      idle && !last && untagged == 0 && (code & ops::kCodeReleases) == 0;
  return ops::WithDirect(code, direct ? ops::Direct::kIdle : ops::Direct::kNo);
}

// What the whole warp knows of an instruction of which lane l has the words.
struct FetchedHead {
  uint32_t code, untagged;
  bool idle;  // in this pass
};
__device__ inline FetchedHead HeadOf(const LaunchArguments& arguments,
                                     const uint4& words, const Cursor& cursor) {
  const auto position =
      static_cast<uint32_t>(arguments.first_position + cursor.pass);
  return {__shfl_sync(0xffffffffu, words.x, kHeadLane),
          __shfl_sync(0xffffffffu, words.y, kHeadLane),
          position < __shfl_sync(0xffffffffu, words.w, kHeadLane + 1)};
}

// Whether nobody need see it: it has nothing to do, and waits for no counter;
// its signal orders nothing, so that it can be given at once.
__device__ inline bool Skips(const LaunchArguments& arguments,
                             const uint4& words, const FetchedHead& head) {
  if (!head.idle || head.untagged != 0 ||
      (head.code & ops::kCodeReleases) != 0) {
    return false;
  }
  static_assert(offsetof(isa::Instruction, signal) == 8);
  if (threadIdx.x % 32 == 0 && (head.code & ops::kCodeTicks) != 0) {
    ptx::AddRelaxedGpu(arguments.counters + uint64_t{words.z} * kCounterStride,
                       1);
  }
  return true;
}

// Puts an instruction into the slot, with what it is in this pass. Lane l has
// its words.
__device__ inline void FillSlot(const LaunchArguments& arguments, uint4 words,
                                const FetchedHead& head, const Cursor& cursor,
                                ops::InstructionSlot& slot) {
  const uint32_t lane = threadIdx.x % 32;
  const auto position =
      static_cast<uint32_t>(arguments.first_position + cursor.pass);
  const uint32_t opcode = head.code & ops::kCodeMask & ~ops::kCodeAny;
  const uint32_t untagged = head.untagged;
  if (lane == kHeadLane) {
    const bool last = kAblated && arguments.ablation.part != nullptr &&
                      cursor.pc + 1 == cursor.length;
    words.x = CodeInPass(words.x, words.y, head.idle, last);
    words.z = isa::TagOfPass(cursor.pass);
    words.w = cursor.pass;
  }
  reinterpret_cast<uint4*>(&slot)[lane] = words;
  const bool attention =
      opcode == static_cast<uint32_t>(isa::Opcode::kAttention);
  const bool merge =
      opcode == static_cast<uint32_t>(isa::Opcode::kAttentionMerge);
  if (!attention && !merge && untagged == 0) return;
  // The lanes have written what others read now.
  __syncwarp();
  if (attention && lane == 0) FillAttention(position, slot);
  if (merge && lane == 0) FillMerge(position, slot);
  if (lane < isa::kMaxWaits && (untagged >> lane & 1) != 0) {
    slot.wanted[lane] =
        WantedBy(slot.instruction, lane, cursor.pass, arguments.producers);
  }
}

// Waits until what was in a slot before is done. False when the compute warps
// have left. This is what the fetcher does most of the time, so it keeps the
// tensor cores awake meanwhile: when they have had nothing to do for a
// microsecond or two, their next product slows down the clock of all SMs around
// (docs/adr/0014-tensor-cores-are-kept-awake.md). `tracer`: traced kernel.
__device__ inline bool WaitForFreeSlot(uint64_t* empty, uint32_t parity,
                                       ops::SharedMemory* shared,
                                       FetchTracer& tracer) {
  constexpr uint32_t kSleepNs = 50;  // between two products
  while (!__all_sync(0xffffffffu, ptx::BarrierIsComplete(empty, parity))) {
    // (No product is computed whose result is not used.)
    const bool leave = ShouldLeave(shared) | (ptx::ZeroOfTensorCores() != 0);
    if (__any_sync(0xffffffffu, leave)) return false;
    if constexpr (ops::kTraced) {
      tracer.Tick();
    } else {
      ptx::SleepNs(kSleepNs);
    }
  }
  return true;
}

__device__ inline void FetchLoop(const LaunchArguments& arguments,
                                 const ops::DeviceContext& context,
                                 Cursor cursor) {
  ops::SharedMemory* shared = context.shared;
  const uint4* code =
      reinterpret_cast<const uint4*>(arguments.code + cursor.begin) +
      context.lane();
  // One instruction ahead of the slots, since its words take a round trip.
  uint4 words = ptx::LoadConstant4(code + cursor.pc * kLanes);
  FetchTracer tracer(arguments.trace, shared);
  while (cursor.pass < EndPass(arguments, cursor)) {
    const uint32_t next_pc = cursor.pc + 1 == cursor.length ? 0 : cursor.pc + 1;
    const uint4 next_words = ptx::LoadConstant4(code + next_pc * kLanes);
    const FetchedHead head = HeadOf(arguments, words, cursor);
    if (kSkipsIdle && Skips(arguments, words, head)) {
      words = next_words;
      cursor.Skip();
      continue;
    }
    // The slot's previous instruction is done (first round: at once).
    uint64_t* const empty = &shared->slot_empty[cursor.slot];
    if constexpr (ops::kTraced) tracer.Tick();
    if constexpr (kAblated) {
      if (!WaitForInstructionBefore(cursor, arguments.ablation.fetch_depth,
                                    shared)) {
        break;
      }
    }
    if (!WaitForFreeSlot(empty, cursor.slot_parity ^ 1, shared, tracer)) break;
    FillSlot(arguments, words, head, cursor, shared->slots[cursor.slot]);
    if constexpr (ops::kTraced) {
      tracer.Close(cursor.slot);
      tracer.Open(cursor.slot, cursor.pass, cursor.pc);
    }
    // Each lane announces the words that it has put there.
    ptx::BarrierArrive(&shared->slot_full[cursor.slot]);
    words = next_words;
    cursor.Next();
  }
  if constexpr (ops::kTraced) {
    while (!ShouldLeave(shared) ||
           !ptx::BarrierTestWait(&shared->others_left, 0)) {
      tracer.Tick();
    }
    tracer.Finish(cursor.slot);
  }
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_FETCH_CUH_
