// The load warp: streams the weights of coming instructions into stages, as far
// ahead as slots and stages allow.
#ifndef MKVM_VM_INTERPRETER_LOAD_CUH_
#define MKVM_VM_INTERPRETER_LOAD_CUH_

#include <cstdint>

#include "ops/gemv_stages.cuh"
#include "ops/ptx/copy.cuh"
#include "vm/interpreter.cuh"

namespace mkvm::vm {

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
          *reinterpret_cast<const ops::GemvAddresses*>(slot.addresses),
          slot.gemv, issue);
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

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_LOAD_CUH_
