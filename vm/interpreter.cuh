// The persistent interpreter: one block is one worker.
//
//   warps 0..7   compute: wait, run the op body, signal (interpreter_compute)
//   warp 8       load: streams the weights of coming instructions into stages
//                (interpreter_load)
//   warp 9       fetch: brings instructions and their addresses to slots
//                (interpreter_fetch)
//   warps 10, 11 finish: the rows of every gemv, from the compute warps' sums
//                (interpreter_finish)
//
// All of them walk the same queue, but for what only the fetcher looks at
// (kSkipsIdle); the loader and the fetcher run ahead as far as stages and slots
// allow, also across passes, because weights depend on nothing.
// docs/memory_model.md argues every edge.

#ifndef MKVM_VM_INTERPRETER_CUH_
#define MKVM_VM_INTERPRETER_CUH_

#include <cstdint>

#include "ops/device_context.cuh"
#include "vm/launch.h"

// One of the variants has design choices that can be switched off
// (vm/interpreter_ablated.cu), so that the others pay nothing for that.
#ifndef MKVM_ABLATED
#define MKVM_ABLATED 0
#endif

namespace mkvm::vm {

inline constexpr bool kAblated = MKVM_ABLATED != 0;
// Instructions that neither read nor write in their pass, and have nobody to
// tell, take no slot. (A trace shows them; and launches of parts of queues know
// instructions by their place.)
inline constexpr bool kSkipsIdle = !ops::kTraced && !kAblated;

#if defined(__CUDA_ARCH__)
inline constexpr int kArchitecture = __CUDA_ARCH__;
#else
inline constexpr int kArchitecture = 0;
#endif

inline constexpr uint32_t kLoadWarp = ops::kComputeWarps;
inline constexpr uint32_t kFetchWarp = ops::kComputeWarps + 1;
inline constexpr uint32_t kFinishWarp = ops::kComputeWarps + 2;  // and the next
inline constexpr uint32_t kBlockThreads = 32 * (ops::kComputeWarps + 4);

// The place in the queue: which slot comes next, in which pass.
struct Cursor {
  uint32_t begin, length;  // of the queue, in `code`
  uint32_t always;         // instructions of it that are never idle
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
    Skip();
  }
  // The instruction takes no slot.
  __device__ void Skip() {
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
  return ptx::BarrierIsComplete(&shared->leave, 0);
}

// Loader and fetcher wait for a phase of a block barrier until the compute
// warps have left, whose own spins are bounded; false when they have.
__device__ inline bool WaitPhase(uint64_t* barrier, uint32_t parity,
                                 ops::SharedMemory* shared) {
  return ptx::BarrierWaitUnless(barrier, parity, &shared->leave);
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

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_CUH_
