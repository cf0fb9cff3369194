// The threads of a launch as the emulation keeps them: lanes in warps in
// blocks.
#ifndef MKVM_EMULATION_BLOCK_H_
#define MKVM_EMULATION_BLOCK_H_

#include <boost/context/fiber.hpp>
#include <cstdint>
#include <memory>
#include <vector>

#include "emulation/device.h"

namespace mkvm::emulation {

struct Warp;
struct Block;

// What a thread has polled in vain when it lets others go on.
enum class Idle { kNo, kBlock, kGlobal };

// A thread's last relaxed loads, by which one knows that it polls.
class RecentLoads {
 public:
  // Whether it has seen nothing new for a while.
  bool AddIsPoll(const void* address, uint64_t value) {
    for (const Load& load : loads_) {
      if (load.address == address && load.value == value) {
        return ++repeated_ >= kPolls;
      }
    }
    loads_[next_++ % kLoads] = {address, value};
    repeated_ = 0;
    return false;
  }

 private:
  static constexpr uint32_t kLoads = 16;
  // What is asked for early and looked at again is not polled yet.
  static constexpr uint32_t kPolls = 2 * kLoads;
  struct Load {
    const void* address = nullptr;
    uint64_t value = 0;
  };
  Load loads_[kLoads];
  uint32_t next_ = 0;
  uint32_t repeated_ = 0;
};

struct Lane {
  Warp* warp = nullptr;
  uint32_t index = 0;  // in the warp
  Index thread;
  boost::context::fiber fiber;   // while it doesn't run
  boost::context::fiber caller;  // while it does
  void* sanitizer_fiber = nullptr;
  char* stack = nullptr;  // its lowest byte
  Idle idle = Idle::kNo;  // why it switched last
  RecentLoads loads;
  uint64_t seen_events = 0;   // of its block, at its last failed poll
  uint32_t failed_polls = 0;  // since then
};

// Where lanes or threads wait until all have come.
struct Meeting {
  uint32_t arrived = 0;
  uint32_t round = 0;
  Where where;
  char orders[2] = {};  // addresses for the sanitizer, by round
};

struct Warp {
  Block* block = nullptr;
  std::vector<Lane> lanes;
  uint32_t ready = 0;   // lanes, as bits
  uint32_t left = 0;    // likewise
  bool queued = false;  // is in Grid::active_
  // What all its lanes have polled in vain, and how much had happened then.
  Idle idle = Idle::kNo;
  uint64_t block_events = 0, global_events = 0;
  Meeting meeting;
  uint32_t meeting_lanes = 0;  // that wait there
  uint32_t words[2][kWarpLanes][kMaxWords];
  float results[2][kMaxResults];
};

inline constexpr uint32_t kMaxWarps = 32;  // of a block
struct NamedBarrier {
  Meeting meeting;
  uint32_t threads = 0;
  bool any[2] = {};
  uint32_t waiting[kMaxWarps] = {};  // lanes of each warp
};

// The asynchronous proxy: two fibers for the sanitizer, since what orders its
// reads of global memory is not what orders its writes of shared memory.
struct CopyEngine {
  void* reader = nullptr;
  void* writer = nullptr;
  char fenced = 0;  // addresses for the sanitizer
  char issued = 0;
};

struct Block {
  Index index;
  std::vector<Warp> warps;
  std::unique_ptr<char[]> memory;
  char* shared = nullptr;
  NamedBarrier barriers[kNamedBarriers];
  CopyEngine engine;
  uint64_t events = 0;  // phases of mbarriers that have completed
};

struct Copy {
  Block* block;
  char* to;
  const char* from;
  uint32_t bytes;
  uint64_t* barrier;
};

}  // namespace mkvm::emulation

#endif  // MKVM_EMULATION_BLOCK_H_
