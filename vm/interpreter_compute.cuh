// The compute warps: wait, run the body, signal.
#ifndef MKVM_VM_INTERPRETER_COMPUTE_CUH_
#define MKVM_VM_INTERPRETER_COMPUTE_CUH_

#include <cstdint>

#include "ops/device_bodies.cuh"
#include "vm/interpreter.cuh"

namespace mkvm::vm {

// Ends without a budget: the fetcher waits for nothing but this block's own
// slots.
__device__ inline void WaitForSlot(ops::SharedMemory* shared, uint32_t visit) {
  while (
      !ptx::BarrierTestWait(&shared->slot_full[visit % ops::kInstructionSlots],
                            visit / ops::kInstructionSlots % 2)) {
  }
}

// Traced kernel: lane i of warp 0 has seen the counter of wait i.
__device__ inline void TraceWait(ops::DeviceContext& context) {
  const uint32_t now = context.TraceNow();
  if (atomicMax(&context.trace()->record.waited, now) < now) {
    context.trace()->record.last_wait = context.lane() + 1;
  }
}

// Lane i of warp 0 waits for counter i. The barrier that follows hands what was
// acquired to the other threads. Tagged waits are the bodies' affair: they poll
// the data themselves, so that this is out of line.
static __device__ __noinline__ ops::DeviceContext WaitForCounters(
    const uint32_t* counters, uint32_t untagged, ops::DeviceContext context) {
  const ops::InstructionSlot& slot = *context.slot();
  const isa::Instruction& instruction = slot.instruction;
  const uint32_t i = context.thread();
  if (i < isa::kMaxWaits && (untagged >> i & 1) != 0) {
    const uint32_t* counter =
        counters + uint64_t{instruction.waits[i].counter} * kCounterStride;
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
        context.Fail();
        break;
      }
    }
    if constexpr (ops::kTraced) TraceWait(context);
  }
  context.Barrier();
  return context;
}

// Whether the opcode's body for any instruction is in the interpreter's loop,
// beside the direct ones.
constexpr bool IsHot(isa::Opcode opcode) {
  return opcode == isa::Opcode::kGemv;
}

// Bodies that choose a token by chance: out of line by themselves. Called by
// the other cold ones' function, they would make the interpreter's loop spill.
constexpr bool IsSampling(isa::Opcode opcode) {
  return opcode == isa::Opcode::kSampleSlice || opcode == isa::Opcode::kSample;
}

#define MKVM_SAMPLING(Name)                                           \
  static __device__ __noinline__ ops::DeviceContext Run##Name##Body(  \
      ops::DeviceContext context) {                                   \
    ops::Device##Name(*reinterpret_cast<const isa::Name##Operands*>(  \
                          context.slot()->instruction.operands),      \
                      *reinterpret_cast<const ops::Name##Addresses*>( \
                          context.slot()->addresses),                 \
                      context);                                       \
    return context;                                                   \
  }
MKVM_SAMPLING(SampleSlice)
MKVM_SAMPLING(Sample)
#undef MKVM_SAMPLING

// Bodies that don't run in every layer: out of line, so that they cost the
// others no registers.
static __device__ __noinline__ ops::DeviceContext RunColdBody(
    uint32_t code, ops::DeviceContext context) {
  const ops::InstructionSlot& slot = *context.slot();
#define MKVM_ANY(Name)                                                         \
  if (code == (static_cast<uint32_t>(isa::Opcode::k##Name) | ops::kCodeAny)) { \
    ops::DeviceAny##Name(                                                      \
        *reinterpret_cast<const isa::Name##Operands*>(                         \
            slot.instruction.operands),                                        \
        *reinterpret_cast<const ops::Name##Addresses*>(slot.addresses),        \
        context);                                                              \
    return context;                                                            \
  }
  MKVM_ANY(Gemv)
  MKVM_ANY(Attention)
  MKVM_ANY(AttentionMerge)
#undef MKVM_ANY
  switch (static_cast<isa::Opcode>(code)) {
#define MKVM_OP(code, Name, name, synopsis)                               \
  case isa::Opcode::k##Name:                                              \
    if constexpr (!IsHot(isa::Opcode::k##Name) &&                         \
                  !IsSampling(isa::Opcode::k##Name)) {                    \
      ops::Device##Name(                                                  \
          *reinterpret_cast<const isa::Name##Operands*>(                  \
              slot.instruction.operands),                                 \
          *reinterpret_cast<const ops::Name##Addresses*>(slot.addresses), \
          context);                                                       \
    }                                                                     \
    return context;
#include "isa/opcodes.def"
  }
  if (context.thread() == 0) {
    context.Raise(ops::FaultKind::kBadOpcode, 0, slot.instruction.opcode, 0);
  }
  return context;
}

