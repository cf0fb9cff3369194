// The fetch warp: fills the slots ahead of the compute warps and the loader
// with instructions and all that belongs to them.
#ifndef MKVM_VM_INTERPRETER_FETCH_CUH_
#define MKVM_VM_INTERPRETER_FETCH_CUH_

#include <cstdint>

#include "ops/attention_head128.cuh"
#include "ops/gemv_stages.cuh"
#include "vm/interpreter.cuh"
#include "vm/interpreter_trace.cuh"

namespace mkvm::vm {

// Bit i: operand i of the opcode is a buffer.
__device__ inline uint32_t BufferOperands(uint32_t opcode) {
  switch (static_cast<isa::Opcode>(opcode)) {
#define MKVM_OP(code, Name, name, synopsis) \
  case isa::Opcode::k##Name: {              \
    uint32_t mask = 0;                      \
    [[maybe_unused]] uint32_t bit = 1;
#define MKVM_READ(f, d, s, b, c) \
  mask |= bit;                   \
  bit <<= 1;
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_U32(f, d) bit <<= 1;
#define MKVM_F32(f, d) bit <<= 1;
#define MKVM_ENUM(f, T, d) bit <<= 1;
#define MKVM_END(Name) \
  return mask;         \
  }
#include "isa/opcodes.def"
  }
  return 0;
}

// Word `lane` of an instruction is operand word lane - kFirstOperandWord.
inline constexpr uint32_t kFirstOperandWord =
    offsetof(isa::Instruction, operands) / 4;
inline constexpr uint32_t kFirstWaitWord =
    offsetof(isa::Instruction, waits) / 4;
static_assert(sizeof(isa::Instruction) == 32 * 4);

// Whether the opcode's hot body doesn't do these operands. Lane l has word l.
__device__ inline bool NeedsAnyBody(uint32_t opcode, uint32_t word,
                                    uint32_t num_stages) {
  const auto operand = [&](uint32_t i) {
    return __shfl_sync(0xffffffffu, word, kFirstOperandWord + i);
  };
  using Merge = ops::AttentionMergeIndex;
  const bool gemv = operand(ops::GemvIndex::k) % isa::kStageColumns != 0;
  const bool attention =
      operand(ops::AttentionIndex::head_dim) != ops::head128::kDim ||
      operand(ops::AttentionIndex::group) > ops::head128::kMaxHeads ||
      num_stages < ops::head128::kPartStages;
  const uint32_t count = operand(Merge::count);
  const bool merge = operand(Merge::splits) > 16 || count % 16 != 0 ||
                     operand(Merge::begin) % 4 != 0 ||
                     operand(Merge::head_dim) % 4 != 0;
  switch (static_cast<isa::Opcode>(opcode)) {
    case isa::Opcode::kGemv:
      return gemv;
    case isa::Opcode::kAttention:
      return attention;
    case isa::Opcode::kAttentionMerge:
      return merge;
    default:
      return false;
  }
}

// Whether the instruction neither reads nor writes in the pass of that
// position: attention's other splits where split 0 works alone, and the merges.
// Lane l has word l.
__device__ inline bool IsIdle(uint32_t opcode, uint32_t word,
                              uint32_t position) {
  const auto operand = [&](uint32_t i) {
    return __shfl_sync(0xffffffffu, word, kFirstOperandWord + i);
  };
  const bool other = operand(ops::AttentionIndex::split) != 0 &&
                     position < operand(ops::AttentionIndex::alone);
  const bool merge = position < operand(ops::AttentionMergeIndex::alone);
  switch (static_cast<isa::Opcode>(opcode)) {
    case isa::Opcode::kAttention:
      return other;
    case isa::Opcode::kAttentionMerge:
      return merge;
    default:
      return false;
  }
}

// What attention does in this pass. Divisions are slow, and here is time.
// `dims`: this lane's operand's.
__device__ inline void FillAttention(uint32_t opcode, uint32_t word,
                                     uint32_t position, uint2 dims,
                                     ops::InstructionSlot& slot) {
  const auto operand = [&](uint32_t i) {
    return __shfl_sync(0xffffffffu, word, kFirstOperandWord + i);
  };
  const uint32_t split = operand(ops::AttentionIndex::split);
  const uint32_t splits = operand(ops::AttentionIndex::splits);
  const uint32_t block = operand(ops::AttentionIndex::block);
  const uint32_t alone = operand(ops::AttentionIndex::alone);
  const uint32_t capacity = __shfl_sync(
      0xffffffffu, dims.y, kFirstOperandWord + ops::AttentionIndex::k_cache);
  const uint32_t rope_rows = __shfl_sync(
      0xffffffffu, dims.x, kFirstOperandWord + ops::AttentionIndex::rope);
  if (opcode != static_cast<uint32_t>(isa::Opcode::kAttention)) return;
  if (threadIdx.x % 32 != 0) return;
  const bool room = ops::HasRoom(position, capacity, splits, rope_rows);
  const ops::SplitPlace place = ops::PlaceOf(position, block, splits);
  slot.attention.positions = ops::PositionsIn(position, split, block, splits);
  slot.attention.append = place.split == split ? 1 : 0;
  slot.attention.slot = place.slot;
  slot.attention.alone = position < alone ? 1 : 0;
  // The body of an instruction without room takes no stages.
  slot.attention.streamed =
      room ? slot.attention.positions - slot.attention.append : 0;
  slot.gemv = ops::head128::MakeRowsShape(slot.attention.streamed);
}

