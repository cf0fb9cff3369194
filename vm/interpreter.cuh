// The persistent interpreter: one block is one worker.
//
//   warps 0..7   compute: wait, run the op body, signal
//   warp 8       load: streams the weights of coming instructions into stages
//   warp 9       fetch: brings instructions and their addresses to slots
//
// All three walk the same queue; the loader and the fetcher run ahead as far
// as stages and slots allow, also across passes, because weights depend on
// nothing. docs/memory_model.md argues every edge.
#ifndef MKVM_VM_INTERPRETER_CUH_
#define MKVM_VM_INTERPRETER_CUH_

#include <cstdint>

#include "ops/device_bodies.cuh"
#include "vm/interpreter_trace.cuh"
#include "vm/launch.h"

// One of the variants has design choices that can be switched off
// (vm/interpreter_ablated.cu), so that the others pay nothing for that.
#ifndef MKVM_ABLATED
#define MKVM_ABLATED 0
#endif

namespace mkvm::vm {

inline constexpr bool kAblated = MKVM_ABLATED != 0;

inline constexpr uint32_t kLoadWarp = ops::kComputeWarps;
inline constexpr uint32_t kFetchWarp = ops::kComputeWarps + 1;
inline constexpr uint32_t kBlockThreads = 32 * (ops::kComputeWarps + 2);

// The place in the queue: which slot comes next, in which pass.
struct Cursor {
  uint32_t begin, length;  // of the queue, in `code`
  uint32_t pc = 0;
  uint32_t pass = 0;
  uint32_t slot = 0;
  uint32_t slot_parity = 0;
  uint32_t end_pass = 0;  // ablated kernel

  __device__ void Next() {
    if (++slot == ops::kInstructionSlots) {
      slot = 0;
      slot_parity ^= 1;
    }
    if (++pc == length) {
      pc = 0;
      ++pass;
    }
  }
};

__device__ inline uint32_t EndPass(const LaunchArguments& arguments,
                                   [[maybe_unused]] const Cursor& cursor) {
  if constexpr (kAblated) return cursor.end_pass;
  return arguments.max_passes;
}

__device__ inline bool ShouldLeave(ops::SharedMemory* shared) {
  return ptx::BarrierTestWait(&shared->leave, 0);
}

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

// Loader and fetcher wait for a phase of a block barrier until the compute
// warps have left, whose own spins are bounded; false when they have.
__device__ inline bool WaitPhase(uint64_t* barrier, uint32_t parity,
                                 ops::SharedMemory* shared) {
  while (!ptx::BarrierTestWait(barrier, parity)) {
    if (ShouldLeave(shared)) return false;
  }
  return true;
}

// Ablated kernel: waits until the instruction `back` before this one is done,
// 1 <= back <= kInstructionSlots. False when the compute warps have left.
__device__ inline bool WaitForInstructionBefore(const Cursor& cursor,
                                                uint32_t back,
                                                ops::SharedMemory* shared) {
  const bool same_round = cursor.slot >= back;
  const uint32_t slot = same_round
                            ? cursor.slot - back
                            : cursor.slot + ops::kInstructionSlots - back;
  // What comes before the launch's first instruction counts as done: it is of
  // the round before the first.
  return WaitPhase(&shared->slot_empty[slot],
                   same_round ? cursor.slot_parity : cursor.slot_parity ^ 1,
                   shared);
}

// ---- fetch -----------------------------------------------------------------

// Word `lane` of an instruction is operand word lane - kFirstOperandWord.
inline constexpr uint32_t kFirstOperandWord =
    offsetof(isa::Instruction, operands) / 4;
inline constexpr uint32_t kFirstWaitWord =
    offsetof(isa::Instruction, waits) / 4;
static_assert(sizeof(isa::Instruction) == 32 * 4);

// Lane l puts word l into the slot, and what belongs to it: address and shape
// of a buffer operand, the counter value of a wait.
__device__ inline void FillSlot(const LaunchArguments& arguments, uint32_t word,
                                uint32_t pass, ops::InstructionSlot& slot) {
  const uint32_t lane = threadIdx.x % 32;
  reinterpret_cast<uint32_t*>(&slot.instruction)[lane] = word;
  const uint32_t opcode = __shfl_sync(0xffffffffu, word, 0) & 0xffffu;
  const uint32_t counts = __shfl_sync(0xffffffffu, word, 1);
  const uint32_t num_waits = counts & 0xffu;
  const uint32_t lags = counts >> 8 & 0xffu;
  const uint32_t threshold = __shfl_down_sync(0xffffffffu, word, 1);
  ops::DeviceBuffer buffer = {};
  if (lane >= kFirstOperandWord) {
    const uint32_t operand = lane - kFirstOperandWord;
    if ((BufferOperands(opcode) >> operand & 1) != 0 &&
        word != isa::kNoBuffer) {
      buffer = arguments.buffers[word];
    }
    slot.addresses[operand] = buffer.data;
    slot.dims[operand] = make_uint2(static_cast<uint32_t>(buffer.shape[0]),
                                    static_cast<uint32_t>(buffer.shape[1]));
  } else if (lane >= kFirstWaitWord && (lane - kFirstWaitWord) % 2 == 0) {
    const uint32_t wait = (lane - kFirstWaitWord) / 2;
    const uint32_t lag = lags >> wait & 1;
    slot.wanted[wait] =
        wait < num_waits && pass >= lag
            ? (pass - lag) * arguments.producers[word] + threshold
            : 0;
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
    FillSlot(arguments, word, cursor.pass, shared->slots[cursor.slot]);
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
           !ptx::BarrierTestWait(&shared->loader_left, 0)) {
    }
    tracer.Finish(cursor.slot);
  }
}