__device__ __forceinline__ void RunBody(uint32_t code,
                                        ops::DeviceContext& context) {
  const ops::InstructionSlot& slot = *context.slot();
#define MKVM_OP(value, Name, name, synopsis)                              \
  if constexpr (IsHot(isa::Opcode::k##Name)) {                            \
    if (code == static_cast<uint32_t>(isa::Opcode::k##Name)) {            \
      ops::Device##Name(                                                  \
          *reinterpret_cast<const isa::Name##Operands*>(                  \
              slot.instruction.operands),                                 \
          *reinterpret_cast<const ops::Name##Addresses*>(slot.addresses), \
          context);                                                       \
      return;                                                             \
    }                                                                     \
  }
#include "isa/opcodes.def"
  if (code == static_cast<uint32_t>(isa::Opcode::kSample)) {
    context = RunSampleBody(context);
  } else if (code == static_cast<uint32_t>(isa::Opcode::kSampleSlice)) {
    context = RunSampleSliceBody(context);
  } else {
    context = RunColdBody(code, context);
  }
}

// Traced kernel: who marks the begin and the end. Not of warp 0, which has the
// most to do; but of a warp that hands the slot back.
inline constexpr uint32_t kTraceThread = ops::kFinishThreads - 32;
static_assert(kTraceThread != 0);

// By thread 0, after the barrier that follows the body: that and, for the
// release, cumulativity put the block's writes before the signal.
__device__ inline void Signal(const LaunchArguments& arguments, uint32_t code,
                              const ops::DeviceContext& context) {
  ops::InstructionSlot& slot = *context.slot();
  if ((code & ops::kCodeReleases) != 0) {
    ptx::AddReleaseGpu(
        arguments.counters + uint64_t{slot.instruction.signal} * kCounterStride,
        1);
    if constexpr (ops::kTraced) {
      context.trace()->record.signaled = context.TraceNow();
    }
  } else if ((code & ops::kCodeTicks) != 0) {
    ptx::AddRelaxedGpu(
        arguments.counters + uint64_t{slot.instruction.signal} * kCounterStride,
        1);
  }
  if (blockIdx.x == 0 &&
      (code & ops::kCodeMask) == static_cast<uint32_t>(isa::Opcode::kHalt)) {
    ptx::StoreRelaxedSystem(arguments.passes, uint64_t{slot.head.pass} + 1);
  }
}

// Traced kernel: the body is done, as `thread` sees it.
__device__ inline void TraceDone(const ops::DeviceContext& context,
                                 uint32_t thread) {
  if constexpr (!ops::kTraced) return;
  if (context.thread() == thread) {
    context.trace()->record.done = context.TraceNow();
  }
}

// The same where no barrier follows the body: the last warp counts.
__device__ inline void TraceWarpDone(const ops::DeviceContext& context) {
  if constexpr (!ops::kTraced) return;
  if (context.lane() == 0) {
    atomicMax(&context.trace()->record.done, context.TraceNow());
  }
}

