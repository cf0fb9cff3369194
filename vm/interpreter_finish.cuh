// The finishing warps: the rows of every gemv, from the sums that the compute
// warps leave in shared memory, to their readers.
#ifndef MKVM_VM_INTERPRETER_FINISH_CUH_
#define MKVM_VM_INTERPRETER_FINISH_CUH_

#include <cstdint>

#include "ops/gemv_finish.cuh"
#include "vm/interpreter.cuh"
#include "vm/interpreter_compute.cuh"

namespace mkvm::vm {

// One gemv. False when the compute warps have left.
__device__ __forceinline__ bool FinishGemv(const LaunchArguments& arguments,
                                           ops::InstructionSlot& slot,
                                           uint32_t code,
                                           ops::DeviceContext& context) {
  ops::SharedMemory* shared = context.shared;
  const auto& op =
      *reinterpret_cast<const isa::GemvOperands*>(slot.instruction.operands);
  const auto& at = *reinterpret_cast<const ops::GemvAddresses*>(slot.addresses);
  const ops::GemvShape& shape = slot.gemv;
  ops::GemvFinish finish(op, at, context);
  finish.AskResidual();
  for (uint32_t p0 = 0; p0 < shape.panels; p0 += shape.group) {
    const uint32_t copy = context.batch % 2;
    finish.Prepare(p0, shape.GroupPanels(p0), copy);
    if (!WaitPhase(&shared->sums_ready[copy], context.batch / 2 % 2, shared)) {
      return false;
    }
    finish.Finish(copy);
    // The rows are published, the sums read.
    ptx::BarrierArrive(&shared->rows_done[copy]);
    ++context.batch;
  }
  const bool argmax = op.epilogue == isa::Epilogue::kArgmax;
  ops::Best best = {};
  if (argmax) {
    best = ops::WarpBest(finish.best());
    if (context.thread() == 32) {
      shared->second_best = make_uint2(__float_as_uint(best.score), best.row);
    }
  }
  // Both warps' rows and bests are written.
  if (argmax || (code & ops::kCodeReleases) != 0) {
    ptx::SyncNamed(2, ops::kFinishThreads);
  }
  if (context.thread() == 0) {
    if (argmax) {
      const uint2 second = shared->second_best;
      best = ops::BetterOf(best, {__uint_as_float(second.x), second.y});
      context.StoreRanked(at.best, op.slot, best.score, best.row);
    }
    if constexpr (ops::kTraced) {
      context.trace()->record.done = context.TraceNow();
    }
    Signal(arguments, code, context);
  }
  // The second's best has been read.
  if (argmax) ptx::SyncNamed(2, ops::kFinishThreads);
  return true;
}

__device__ inline void FinishLoop(const LaunchArguments& arguments,
                                  ops::DeviceContext& context) {
  ops::SharedMemory* shared = context.shared;
  context.thread_index -= 32 * kFinishWarp;
  context.has_operands = true;
  for (uint32_t visit = 0;; ++visit) {
    const uint32_t index = visit % ops::kInstructionSlots;
    if (!WaitPhase(&shared->slot_full[index],
                   visit / ops::kInstructionSlots % 2, shared)) {
      return;
    }
    ops::InstructionSlot& slot = shared->slots[index];
    const uint32_t code = slot.head.code;
    const uint32_t opcode = code & ops::kCodeMask & ~ops::kCodeAny;
    if (opcode == static_cast<uint32_t>(isa::Opcode::kGemv)) {
      context.visit = visit;
      context.tag = slot.head.tag;
      if (!FinishGemv(arguments, slot, code, context)) return;
    }
    // Nobody here reads the slot again.
    ptx::BarrierArrive(&shared->slot_empty[index]);
  }
}

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_FINISH_CUH_
