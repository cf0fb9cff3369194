// What device code may ask of the emulated GPU: who runs it, and to wait for
// others. ops/ptx/ and cuda_runtime.h of this folder are made of it; device
// code itself never includes it.
//
// A thread of a grid is a fiber; all fibers of a launch run on one thread of
// the host, one at a time. Whenever it waits, and now and then at accesses that
// others could see, a thread lets others go on, chosen by chance: a launch is
// one interleaving of many, the same one for the same seed
// (MKVM_EMULATION_SEED).
//
// Memory is that of the host, in one order for all: that hardware may show
// writes in another one is not seen in what is computed. The thread sanitizer
// sees it instead, which is told what orders what: barriers, mbarriers, acquire
// and release do, relaxed accesses and shuffles don't.
#ifndef MKVM_EMULATION_DEVICE_H_
#define MKVM_EMULATION_DEVICE_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace mkvm::emulation {

// A place of the source. (Clang has std::source_location from version 15 on.)
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where Current(const char* file = __builtin_FILE(),
                                 int line = __builtin_LINE()) {
    return {file, line};
  }
};

struct Index {
  uint32_t x = 1, y = 1, z = 1;
};
Index ThreadIndex();
Index BlockIndex();
Index BlockSize();  // threads
Index GridSize();   // blocks

inline constexpr uint32_t kWarpLanes = 32;
uint32_t LaneIndex();

// The block's dynamic shared memory, 128-byte aligned.
char* DynamicSharedMemory();

// Ends the process with one line that names the thread.
[[noreturn]] void Trap(const char* what);
// Traps unless `bytes` bytes at `pointer` are of the block's shared memory, or
// the pointer isn't a multiple of `alignment`.
void CheckShared(const void* pointer, uint64_t bytes, uint64_t alignment);
void CheckAligned(const void* pointer, uint64_t alignment);

// ---- letting others go on
// What this thread polls isn't there.
void FailedPoll();
// A relaxed load has returned `value`: the same as the last time if it polls.
void AfterLoad(const void* address, uint64_t value);
// Others may see what this thread has just written before it goes on.
void AfterStore();

// ---- warps. All lanes that have not left take part, at the same place of the
// source, or the launch ends in a trap.
inline constexpr uint32_t kMaxWords = 8;
// Waits until every lane has given its `count` words, at most kMaxWords.
// Returns where they are, until the lane's next but one meeting.
using LaneWords = const uint32_t (*)[kMaxWords];
LaneWords Meet(const uint32_t* words, uint32_t count, const Where& where);
// The same, and the last lane that comes makes something of all words for the
// warp, at most kMaxResults floats. (Such a function is MKVM_UNSEEN: what lanes
// give one another here needs no order.)
inline constexpr uint32_t kMaxResults = 128;
#define MKVM_UNSEEN \
  __attribute__((no_sanitize("thread", "address", "undefined")))
using MakeResults = void (*)(LaneWords words, float* results);
const float* Meet(const uint32_t* words, uint32_t count, MakeResults make,
                  const Where& where);
// The same without words; orders memory among the lanes.
void SyncWarp(const Where& where);

// What each lane of the warp has given.
template <typename T>
class FromLanes {
 public:
  FromLanes(const T& own, const Where& where) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);
    static_assert(sizeof(T) <= kMaxWords * sizeof(uint32_t));
    uint32_t words[sizeof(T) / sizeof(uint32_t)];
    std::memcpy(words, &own, sizeof(T));
    lanes_ = Meet(words, sizeof(T) / sizeof(uint32_t), where);
  }
  T operator[](uint32_t lane) const {
    T value;
    std::memcpy(&value, lanes_[lane % kWarpLanes], sizeof(T));
    return value;
  }

 private:
  LaneWords lanes_;
};

// ---- blocks
inline constexpr uint32_t kNamedBarriers = 16;
// Waits for `threads` threads at barrier `id`; whether `value` was true in any.
// Orders memory among them.
bool SyncNamed(uint32_t id, uint32_t threads, bool value);

// ---- mbarriers, in shared memory. Arrivals release, a test that says that the
// phase is complete acquires.
void BarrierInit(uint64_t* barrier, uint32_t arrivals);
void BarrierArrive(uint64_t* barrier);
bool BarrierIsComplete(uint64_t* barrier, uint32_t parity);
void BarrierExpect(uint64_t* barrier, uint32_t bytes);
void BarrierForgo(uint64_t* barrier, uint32_t bytes);

// ---- bulk copies: land at some later time, in any order, and count as
// completed at the barrier then.
void CopyToShared(void* to, const void* from, uint32_t bytes,
                  uint64_t* barrier);
// What the generic proxy has done to global memory comes before this thread's
// copies. (A copy without it is a race for the thread sanitizer.)
void FenceProxyAsync();

// ---- clocks: of their own, so that a launch takes the same time anywhere.
uint64_t Cycles();
uint64_t Nanoseconds();

}  // namespace mkvm::emulation

#endif  // MKVM_EMULATION_DEVICE_H_