// ---- load ------------------------------------------------------------------

__device__ inline void LoadLoop(const LaunchArguments& arguments,
                                const ops::DeviceContext& context,
                                Cursor cursor, char* stages) {
  ops::SharedMemory* shared = context.shared;
  const uint64_t policy = ptx::PolicyEvictFirst();
  uint32_t stage = 0, parity = 0;
  uint64_t issued = 0;
  bool running = true;
  auto issue = [&](const char* source, uint32_t bytes) {
    // The stage's previous contents have been read (first round: at once).
    running = WaitPhase(&shared->stage_empty[stage], parity ^ 1, shared);
    if (!running) return false;
    __syncwarp();
    ptx::CopyToShared(stages + stage * isa::kStageBytes, source, bytes,
                      &shared->stage_full[stage], policy);
    ++issued;
    if constexpr (ops::kTraced) {
      ops::TraceRecord& record = shared->slots[cursor.slot].record;
      if (context.lane() == 0) {
        record.load_end = ops::TraceClock();
        if (record.load_begin == 0) record.load_begin = record.load_end;
      }
    }
    if (++stage == arguments.num_stages) {
      stage = 0;
      parity ^= 1;
    }
    return true;
  };
  while (running && cursor.pass < EndPass(arguments, cursor)) {
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
    if (slot.instruction.opcode == static_cast<uint16_t>(isa::Opcode::kGemv)) {
      ops::ForEachGemvStage(
          *reinterpret_cast<const isa::GemvOperands*>(
              slot.instruction.operands),
          *reinterpret_cast<const ops::GemvAddresses*>(slot.addresses), issue);
    }
    // Each lane has read what it needs of the slot.
    ptx::BarrierArrive(&shared->slot_empty[cursor.slot]);
    cursor.Next();
  }
  // Copies under way write to this block's memory: they land before it leaves
  // (the copy engine needs nobody's help, so this ends). Walk back over the
  // stages of the last round.
  const uint64_t pending =
      issued < arguments.num_stages ? issued : arguments.num_stages;
  for (uint64_t i = 0; i < pending; ++i) {
    if (stage == 0) {
      stage = arguments.num_stages;
      parity ^= 1;
    }
    --stage;
    while (!ptx::BarrierTestWait(&shared->stage_full[stage], parity)) {
    }
  }
  // What it has recorded is there for the fetcher.
  if constexpr (ops::kTraced) ptx::BarrierArrive(&shared->loader_left);
}

// ---- compute ---------------------------------------------------------------

// Ends without a budget: the fetcher waits for nothing but this block's own
// slots.
__device__ inline void WaitForSlot(ops::DeviceContext& context,
                                   const Cursor& cursor) {
  while (!ptx::BarrierTestWait(&context.shared->slot_full[cursor.slot],
                               cursor.slot_parity)) {
  }
}

// Traced kernel: lane i of warp 0 has seen the counter of wait i.
__device__ inline void TraceWait(ops::DeviceContext& context) {
  const uint32_t now = context.TraceNow();
  if (atomicMax(&context.slot->record.waited, now) < now) {
    context.slot->record.last_wait = context.lane() + 1;
  }
}