// The body of a direct instruction. Of gemvs the finishing warps do the rest; a
// merge's warps have nothing to do with one another, and those without elements
// go on: so only attention ends with a barrier.
__device__ __forceinline__ void RunDirect(const LaunchArguments& arguments,
                                          uint32_t code,
                                          ops::DeviceContext& context) {
  const ops::InstructionSlot& slot = *context.slot();
  const auto direct = static_cast<ops::Direct>(code >> ops::kCodeDirectShift);
  if (direct == ops::Direct::kGemv1x6) {
    ops::DirectGemv<1, 6, true>(context);
  } else if (direct == ops::Direct::kGemv1x4) {
    ops::DirectGemv<1, 4, true>(context);
  } else if (direct == ops::Direct::kGemv2x2) {
    ops::DirectGemv<2, 2, false>(context);
  } else if (direct == ops::Direct::kGemv3x2) {
    ops::DirectGemv<3, 2, false>(context);
  } else if (direct == ops::Direct::kAttention) {
    ops::head128::DeviceAttention(
        *reinterpret_cast<const isa::AttentionOperands*>(
            slot.instruction.operands),
        *reinterpret_cast<const ops::AttentionAddresses*>(slot.addresses),
        context);
    // Scratch is free again; and all threads agree on leaving.
    context.Commit();
    context.BeginUncommitted();
    TraceDone(context, kTraceThread);
    if (context.thread() == 0) Signal(arguments, code, context);
  } else if (direct == ops::Direct::kIdle) {
    // (Whether a gemv before is still under way stays as it is.)
    TraceDone(context, kTraceThread);
    if (context.thread() == 0) Signal(arguments, code, context);
  } else {
    ops::DeviceAttentionMerge(
        *reinterpret_cast<const isa::AttentionMergeOperands*>(
            slot.instruction.operands),
        *reinterpret_cast<const ops::AttentionMergeAddresses*>(slot.addresses),
        context);
    context.EndOpen();
    TraceWarpDone(context);
    if (context.thread() == 0) Signal(arguments, code, context);
  }
}

// Any other instruction, with what must come before and after. True when it was
// the last one.
__device__ __forceinline__ bool RunWithWaits(const LaunchArguments& arguments,
                                             uint32_t code, uint32_t untagged,
                                             ops::DeviceContext& context) {
  if (context.committed() && (untagged != 0 || (code & ops::kCodeAfter) != 0)) {
    // The rows of the gemv before are written, and all warps are through it.
    context.WaitForRows();
    if (untagged == 0) context.Barrier();
  }
  if (untagged != 0) {
    context = WaitForCounters(arguments.counters, untagged, context);
  }
  context.BeginUncommitted();
  if ((code & ops::kCodeIdle) == 0) RunBody(code & ops::kCodeMask, context);
  const bool open = context.committed();
  if (!open) {
    // The body's writes, to memory and to shared memory, and all threads'
    // reads of the slot come before what follows in any thread of the block;
    // and all threads agree on leaving.
    context.Commit();
    context.BeginUncommitted();
    TraceDone(context, kTraceThread);
  }
  bool last = kAblated && (code & ops::kCodeLast) != 0;
  if ((code & ops::kCodeMask) == static_cast<uint32_t>(isa::Opcode::kHalt)) {
    last |= *static_cast<const volatile uint32_t*>(
                &context.shared->stop[context.pass() % 2]) != 0;
  }
  // Of a gemv the finishing warps do it.
  if (!open && context.thread() == 0 && !context.block_faulty()) {
    Signal(arguments, code, context);
  }
  return last;
}

__device__ __forceinline__ void ComputeLoop(const LaunchArguments& arguments,
                                            ops::DeviceContext& context) {
  ops::SharedMemory* shared = context.shared;
  while (true) {
    WaitForSlot(shared, context.visit);
    // Kept in registers: every step of the loop asks for it.
    const ops::SlotHead head = context.slot()->head;
    context.tag = head.tag;
    if constexpr (ops::kTraced) {
      context.has_operands = false;
      if (context.thread() == kTraceThread) {
        context.trace()->record.visited = context.TraceNow();
      }
    }
    bool last = false;
    if (head.code >> ops::kCodeDirectShift != 0) {
      RunDirect(arguments, head.code, context);
    } else {
      last = RunWithWaits(arguments, head.code, head.untagged, context);
    }
    // No compute thread reads the slot again.
    ptx::BarrierArrive(
        &shared->slot_empty[context.visit % ops::kInstructionSlots]);
    ++context.visit;
    if (last || context.block_faulty()) {
      // The loader and the fetcher look at it while they wait.
      ptx::BarrierArrive(&shared->leave);
      return;
    }
  }
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_COMPUTE_CUH_