// Whether an instruction of a hot body polls all that others write and it
// reads. (Attention without its prologue has no k and v, and counts as not.)
__device__ inline bool PollsAll(uint32_t opcode, uint32_t polled,
                                bool residual) {
  uint32_t read = 0;
  switch (static_cast<isa::Opcode>(opcode)) {
    case isa::Opcode::kGemv:
      read =
          1u << ops::GemvIndex::x | (residual ? 1u << ops::GemvIndex::r : 0u);
      break;
    case isa::Opcode::kAttention:
      read = 1u << ops::AttentionIndex::q | 1u << ops::AttentionIndex::k |
             1u << ops::AttentionIndex::v;
      break;
    case isa::Opcode::kAttentionMerge:
      read = 1u << ops::AttentionMergeIndex::part;
      break;
    default:
      return false;
  }
  return (polled & read) == read;
}

// Which direct body an instruction of that code takes. Lane l has word l.
__device__ inline ops::Direct DirectOf(uint32_t code, uint32_t untagged,
                                       bool polls_all,
                                       const ops::GemvShape& shape,
                                       uint32_t group, uint32_t merged) {
  using ops::Direct;
  if (untagged != 0 || (code & (ops::kCodeReleases | ops::kCodeLast)) != 0) {
    return Direct::kNo;
  }
  if ((code & ops::kCodeIdle) != 0) return Direct::kIdle;
  if (!polls_all || (code & ops::kCodeAny) != 0) return Direct::kNo;
  switch (static_cast<isa::Opcode>(code & ops::kCodeMask)) {
    case isa::Opcode::kGemv: {
      if (shape.panels > shape.group || shape.slabs > shape.chunk) break;
      const uint32_t slots = shape.panels * shape.matrices;
      if (shape.slabs == 1 && slots == 6) return Direct::kGemv1x6;
      if (shape.slabs == 1 && slots == 4) return Direct::kGemv1x4;
      if (shape.slabs == 2 && slots == 2) return Direct::kGemv2x2;
      if (shape.slabs == 3 && slots == 2) return Direct::kGemv3x2;
      break;
    }
    case isa::Opcode::kAttention:
      return group <= ops::head128::kSetHeads ? Direct::kAttention
                                              : Direct::kNo;
    case isa::Opcode::kAttentionMerge:
      // By one warp, while the others go on.
      return merged <= 16 ? Direct::kMerge : Direct::kNo;
    default:
      break;
  }
  return Direct::kNo;
}

