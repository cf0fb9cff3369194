// The interpreter kernel; the loops are in
// interpreter_compute, _fetch and _load. Included by one
// source per variant (ops/device_context.cuh), which gives it a public launch.
#ifndef MKVM_VM_INTERPRETER_KERNEL_CUH_
#define MKVM_VM_INTERPRETER_KERNEL_CUH_

#include <cuda_runtime.h>

#include "ops/ptx/registers.cuh"
#include "vm/interpreter_compute.cuh"
#include "vm/interpreter_fetch.cuh"
#include "vm/interpreter_finish.cuh"
#include "vm/interpreter_load.cuh"
#include "vm/launch.h"

namespace mkvm::ops {

// ---- out-of-line parts of the device context: cold paths

static __device__ __noinline__ void RaiseFault(SharedMemory* shared,
                                               Place place, FaultKind kind,
                                               uint32_t what, uint64_t seen,
                                               uint64_t wanted) {
  RaiseFaultInLine(shared, place, kind, what, seen, wanted);
}

static __device__ __noinline__ uint32_t PollWord(SharedMemory* shared,
                                                 Place place,
                                                 const uint32_t* address,
                                                 uint32_t word, uint32_t tag,
                                                 uint32_t operand) {
  Spin spin(shared);
  while ((word & 0xffu) != tag) {
    if (spin.Expired()) {
      if (spin.timed_out()) {
        RaiseFault(shared, place, FaultKind::kTagTimeout, operand, word & 0xffu,
                   tag);
      }
      break;
    }
    word = ptx::LoadRelaxedGpu(address);
  }
  return word;
}

static __device__ __noinline__ uint64_t SpinStep(SharedMemory* shared,
                                                 Place place, uint64_t state,
                                                 uint32_t operand,
                                                 uint32_t seen, uint32_t tag) {
  const uint64_t now = ptx::GlobalTimerNs();
  if (state == 0) return now;
  const bool aborted = ptx::LoadRelaxedGpu(shared->abort) != 0;
  const bool timed_out = now - state > shared->watchdog_ns;
  if (!aborted && !timed_out) return state;
  if (timed_out) {
    RaiseFault(shared, place, FaultKind::kTagTimeout, operand, seen, tag);
  }
  return kSpinLost;
}

static __device__ __noinline__ uint64_t PollRanked(SharedMemory* shared,
                                                   Place place,
                                                   const uint64_t* address,
                                                   uint64_t word, uint32_t tag,
                                                   uint32_t operand) {
  Spin spin(shared);
  while (isa::TagOfRanked(word) != tag) {
    if (spin.Expired()) {
      if (spin.timed_out()) {
        RaiseFault(shared, place, FaultKind::kTagTimeout, operand,
                   isa::TagOfRanked(word), tag);
      }
      break;
    }
    word = ptx::LoadRelaxedGpu(address);
  }
  return word;
}

static __device__ __noinline__ bool PollChunk(SharedMemory* shared, Place place,
                                              uint32_t at, uint32_t parity) {
  Spin spin(shared);
  while (!ptx::BarrierTestWait(&shared->chunk_full[at], parity)) {
    if (spin.Expired()) {
      if (spin.timed_out()) {
        RaiseFault(shared, place, FaultKind::kStreamTimeout, 0, 0, 0);
      }
      return false;
    }
  }
  return true;
}

}  // namespace mkvm::ops

