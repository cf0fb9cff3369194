// Who runs when: one launch.
#ifndef MKVM_EMULATION_SCHEDULER_H_
#define MKVM_EMULATION_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "emulation/block.h"
#include "emulation/device.h"
#include "emulation/grid.h"
#include "emulation/sanitizers.h"

namespace mkvm::emulation {

// What reading a clock takes on the emulated one.
inline constexpr uint64_t kReadingNs = 1;
// Of accesses that others could see, after one in so many another warp may
// come.
inline constexpr uint32_t kYieldOneIn = 16;

// Blocks of a launch that are there together: their threads, one at a time, and
// their bulk copies.
class Grid {
 public:
  Grid(const Launch& launch, uint32_t first_block, uint32_t num_blocks);
  void Run();

  // ---- by the thread that runs
  Lane& running() { return *running_; }
  const Launch& launch() const { return launch_; }
  void Yield(Idle idle);
  // Now and then.
  void MaybeYield() {
    if (Chance(kYieldOneIn)) Yield(Idle::kNo);
  }
  void CountGlobalEvent() { ++events_; }
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }
  // Returns which copy of words and results is the meeting's.
  uint32_t Meet(const uint32_t* words, uint32_t count, MakeResults make,
                const Where& where, bool orders);
  bool SyncNamed(uint32_t id, uint32_t threads, bool value);
  void Issue(const Copy& copy);
  uint64_t Now() { return now_ns_ += kReadingNs; }
  [[noreturn]] void Trap(const char* what) const;

 private:
  void Start(Lane& lane);
  void* NextFiber();
  void SwitchOut();
  void Park(uint32_t& parked);
  void Wake(Warp& warp, uint32_t lanes);
  bool CanGoOn(const Warp& warp);
  void Visit(Warp& warp);
  void Resume(Lane& lane);
  void LandSome();
  void Land(size_t index);
  [[noreturn]] void TrapDeadlock();

  const Launch& launch_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Warp*> active_;  // with lanes that are ready
  std::vector<Copy> copies_;   // under way
  Lane* running_ = nullptr;
  void* scheduler_fiber_ = CurrentFiber();
  size_t num_fibers_ = 0;     // that the launch has taken
  char begin_ = 0, end_ = 0;  // addresses for the sanitizer
  uint64_t now_ns_ = 1000;
  uint64_t events_ = 0;     // writes to global memory that others may poll
  uint32_t passed_by_ = 0;  // warps, since one was visited
  static std::minstd_rand random_;
};

// The launch that runs. Of the thread that runs launches.
extern thread_local Grid* grid;

inline Lane& Running() { return grid->running(); }
inline Block& RunningBlock() { return *Running().warp->block; }

}  // namespace mkvm::emulation

#endif  // MKVM_EMULATION_SCHEDULER_H_
