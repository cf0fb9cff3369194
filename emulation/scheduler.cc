#include "emulation/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "emulation/mbarrier.h"

namespace mkvm::emulation {

thread_local Grid* grid = nullptr;

namespace {

namespace context = boost::context;

constexpr uint64_t kStackBytes = 128 << 10;
// At its lowest address, which nobody should reach.
constexpr char kStackEnd[] = "end of the stack";
constexpr uint32_t kSharedAlignment = 128;
// Of a block, under way.
constexpr uint32_t kMaxCopies = 64;
// What a visit of a warp takes on the emulated clock.
constexpr uint64_t kVisitNs = 2000;

// Not by a function that the sanitizer watches.
void CopyUnseen(volatile uint32_t* to, const uint32_t* from, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) to[i] = from[i];
}

uint64_t Seed() {
  const char* seed = std::getenv("MKVM_EMULATION_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

// The stacks of a launch's threads; the next launch takes the same.
class Stacks {
 public:
  ~Stacks() { Free(); }
  char* Get(uint64_t count) {
    if (count <= count_) return memory_;
    Free();
    void* memory = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::fprintf(stderr, "emulated GPU: no memory for %llu threads\n",
                   static_cast<unsigned long long>(count));
      std::abort();
    }
    memory_ = static_cast<char*>(memory);
    count_ = count;
    return memory_;
  }

 private:
  void Free() {
    if (memory_ != nullptr) munmap(memory_, count_ * kStackBytes);
  }

  char* memory_ = nullptr;
  uint64_t count_ = 0;
};
thread_local Stacks stacks;

// The sanitizer's fibers, of which it has not many: the next launch takes the
// same.
class SanitizerFibers {
 public:
  ~SanitizerFibers() {
    for (void* fiber : fibers_) DestroyFiber(fiber);
  }
  // Number `index` of a launch.
  void* Get(size_t index) {
    if (index == fibers_.size()) fibers_.push_back(CreateFiber());
    return fibers_[index];
  }

 private:
  std::vector<void*> fibers_;
};
thread_local SanitizerFibers sanitizer_fibers;

// The stack is the lane's own; nobody frees it.
struct NoStackAllocator {
  context::stack_context allocate() { return {}; }
  void deallocate(context::stack_context&) {}
};

}  // namespace

// Goes on from launch to launch, so that launches differ.
std::minstd_rand Grid::random_(static_cast<uint32_t>(Seed()));

void* Grid::NextFiber() { return sanitizer_fibers.Get(num_fibers_++); }

Grid::Grid(const Launch& launch, uint32_t first_block, uint32_t num_blocks)
    : launch_(launch) {
  const uint32_t threads = launch.block.x;
  const uint32_t warps = (threads + kWarpLanes - 1) / kWarpLanes;
  // No lane allocates memory: the sanitizer would see that in it.
  active_.reserve(uint64_t{num_blocks} * warps);
  copies_.reserve(uint64_t{num_blocks} * kMaxCopies);
  char* stack = stacks.Get(uint64_t{num_blocks} * threads);
  for (uint32_t b = 0; b < num_blocks; ++b) {
    auto block = std::make_unique<Block>();
    block->index = {first_block + b, 0, 0};
    block->memory =
        std::make_unique<char[]>(launch.shared_bytes + kSharedAlignment);
    const auto address = reinterpret_cast<uintptr_t>(block->memory.get());
    block->shared =
        block->memory.get() +
        (kSharedAlignment - address % kSharedAlignment) % kSharedAlignment;
    // Nothing may hang on what is there before it is written.
    std::memset(block->shared, 0xa5, launch.shared_bytes);
    block->engine.reader = NextFiber();
    block->engine.writer = NextFiber();
    block->warps.resize(warps);
    for (uint32_t w = 0; w < warps; ++w) {
      Warp& warp = block->warps[w];
      warp.block = block.get();
      warp.lanes.resize(std::min(kWarpLanes, threads - w * kWarpLanes));
      for (uint32_t l = 0; l < warp.lanes.size(); ++l) {
        Lane& lane = warp.lanes[l];
        lane.warp = &warp;
        lane.index = l;
        lane.thread = {w * kWarpLanes + l, 0, 0};
        lane.stack = stack;
        stack += kStackBytes;
        Start(lane);
      }
      Wake(warp, warp.lanes.size() == kWarpLanes
                     ? ~0u
                     : (1u << warp.lanes.size()) - 1);
    }
    blocks_.push_back(std::move(block));
  }
}

void Grid::Start(Lane& lane) {
  lane.sanitizer_fiber = NextFiber();
  std::memcpy(lane.stack, kStackEnd, sizeof(kStackEnd));
  context::stack_context stack;
  stack.size = kStackBytes;
  stack.sp = lane.stack + kStackBytes;
  lane.fiber = context::fiber(
      std::allocator_arg, context::preallocated(stack.sp, stack.size, stack),
      NoStackAllocator(), [this, &lane](context::fiber&& caller) {
        lane.caller = std::move(caller);
        Acquire(&begin_);
        launch_.kernel();
        // What lies below its stack is another's.
        if (std::memcmp(lane.stack, kStackEnd, sizeof(kStackEnd)) != 0) {
          Trap("its stack has overflown");
        }
        lane.warp->left |= 1u << lane.index;
        lane.warp->ready &= ~(1u << lane.index);
        // All that it has done comes before what follows the launch.
        Release(&end_);
        SwitchFiber(scheduler_fiber_);
        return std::move(lane.caller);
      });
}

void Grid::SwitchOut() {
  Lane& lane = *running_;
  SwitchFiber(scheduler_fiber_);
  lane.caller = std::move(lane.caller).resume();
}

void Grid::Resume(Lane& lane) {
  running_ = &lane;
  lane.idle = Idle::kNo;
  SwitchFiber(lane.sanitizer_fiber);
  lane.fiber = std::move(lane.fiber).resume();
  running_ = nullptr;
}

void Grid::Yield(Idle idle) {
  running_->idle = idle;
  SwitchOut();
}

void Grid::Park(uint32_t& parked) {
  const uint32_t bit = 1u << running_->index;
  running_->warp->ready &= ~bit;
  parked |= bit;
  SwitchOut();
}

void Grid::Wake(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  warp.idle = Idle::kNo;
  if (warp.queued) return;
  warp.queued = true;
  active_.push_back(&warp);
}

uint32_t Grid::Meet(const uint32_t* words, uint32_t count, MakeResults make,
                    const Where& where, bool orders) {
  Warp& warp = *running_->warp;
  Meeting& meeting = warp.meeting;
  const uint32_t copy = meeting.round % 2;
  if (meeting.arrived == 0) meeting.where = where;
  if (meeting.where.line != where.line ||
      (meeting.where.file != where.file &&
       std::strcmp(meeting.where.file, where.file) != 0)) {
    const std::string what =
        std::string("it is at ") + where.file + ":" +
        std::to_string(where.line) + ", other lanes of its warp wait at " +
        meeting.where.file + ":" + std::to_string(meeting.where.line);
    Trap(what.c_str());
  }
  CopyUnseen(warp.words[copy][running_->index], words, count);
  if (orders) Release(&meeting.orders[copy]);
  if (++meeting.arrived == warp.lanes.size()) {
    if (make != nullptr) make(warp.words[copy], warp.results[copy]);
    meeting.arrived = 0;
    ++meeting.round;
    Wake(warp, std::exchange(warp.meeting_lanes, 0));
  } else {
    Park(warp.meeting_lanes);
  }
  if (orders) Acquire(&meeting.orders[copy]);
  return copy;
}

bool Grid::SyncNamed(uint32_t id, uint32_t threads, bool value) {
  if (id >= kNamedBarriers) Trap("there is no such named barrier");
  Block& block = *running_->warp->block;
  NamedBarrier& barrier = block.barriers[id];
  Meeting& meeting = barrier.meeting;
  const uint32_t copy = meeting.round % 2;
  if (meeting.arrived == 0) {
    barrier.threads = threads;
    barrier.any[copy] = false;
  }
  if (barrier.threads != threads) {
    Trap("others wait at this named barrier for another number of threads");
  }
  barrier.any[copy] |= value;
  Release(&meeting.orders[copy]);
  if (++meeting.arrived == threads) {
    meeting.arrived = 0;
    ++meeting.round;
    for (uint32_t w = 0; w < kMaxWarps; ++w) {
      const uint32_t lanes = std::exchange(barrier.waiting[w], 0);
      if (lanes != 0) Wake(block.warps[w], lanes);
    }
  } else {
    Park(barrier.waiting[running_->thread.x / kWarpLanes]);
  }
  Acquire(&meeting.orders[copy]);
  return barrier.any[copy];
}

void Grid::Issue(const Copy& copy) {
  if (copies_.size() == copies_.capacity()) Trap("too many copies under way");
  copies_.push_back(copy);
}

void Grid::LandSome() {
  while (!copies_.empty() && Chance(4)) Land(random_() % copies_.size());
}

void Grid::Land(size_t index) {
  const Copy copy = copies_[index];
  copies_[index] = copies_.back();
  copies_.pop_back();
  CopyEngine& engine = copy.block->engine;
  SwitchFiber(engine.reader);
  Acquire(&begin_);
  Acquire(&engine.fenced);
  MarkRead(copy.from, copy.bytes);
  Release(copy.barrier);
  SwitchFiber(engine.writer);
  Acquire(&engine.issued);
  MarkWritten(copy.to, copy.bytes);
  Release(copy.barrier);
  SwitchFiber(scheduler_fiber_);
  CopyUnseen(reinterpret_cast<uint32_t*>(copy.to),
             reinterpret_cast<const uint32_t*>(copy.from),
             copy.bytes / sizeof(uint32_t));
  Mbarrier barrier = Mbarrier::Load(copy.barrier);
  if (barrier.AddBytes(-int64_t{copy.bytes})) ++copy.block->events;
  barrier.Store(copy.barrier);
}

// Whether a visit may be of use: nothing is polled, or something has happened
// since. Where nothing happens at all time goes by, which ends what waits for
// that.
bool Grid::CanGoOn(const Warp& warp) {
  constexpr uint32_t kGuessOneIn = 128;
  constexpr uint64_t kAtMost = 16;  // rounds of passing by
  constexpr uint64_t kPassingNs = 1'000'000;
  if (warp.idle == Idle::kNo) return true;
  const bool changed =
      warp.block_events != warp.block->events ||
      (warp.idle == Idle::kGlobal && warp.global_events != events_);
  // (Of the others now and then one, since these are guesses.)
  if (changed || Chance(kGuessOneIn)) return true;
  if (++passed_by_ < kAtMost * active_.size()) return false;
  now_ns_ += kPassingNs / active_.size();
  return true;
}

// Lets a warp run for a while, or until all of its lanes wait. Its lanes begin
// with any of them.
void Grid::Visit(Warp& warp) {
  now_ns_ += kVisitNs;
  passed_by_ = 0;
  warp.block_events = warp.block->events;
  warp.global_events = events_;
  const uint32_t rounds = 1 + random_() % 64;
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint32_t lanes = warp.ready;
    const uint32_t first = random_() % kWarpLanes;
    bool idle = true;
    warp.idle = Idle::kBlock;
    for (uint32_t i = 0; i < kWarpLanes; ++i) {
      const uint32_t l = (first + i) % kWarpLanes;
      if ((lanes >> l & 1) == 0) continue;
      Resume(warp.lanes[l]);
      idle &= warp.lanes[l].idle != Idle::kNo;
      warp.idle = std::max(warp.idle, warp.lanes[l].idle);
    }
    if (idle && warp.ready != 0) return;
    warp.idle = Idle::kNo;
    if (warp.ready == 0) return;
  }
}