// Lane i of warp 0 waits for counter i. The barrier that follows hands what was
// acquired to the other threads. Tagged waits are the bodies' affair: they poll
// the data themselves.
__device__ inline void WaitForCounters(const LaunchArguments& arguments,
                                       const ops::InstructionSlot& slot,
                                       ops::DeviceContext& context) {
  const isa::Instruction& instruction = slot.instruction;
  const uint32_t untagged =
      ((1u << instruction.num_waits) - 1) & ~uint32_t{instruction.tagged};
  if (untagged == 0) return;
  const uint32_t i = context.thread();
  if (i < isa::kMaxWaits && (untagged >> i & 1) != 0) {
    const uint32_t* counter =
        arguments.counters +
        uint64_t{instruction.waits[i].counter} * kCounterStride;
    const uint32_t wanted = slot.wanted[i];
    ops::Spin spin(context.shared);
    while (true) {
      const uint32_t seen = ptx::LoadAcquireGpu(counter);
      if (static_cast<int32_t>(seen - wanted) >= 0) break;
      if (spin.Expired()) {
        if (spin.timed_out()) {
          context.Raise(ops::FaultKind::kCounterTimeout,
                        instruction.waits[i].counter, seen, wanted);
        }
        context.faulty = true;
        break;
      }
    }
    if constexpr (ops::kTraced) TraceWait(context);
  }
  context.Barrier();
}

__device__ inline void RunBody(const ops::InstructionSlot& slot,
                               ops::DeviceContext& context) {
  switch (static_cast<isa::Opcode>(slot.instruction.opcode)) {
#define MKVM_OP(code, Name, name, synopsis)                             \
  case isa::Opcode::k##Name:                                            \
    ops::Device##Name(                                                  \
        *reinterpret_cast<const isa::Name##Operands*>(                  \
            slot.instruction.operands),                                 \
        *reinterpret_cast<const ops::Name##Addresses*>(slot.addresses), \
        context);                                                       \
    return;
#include "isa/opcodes.def"
  }
  if (context.thread() == 0) {
    context.Raise(ops::FaultKind::kBadOpcode, 0, slot.instruction.opcode, 0);
  }
}

// After the barrier that follows the body: the block's writes come before the
// signal, by that barrier and, for a release, by cumulativity.
__device__ inline void Signal(const LaunchArguments& arguments,
                              const isa::Instruction& instruction) {
  if (instruction.signal == isa::kNoCounter) return;
  uint32_t* counter =
      arguments.counters + uint64_t{instruction.signal} * kCounterStride;
  if (instruction.flags & isa::kFlagRelease) {
    ptx::AddReleaseGpu(counter, 1);
  } else {
    ptx::AddRelaxedGpu(counter, 1);
  }
}

// Traced kernel: who marks the begin and the end. Not of warp 0, which has the
// most to do.
inline constexpr uint32_t kTraceThread = ops::kComputeThreads - 32;

__device__ inline void ComputeLoop(const LaunchArguments& arguments,
                                   ops::DeviceContext& context, Cursor cursor) {
  ops::SharedMemory* shared = context.shared;
  while (true) {
    ops::InstructionSlot& slot = shared->slots[cursor.slot];
    WaitForSlot(context, cursor);
    context.slot = &slot;
    context.pc = cursor.pc;
    context.pass = cursor.pass;
    context.tag = isa::TagOfPass(cursor.pass);
    if constexpr (ops::kTraced) {
      context.has_operands = false;
      if (context.thread() == kTraceThread) {
        slot.record.visited = context.TraceNow();
      }
    }
    WaitForCounters(arguments, slot, context);
    RunBody(slot, context);
    const bool halts =
        slot.instruction.opcode == static_cast<uint16_t>(isa::Opcode::kHalt);
    // The body's writes, to memory and to shared memory, and all threads' reads
    // of the slot come before what follows in any thread of the block; and all
    // threads agree on leaving.
    const bool faulty =
        ptx::SyncNamedOr(1, ops::kComputeThreads, context.faulty);
    if constexpr (ops::kTraced) {
      if (context.thread() == kTraceThread) {
        slot.record.done = context.TraceNow();
      }
    }
    // `stop` is written by halts only; the next one is many barriers away.
    bool last =
        halts && (*static_cast<const volatile uint32_t*>(&shared->stop) != 0 ||
                  cursor.pass + 1 == EndPass(arguments, cursor));
    if constexpr (kAblated) {
      last |=
          arguments.ablation.part != nullptr && cursor.pc + 1 == cursor.length;
    }
    if (context.thread() == 0 && !faulty) {
      Signal(arguments, slot.instruction);
      if (halts && blockIdx.x == 0) {
        ptx::StoreRelaxedSystem(arguments.passes, cursor.pass + 1);
      }
      if constexpr (ops::kTraced) {
        // Others don't wait for anything.
        if (slot.instruction.flags & isa::kFlagRelease) {
          slot.record.signaled = context.TraceNow();
        }
      }
    }
    if (last || faulty) {
      // The loader and the fetcher look at it while they wait.
      ptx::BarrierArrive(&shared->leave);
      return;
    }
    ptx::BarrierArrive(&shared->slot_empty[cursor.slot]);
    cursor.Next();
  }
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_CUH_
