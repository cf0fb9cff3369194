#include "emulation/device.h"

#include "emulation/mbarrier.h"
#include "emulation/scheduler.h"

namespace mkvm::emulation {
namespace {

constexpr uint64_t kCyclesPerNs = 2;
// The other clock goes in steps.
constexpr uint64_t kTimerStepNs = 32;

}  // namespace

Index ThreadIndex() { return Running().thread; }
Index BlockIndex() { return RunningBlock().index; }
Index BlockSize() { return grid->launch().block; }
Index GridSize() { return grid->launch().grid; }
uint32_t LaneIndex() { return Running().index; }
char* DynamicSharedMemory() { return RunningBlock().shared; }

void Trap(const char* what) { grid->Trap(what); }

void CheckAligned(const void* pointer, uint64_t alignment) {
  if (reinterpret_cast<uintptr_t>(pointer) % alignment != 0) {
    Trap("an address is not aligned");
  }
}

void CheckShared(const void* pointer, uint64_t bytes, uint64_t alignment) {
  CheckAligned(pointer, alignment);
  const char* begin = RunningBlock().shared;
  const auto* p = static_cast<const char*>(pointer);
  if (p < begin || p + bytes > begin + grid->launch().shared_bytes) {
    Trap("an address is outside of its shared memory");
  }
}

void FailedPoll() {
  // A loop may look at several things in turn: all of them, since something
  // has happened.
  constexpr uint32_t kPolls = 8;
  Lane& lane = Running();
  const uint64_t events = lane.warp->block->events;
  if (lane.seen_events != events) lane.failed_polls = 0;
  lane.seen_events = events;
  grid->Yield(++lane.failed_polls < kPolls ? Idle::kNo : Idle::kBlock);
}

void AfterLoad(const void* address, uint64_t value) {
  if (Running().loads.AddIsPoll(address, value)) {
    grid->Yield(Idle::kGlobal);
  } else {
    grid->MaybeYield();
  }
}

void AfterStore() {
  grid->CountGlobalEvent();
  grid->MaybeYield();
}

LaneWords Meet(const uint32_t* words, uint32_t count, const Where& where) {
  return Running().warp->words[grid->Meet(words, count, nullptr, where, false)];
}

const float* Meet(const uint32_t* words, uint32_t count, MakeResults make,
                  const Where& where) {
  return Running().warp->results[grid->Meet(words, count, make, where, false)];
}

void SyncWarp(const Where& where) {
  grid->Meet(nullptr, 0, nullptr, where, true);
}

bool SyncNamed(uint32_t id, uint32_t threads, bool value) {
  return grid->SyncNamed(id, threads, value);
}

void BarrierInit(uint64_t* barrier, uint32_t arrivals) {
  CheckShared(barrier, sizeof(*barrier), sizeof(*barrier));
  Mbarrier::WithArrivals(arrivals).Store(barrier);
}

void BarrierArrive(uint64_t* barrier) {
  CheckShared(barrier, sizeof(*barrier), sizeof(*barrier));
  Release(barrier);
  Mbarrier state = Mbarrier::Load(barrier);
  bool completes = false;
  if (!state.Arrive(completes)) {
    Trap("more arrive at an mbarrier than it has arrivals");
  }
  state.Store(barrier);
  if (completes) ++RunningBlock().events;
  grid->MaybeYield();
}

bool BarrierIsComplete(uint64_t* barrier, uint32_t parity) {
  CheckShared(barrier, sizeof(*barrier), sizeof(*barrier));
  if (!Mbarrier::Load(barrier).HasCompleted(parity)) {
    FailedPoll();
    if (!Mbarrier::Load(barrier).HasCompleted(parity)) return false;
  }
  Acquire(barrier);
  return true;
}

void BarrierExpect(uint64_t* barrier, uint32_t bytes) {
  CheckShared(barrier, sizeof(*barrier), sizeof(*barrier));
  Mbarrier state = Mbarrier::Load(barrier);
  state.AddBytes(bytes);
  state.Store(barrier);
}

void BarrierForgo(uint64_t* barrier, uint32_t bytes) {
  Mbarrier state = Mbarrier::Load(barrier);
  if (state.AddBytes(-int64_t{bytes})) ++RunningBlock().events;
  state.Store(barrier);
}

void CopyToShared(void* to, const void* from, uint32_t bytes,
                  uint64_t* barrier) {
  CheckShared(to, bytes, 16);
  CheckAligned(from, 16);
  if (bytes % 16 != 0) Trap("a copy's size is no multiple of 16 bytes");
  Block& block = RunningBlock();
  Release(&block.engine.issued);
  grid->Issue({.block = &block,
               .to = static_cast<char*>(to),
               .from = static_cast<const char*>(from),
               .bytes = bytes,
               .barrier = barrier});
}

void FenceProxyAsync() { Release(&RunningBlock().engine.fenced); }

uint64_t Cycles() {
  // Each SM's clock has begun at some time of its own.
  constexpr uint64_t kBetweenBlocks = 1'000'003;
  return grid->Now() * kCyclesPerNs + RunningBlock().index.x * kBetweenBlocks;
}

uint64_t Nanoseconds() { return grid->Now() / kTimerStepNs * kTimerStepNs; }

}  // namespace mkvm::emulation
