// The interpreter kernel and its launch; the loop is in interpreter.cuh.
#include <cuda_runtime.h>

#include "vm/interpreter.cuh"
#include "vm/launch.h"

namespace mkvm::ops {

// ---- out-of-line parts of the device context: cold paths

__device__ __noinline__ void RaiseFault(SharedMemory* shared, Place place,
                                        FaultKind kind, uint32_t what,
                                        uint64_t seen, uint64_t wanted) {
  if (ptx::ExchangeRelaxedGpu(shared->abort, 1) != 0) return;
  Fault* fault = shared->fault;
  fault->worker = blockIdx.x;
  fault->pass = place.pass;
  fault->pc = place.pc;
  fault->opcode = place.opcode;
  fault->what = what;
  fault->seen = seen;
  fault->wanted = wanted;
  // The host reads `kind` first.
  ptx::FenceSystem();
  *reinterpret_cast<volatile FaultKind*>(&fault->kind) = kind;
}

__device__ __noinline__ uint32_t PollWord(SharedMemory* shared, Place place,
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

__device__ __noinline__ uint64_t SpinStep(SharedMemory* shared, Place place,
                                          uint64_t state, uint32_t operand,
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

__device__ __noinline__ uint64_t PollRanked(SharedMemory* shared, Place place,
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

__device__ __noinline__ bool PollStage(SharedMemory* shared, Place place,
                                       uint32_t stage, uint32_t parity) {
  Spin spin(shared);
  while (!ptx::BarrierTestWait(&shared->stage_full[stage], parity)) {
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

#if defined(__CUDA_ARCH__)
inline constexpr int kArchitecture = __CUDA_ARCH__;
#else
inline constexpr int kArchitecture = 0;
#endif

__device__ void InitShared(const LaunchArguments& arguments,
                           ops::SharedMemory* shared) {
  const uint32_t num_stages = arguments.num_stages;
  for (uint32_t i = 0; i < ops::kInstructionSlots; ++i) {
    ptx::BarrierInit(&shared->slot_full[i], 32);  // the fetcher's lanes
    // The loader's lanes and the compute threads.
    ptx::BarrierInit(&shared->slot_empty[i], 32 + ops::kComputeThreads);
  }
  for (uint32_t i = 0; i < num_stages; ++i) {
    ptx::BarrierInit(&shared->stage_full[i], ptx::CopyArrivals(kArchitecture));
    ptx::BarrierInit(&shared->stage_empty[i], ops::kComputeThreads);
  }
  ptx::BarrierInit(&shared->leave, ops::kComputeThreads);
  shared->abort = arguments.abort;
  shared->fault = arguments.fault;
  shared->token_ring = arguments.token_ring;
  shared->watchdog_ns = arguments.watchdog_ns;
  shared->stop = 0;
  ptx::FenceBarrierInit();
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    Interpret(const __grid_constant__ LaunchArguments arguments) {
  extern __shared__ __align__(128) char memory[];
  auto* shared = reinterpret_cast<ops::SharedMemory*>(memory);
  char* stages = memory + ops::kStagesOffset;
  if (threadIdx.x == 0) InitShared(arguments, shared);
  // Barriers and constants are set before anyone uses them.
  __syncthreads();

  Cursor cursor;
  cursor.begin = arguments.queue_begin[blockIdx.x];
  cursor.length = arguments.queue_begin[blockIdx.x + 1] - cursor.begin;
  ops::DeviceContext context;
  context.shared = shared;
  context.slot = nullptr;
  context.faulty = false;
  context.stages = stages;
  context.num_stages = arguments.num_stages;
  context.stage = 0;
  context.stage_parity = 0;
  context.partials_copy = 0;

  const uint32_t warp = threadIdx.x / 32;
  if (warp == kFetchWarp) {
    FetchLoop(arguments, context, cursor);
  } else if (warp == kLoadWarp) {
    LoadLoop(arguments, context, cursor, stages);
  } else {
    ComputeLoop(arguments, context, cursor);
  }
}

// One thread packs 8 elements that are contiguous in the packed matrix.
__global__ void Pack(const uint16_t* source, uint64_t row_begin, uint64_t rows,
                     uint64_t columns, uint16_t* destination) {
  const uint64_t tiles = ops::TilesPerPanel(columns);
  const uint64_t first_panel = row_begin / isa::kPanelRows;
  const uint64_t panels = (rows + isa::kPanelRows - 1) / isa::kPanelRows;
  const uint64_t pieces = panels * tiles * 32;
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < pieces;
       i += uint64_t{gridDim.x} * blockDim.x) {
    const uint32_t lane = i % 32;
    const uint64_t tile = i / 32 % tiles;
    const uint64_t row = i / 32 / tiles * isa::kPanelRows + lane / 4;
    alignas(16) uint16_t piece[8];
    for (uint32_t e = 0; e < 8; ++e) {
      // Register e/2 holds half (e/2)%2, columns 4q + 2*(e/4) + e%2.
      const uint64_t column = tile * isa::kPanelTileColumns + e / 2 % 2 * 16 +
                              lane % 4 * 4 + e / 4 * 2 + e % 2;
      piece[e] = row < rows && column < columns ? source[row * columns + column]
                                                : uint16_t{0};
    }
    reinterpret_cast<uint4*>(destination)[(first_panel * tiles * 32) + i] =
        *reinterpret_cast<const uint4*>(piece);
  }
}

uint32_t SharedBytes(uint32_t num_stages) {
  return ops::kStagesOffset + num_stages * isa::kStageBytes;
}

}  // namespace

static_assert(kMaxGroupElements == ops::kMaxGroupElements);

uint32_t StagesThatFit(uint64_t bytes) {
  if (bytes < SharedBytes(2)) return 0;
  const uint64_t stages = (bytes - ops::kStagesOffset) / isa::kStageBytes;
  return static_cast<uint32_t>(stages < ops::kMaxStages ? stages
                                                        : ops::kMaxStages);
}

int QueryKernelLimits(uint32_t num_stages, int multiprocessors,
                      KernelLimits& limits) {
  limits.shared_memory_bytes = SharedBytes(num_stages);
  cudaError_t error = cudaFuncSetAttribute(
      Interpret, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(limits.shared_memory_bytes));
  if (error != cudaSuccess) return error;
  int blocks = 0;
  error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &blocks, Interpret, kBlockThreads, limits.shared_memory_bytes);
  if (error != cudaSuccess) return error;
  limits.workers = static_cast<uint32_t>(blocks * multiprocessors);
  cudaFuncAttributes attributes;
  error = cudaFuncGetAttributes(&attributes, Interpret);
  if (error != cudaSuccess) return error;
  limits.registers = attributes.numRegs;
  limits.local_bytes = static_cast<int>(attributes.localSizeBytes);
  return cudaSuccess;
}

int LaunchInterpreter(const LaunchArguments& arguments, uint32_t workers,
                      CUstream_st* stream) {
  // Per launch: another machine may have set it for fewer stages.
  const cudaError_t error = cudaFuncSetAttribute(
      Interpret, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(SharedBytes(arguments.num_stages)));
  if (error != cudaSuccess) return error;
  LaunchArguments copy = arguments;
  void* parameters[] = {&copy};
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(Interpret),
                                     dim3(workers), dim3(kBlockThreads),
                                     parameters,
                                     SharedBytes(arguments.num_stages), stream);
}

int LaunchPack(const uint16_t* source, uint64_t row_begin, uint64_t rows,
               uint64_t columns, uint16_t* destination, CUstream_st* stream) {
  Pack<<<1024, 256, 0, stream>>>(source, row_begin, rows, columns, destination);
  return cudaGetLastError();
}

}  // namespace mkvm::vm