void Grid::Run() {
  Release(&begin_);
  while (!active_.empty()) {
    LandSome();
    const size_t i = random_() % active_.size();
    Warp& warp = *active_[i];
    if (!CanGoOn(warp)) continue;
    Visit(warp);
    if (warp.ready != 0) continue;
    warp.queued = false;
    active_[i] = active_.back();
    active_.pop_back();
  }
  for (const auto& block : blocks_) {
    for (const Warp& warp : block->warps) {
      if (std::popcount(warp.left) != static_cast<int>(warp.lanes.size())) {
        TrapDeadlock();
      }
    }
  }
  if (!copies_.empty()) {
    std::fprintf(stderr,
                 "emulated GPU: block %u has left while copies to its shared "
                 "memory are under way\n",
                 copies_[0].block->index.x);
    std::abort();
  }
  Acquire(&end_);
}

void Grid::TrapDeadlock() {
  for (const auto& block : blocks_) {
    for (Warp& warp : block->warps) {
      for (Lane& lane : warp.lanes) {
        if ((warp.left >> lane.index & 1) != 0) continue;
        running_ = &lane;
        if (warp.meeting.arrived == 0) {
          Trap("it waits at a named barrier, and nobody else can come");
        }
        const Where& where = warp.meeting.where;
        const std::string what = std::string("it waits for its warp at ") +
                                 where.file + ":" + std::to_string(where.line) +
                                 ", and nobody else can come";
        Trap(what.c_str());
      }
    }
  }
  std::abort();
}

void Grid::Trap(const char* what) const {
  std::fprintf(stderr, "emulated GPU: block %u, thread %u: %s\n",
               running_->warp->block->index.x, running_->thread.x, what);
  std::abort();
}

void RunLaunch(const Launch& launch) {
  constexpr uint32_t kResident = 4;
  const uint32_t at_once =
      launch.together ? launch.grid.x : std::min(launch.grid.x, kResident);
  for (uint32_t first = 0; first < launch.grid.x; first += at_once) {
    Grid blocks(launch, first, std::min(at_once, launch.grid.x - first));
    grid = &blocks;
    blocks.Run();
    grid = nullptr;
  }
}

}  // namespace mkvm::emulation