namespace mkvm::vm {
namespace {

__device__ void InitShared(const LaunchArguments& arguments,
                           ops::SharedMemory* shared) {
  for (uint32_t i = 0; i < ops::kInstructionSlots; ++i) {
    ptx::BarrierInit(&shared->slot_full[i], 32);  // the fetcher's lanes
    // The loader's lanes, the compute and the finishing threads.
    ptx::BarrierInit(&shared->slot_empty[i], ptx::CopyLanes(kArchitecture) +
                                                 ops::kComputeThreads +
                                                 ops::kFinishThreads);
  }
  for (uint32_t i = 0; i < ops::kMaxStages; ++i) {
    ptx::BarrierInit(&shared->chunk_full[i], ptx::CopyLanes(kArchitecture));
    ptx::BarrierInit(&shared->chunk_empty[i], ops::kComputeThreads);
  }
  for (uint32_t i = 0; i < 2; ++i) {
    ptx::BarrierInit(&shared->sums_ready[i], ops::kComputeThreads);
    ptx::BarrierInit(&shared->rows_done[i], ops::kFinishThreads);
  }
  ptx::BarrierInit(&shared->leave, ops::kComputeThreads);
  ptx::BarrierInit(&shared->others_left,
                   ptx::CopyLanes(kArchitecture) + ops::kFinishThreads);
  shared->abort = arguments.abort;
  shared->fault = arguments.fault;
  shared->token_ring = arguments.token_ring;
  shared->watchdog_ns = arguments.watchdog_ns;
  shared->first_position = arguments.first_position;
  shared->stop[0] = shared->stop[1] = 0;
  if constexpr (ops::kTraced) {
    for (uint32_t i = 0; i < ops::kInstructionSlots; ++i) {
      shared->traces[i].record = {};
    }
  }
  ptx::FenceBarrierInit();
}

// Of a run in several launches: nothing is left for this one.
__device__ bool IsOver(const LaunchArguments& arguments, uint32_t pass) {
  if (arguments.stopped == nullptr) return false;
  if (ptx::LoadRelaxedGpu(arguments.abort) != 0) return true;
  const uint32_t stopped = ptx::LoadRelaxedGpu(arguments.stopped);
  return stopped != 0 && stopped <= pass;
}

// Where this block begins and, in the ablated kernel, ends.
__device__ Cursor FirstPlace(const LaunchArguments& arguments) {
  Cursor cursor;
  const QueueRange queue = arguments.queues[blockIdx.x];
  cursor.begin = queue.begin;
  cursor.length = queue.length;
  cursor.always = queue.always;
  cursor.pass = arguments.first_pass;
  if constexpr (kAblated) {
    cursor.end_pass = arguments.max_passes;
    if (arguments.ablation.part != nullptr) {
      cursor.pass = *arguments.ablation.pass;
      cursor.end_pass = cursor.pass + 1;
      cursor.pc = arguments.ablation.part[blockIdx.x];
      cursor.length = arguments.ablation.part[gridDim.x + blockIdx.x];
    }
  }
  return cursor;
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    Interpret(const __grid_constant__ LaunchArguments arguments) {
  auto* shared =
      reinterpret_cast<ops::SharedMemory*>(ptx::DynamicSharedMemory());
  const Cursor cursor = FirstPlace(arguments);
  bool over = false;
  if (threadIdx.x == 0) {
    InitShared(arguments, shared);
    shared->max_passes = EndPass(arguments, cursor);
    over = IsOver(arguments, cursor.pass);
    if constexpr (kAblated) over |= cursor.pc == cursor.length;
  }
  // Barriers and constants are set before anyone uses them.
  if (__syncthreads_or(over)) return;

  ops::DeviceContext context;
  context.visit = 0;
  context.thread_index = ptx::ThreadIndex();
  context.state = ops::DeviceContext::kCommitted;
  context.ring_bytes = arguments.num_stages * isa::kStageBytes;
  context.ring_at = 0;
  context.chunk = 0;
  context.batch = 0;
  context.has_operands = false;

  const uint32_t warp = threadIdx.x / 32;
  // All four warps of the group by the same instruction.
  if (warp >= kLoadWarp) {
    ptx::ReleaseRegisters();
    if (warp == kFetchWarp) {
      FetchLoop(arguments, context, cursor);
    } else if (warp == kLoadWarp) {
      LoadLoop(arguments, context, cursor);
    } else {
      FinishLoop(arguments, context);
      // What they have recorded is there for the fetcher.
      if constexpr (ops::kTraced) ptx::BarrierArrive(&shared->others_left);
    }
  } else {
    ptx::ClaimRegisters();
    ComputeLoop(arguments, context);
    // A program that stops itself says so once.
    const uint32_t stop = shared->stop[0] | shared->stop[1];
    if (arguments.stopped != nullptr && threadIdx.x == 0 &&
        (stop & ops::kStopProgram) != 0) {
      ptx::StoreRelaxedGpu(arguments.stopped, cursor.pass + 1);
    }
  }
}

uint32_t SharedBytes(uint32_t num_stages) {
  return ops::kStagesOffset + num_stages * isa::kStageBytes;
}

// (Of the ablated kernel nobody asks.)
[[maybe_unused]] uint32_t StagesOfThis(uint64_t bytes) {
  if (bytes < SharedBytes(2)) return 0;
  const uint64_t stages = (bytes - ops::kStagesOffset) / isa::kStageBytes;
  return static_cast<uint32_t>(stages < ops::kMaxStages ? stages
                                                        : ops::kMaxStages);
}

int LaunchThis(const LaunchArguments& arguments, uint32_t workers,
               CUstream_st* stream) {
  // Per launch: another machine may have set it for fewer stages.
  const cudaError_t error = cudaFuncSetAttribute(
      Interpret, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(SharedBytes(arguments.num_stages)));
  if (error != cudaSuccess) return error;
  LaunchArguments copy = arguments;
  void* parameters[] = {&copy};
  const uint32_t shared_bytes = SharedBytes(arguments.num_stages);
  if (kAblated && arguments.ablation.part != nullptr) {
    // It waits for earlier launches only: its blocks need not run together.
    return cudaLaunchKernel(Interpret, dim3(workers), dim3(kBlockThreads),
                            parameters, shared_bytes, stream);
  }
  return cudaLaunchCooperativeKernel(Interpret, dim3(workers),
                                     dim3(kBlockThreads), parameters,
                                     shared_bytes, stream);
}

}  // namespace

}  // namespace mkvm::vm

#endif  // MKVM_VM_INTERPRETER_KERNEL_CUH_