// Lane l puts word l into the slot, and what belongs to it: address and shape
// of a buffer operand, the counter value of a wait.
__device__ inline void FillSlot(const LaunchArguments& arguments, uint32_t word,
                                const Cursor& cursor,
                                ops::InstructionSlot& slot) {
  const uint32_t pass = cursor.pass;
  const uint32_t lane = threadIdx.x % 32;
  reinterpret_cast<uint32_t*>(&slot.instruction)[lane] = word;
  const uint32_t opcode = __shfl_sync(0xffffffffu, word, 0) & 0xffffu;
  const uint32_t counts = __shfl_sync(0xffffffffu, word, 1);
  const uint32_t num_waits = counts & 0xffu;
  const uint32_t lags = counts >> 8 & 0xffu;
  const uint32_t threshold = __shfl_down_sync(0xffffffffu, word, 1);
  ops::DeviceBuffer buffer = {};
  uint2 dims = {};
  if (lane >= kFirstOperandWord) {
    const uint32_t operand = lane - kFirstOperandWord;
    if ((BufferOperands(opcode) >> operand & 1) != 0 &&
        word != isa::kNoBuffer) {
      buffer = arguments.buffers[word];
    }
    slot.addresses[operand] = buffer.data;
    slot.dims[operand] = dims =
        make_uint2(static_cast<uint32_t>(buffer.shape[0]),
                   static_cast<uint32_t>(buffer.shape[1]));
  } else if (lane >= kFirstWaitWord && (lane - kFirstWaitWord) % 2 == 0) {
    const uint32_t wait = (lane - kFirstWaitWord) / 2;
    const uint32_t lag = lags >> wait & 1;
    slot.wanted[wait] =
        wait < num_waits && pass >= lag
            ? (pass - lag) * arguments.producers[word] + threshold
            : 0;
  }
  const uint32_t polled = __shfl_sync(0xffffffffu, word, 3);
  const uint32_t signal = __shfl_sync(0xffffffffu, word, 2);
  const uint32_t flags = __shfl_sync(0xffffffffu, word, 0) >> 16 & 0xffu;
  const uint32_t r =
      __shfl_sync(0xffffffffu, word, kFirstOperandWord + ops::GemvIndex::r);
  const uint32_t k =
      __shfl_sync(0xffffffffu, word, kFirstOperandWord + ops::GemvIndex::k);
  const uint32_t rows =
      __shfl_sync(0xffffffffu, word, kFirstOperandWord + ops::GemvIndex::rows);
  const uint32_t w2 =
      __shfl_sync(0xffffffffu, word, kFirstOperandWord + ops::GemvIndex::w2);
  const uint32_t merged = __shfl_sync(
      0xffffffffu, word, kFirstOperandWord + ops::AttentionMergeIndex::count);
  const uint32_t group = __shfl_sync(
      0xffffffffu, word, kFirstOperandWord + ops::AttentionIndex::group);
  const bool any = NeedsAnyBody(opcode, word, arguments.num_stages);
  const auto position = static_cast<uint32_t>(arguments.first_position + pass);
  FillAttention(opcode, word, position, dims, slot);
  const bool idle = IsIdle(opcode, word, position);
  if (lane == 0) {
    const bool gemv = opcode == static_cast<uint32_t>(isa::Opcode::kGemv);
    const bool polls_all = PollsAll(opcode, polled, r != isa::kNoBuffer);
    ops::SlotHead head;
    head.code =
        opcode | (any ? ops::kCodeAny : 0) | (idle ? ops::kCodeIdle : 0);
    // A gemv that polls all it reads may begin while the instruction before is
    // still writing its rows: its own are written after them.
    if (!gemv || !polls_all) head.code |= ops::kCodeAfter;
    if (signal != isa::kNoCounter) {
      head.code |= (flags & isa::kFlagRelease) != 0 ? ops::kCodeReleases
                                                    : ops::kCodeTicks;
    }
    if (kAblated && arguments.ablation.part != nullptr &&
        cursor.pc + 1 == cursor.length) {
      head.code |= ops::kCodeLast;
    }
    head.untagged = ((1u << num_waits) - 1) & ~(counts >> 16);
    head.pass = pass;
    head.pc = cursor.pc;
    head.tag = isa::TagOfPass(pass);
    ops::GemvShape shape = {};
    if (gemv) {
      shape = ops::MakeGemvShape(rows, k, w2 == isa::kNoBuffer ? 1 : 2,
                                 arguments.num_stages);
      shape.x_mask = (polled >> ops::GemvIndex::x & 1) != 0 ? 0xffu : 0;
      slot.gemv = shape;
    }
    head.code |= static_cast<uint32_t>(DirectOf(
                     head.code, head.untagged, polls_all, shape, group, merged))
                 << ops::kCodeDirectShift;
    slot.head = head;
  }
  const uint32_t f24 = __ballot_sync(0xffffffffu, buffer.is_f24 != 0);
  const uint32_t panels = __ballot_sync(0xffffffffu, buffer.is_panels != 0);
  if (lane == 0) {
    slot.f24_operands = f24 >> kFirstOperandWord;
    slot.panel_operands = panels >> kFirstOperandWord;
  }
}

__device__ inline void FetchLoop(const LaunchArguments& arguments,
                                 const ops::DeviceContext& context,
                                 Cursor cursor) {
  ops::SharedMemory* shared = context.shared;
  const uint32_t* code =
      reinterpret_cast<const uint32_t*>(arguments.code + cursor.begin) +
      context.lane();
  // One instruction ahead of the slots, since its words take a round trip.
  uint32_t word = ptx::LoadConstant(code + cursor.pc * 32);
  FetchTracer tracer(arguments.trace, shared);
  while (cursor.pass < EndPass(arguments, cursor)) {
    const uint32_t next_pc = cursor.pc + 1 == cursor.length ? 0 : cursor.pc + 1;
    const uint32_t next_word = ptx::LoadConstant(code + next_pc * 32);
    // The slot's previous instruction is done (first round: at once).
    uint64_t* const empty = &shared->slot_empty[cursor.slot];
    if constexpr (ops::kTraced) {
      tracer.Tick();
      while (!ptx::BarrierIsComplete(empty, cursor.slot_parity ^ 1) &&
             !ShouldLeave(shared)) {
        tracer.Tick();
      }
    }
    if constexpr (kAblated) {
      if (!WaitForInstructionBefore(cursor, arguments.ablation.fetch_depth,
                                    shared)) {
        break;
      }
    }
    if (!WaitPhase(empty, cursor.slot_parity ^ 1, shared)) break;
    FillSlot(arguments, word, cursor, shared->slots[cursor.slot]);
    if constexpr (ops::kTraced) {
      tracer.Close(cursor.slot);
      tracer.Open(cursor.slot, cursor.pass, cursor.pc);
    }
    // Each lane announces the words that it has put there.
    ptx::BarrierArrive(&shared->slot_full[cursor.slot]);
    word = next_word;
    cursor.Next();
  }
  if constexpr (ops::kTraced) {
    while (!ShouldLeave(shared) ||
           !ptx::BarrierTestWait(&shared->others_left, 0)) {
    }
    tracer.Finish(cursor.slot);
  }
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_FETCH_CUH_
