// The emulated GPU itself: what its functions compute, and that it says so when
// something is wrong. (With the thread sanitizer: that it knows what orders
// what.)
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "emulation/grid.h"
#include "emulation/mbarrier.h"
#include "ops/ptx/barrier.cuh"
#include "ops/ptx/copy.cuh"
#include "ops/ptx/math.cuh"
#include "ops/ptx/memory.cuh"
#include "ops/ptx/mma.cuh"

// A race ends the process, whatever the environment says of other tests.
extern "C" const char* __tsan_default_options() { return "halt_on_error=1"; }

namespace mkvm::emulation {
namespace {

constexpr uint32_t kWhole = 0xffffffffu;
constexpr uint32_t kSharedBytes = 1024;
constexpr bool kSeesRaces =
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
    true;
#else
    false;
#endif

void RunThreads(uint32_t threads, std::function<void()> kernel,
                uint32_t blocks = 1) {
  RunLaunch({.grid = {blocks, 1, 1},
             .block = {threads, 1, 1},
             .shared_bytes = kSharedBytes,
             .kernel = std::move(kernel)});
}

// The launch ends the process with that line; or, if it only races, does so
// under the thread sanitizer.
#define EXPECT_TRAP(threads, kernel, line)           \
  do {                                               \
    GTEST_FLAG_SET(death_test_style, "threadsafe");  \
    EXPECT_DEATH(RunThreads(threads, kernel), line); \
  } while (false)
#define EXPECT_RACE(threads, kernel)                        \
  do {                                                      \
    if (!kSeesRaces) GTEST_SKIP() << "no thread sanitizer"; \
    EXPECT_TRAP(threads, kernel, "data race");              \
  } while (false)

TEST(MbarrierTest, CompletesWhenAllHaveArrivedAndAllBytesHaveLanded) {
  Mbarrier barrier = Mbarrier::WithArrivals(2);
  EXPECT_FALSE(barrier.HasCompleted(0));
  EXPECT_TRUE(barrier.HasCompleted(1));  // the one before the first
  bool completes = true;
  EXPECT_TRUE(barrier.Arrive(completes));
  EXPECT_FALSE(completes);
  EXPECT_FALSE(barrier.AddBytes(64));
  EXPECT_TRUE(barrier.Arrive(completes));
  EXPECT_FALSE(completes);
  EXPECT_FALSE(barrier.Arrive(completes));  // one too many
  EXPECT_TRUE(barrier.AddBytes(-64));
  EXPECT_TRUE(barrier.HasCompleted(0));
  EXPECT_FALSE(barrier.HasCompleted(1));
}

TEST(EmulationTest, WarpsFunctions) {
  std::vector<uint32_t> up(32), exchanged(32), from(32), most(32), ballot(32);
  RunThreads(32, [&] {
    const uint32_t lane = threadIdx.x;
    up[lane] = __shfl_up_sync(kWhole, lane, 4);
    exchanged[lane] = __shfl_xor_sync(kWhole, lane, 5);
    from[lane] = __shfl_sync(kWhole, 10 * lane, 7);
    most[lane] = __reduce_max_sync(kWhole, lane ^ 3);
    ballot[lane] = __ballot_sync(kWhole, lane % 3 == 0);
  });
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(up[lane], lane < 4 ? lane : lane - 4);
    EXPECT_EQ(exchanged[lane], lane ^ 5);
    EXPECT_EQ(from[lane], 70u);
    EXPECT_EQ(most[lane], 31u);
    EXPECT_EQ(ballot[lane], 0x49249249u);
  }
}

// Source of who holds what: PTX ISA, "mma.m16n8k16".
TEST(EmulationTest, ProductsOfTensorCores) {
  const auto a = [](uint32_t row, uint32_t k) { return 1.0f * row - k; };
  const auto b = [](uint32_t k, uint32_t column) { return 2.0f * k - column; };
  std::vector<float> product(16 * 8);
  RunThreads(32, [&] {
    const uint32_t group = threadIdx.x / 4, place = threadIdx.x % 4 * 2;
    const auto pair_of_a = [&](uint32_t row, uint32_t k) {
      return ptx::PackBf16(a(row, k), a(row, k + 1));
    };
    const uint4 words = {pair_of_a(group, place), pair_of_a(group + 8, place),
                         pair_of_a(group, place + 8),
                         pair_of_a(group + 8, place + 8)};
    const auto pair_of_b = [&](uint32_t k) {
      return ptx::PackBf16(b(k, group), b(k + 1, group));
    };
    float c[4] = {1, 1, 1, 1};
    ptx::MmaBf16(c, words, pair_of_b(place), pair_of_b(place + 8));
    for (uint32_t i = 0; i < 4; ++i) {
      product[(group + i / 2 * 8) * 8 + place + i % 2] = c[i];
    }
  });
  for (uint32_t row = 0; row < 16; ++row) {
    for (uint32_t column = 0; column < 8; ++column) {
      float sum = 1;
      for (uint32_t k = 0; k < 16; ++k) sum += a(row, k) * b(k, column);
      EXPECT_EQ(product[row * 8 + column], sum) << row << ", " << column;
    }
  }
}

TEST(EmulationTest, NamedBarriersOrderAndTellWhoSaysSo) {
  std::vector<uint32_t> sums(96);
  RunThreads(
      96,
      [&] {
        auto* values = reinterpret_cast<uint32_t*>(ptx::DynamicSharedMemory());
        values[threadIdx.x] = threadIdx.x;
        EXPECT_TRUE(ptx::SyncNamedOr(1, 96, threadIdx.x == 50));
        uint32_t sum = 0;
        for (uint32_t i = 0; i < 96; ++i) sum += values[i];
        if (blockIdx.x == 2) sums[threadIdx.x] = sum;
        EXPECT_FALSE(ptx::SyncNamedOr(1, 96, false));
      },
      3);
  EXPECT_THAT(sums, testing::Each(95u * 96 / 2));
}

// A copy of words that another thread has written just before.
std::function<void()> Copying(std::vector<uint4>& from, bool fence) {
  return [&from, fence] {
    auto* shared = reinterpret_cast<uint4*>(ptx::DynamicSharedMemory());
    auto* barriers = reinterpret_cast<uint64_t*>(shared + from.size());
    if (threadIdx.x == 0) {
      ptx::BarrierInit(&barriers[0], 1);
      ptx::BarrierInit(&barriers[1], 1);
    }
    ptx::SyncNamed(1, 64);
    const auto bytes = static_cast<uint32_t>(from.size() * sizeof(uint4));
    if (threadIdx.x == 32) {
      for (uint32_t i = 0; i < from.size(); ++i) from[i].y = i;
      ptx::BarrierArrive(&barriers[0]);
    }
    if (threadIdx.x == 0) {
      while (!ptx::BarrierTestWait(&barriers[0], 0)) {
      }
      if (fence) ptx::FenceProxyAsync();
      ptx::ExpectCopies(&barriers[1], bytes);
      ptx::CopyToShared(shared, from.data(), bytes, &barriers[1], 0);
      ptx::EndCopies(&barriers[1]);
    }
    while (!ptx::BarrierTestWait(&barriers[1], 0)) {
    }
    for (uint32_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(shared[i].y, i);
    }
  };
}

TEST(EmulationTest, CopiesLandWithTheirBarrier) {
  std::vector<uint4> from(16);
  RunThreads(64, Copying(from, /*fence=*/true));
}

TEST(EmulationDeathTest, ACopyOfWhatWasWrittenNeedsAFence) {
  std::vector<uint4> from(16);
  EXPECT_RACE(64, Copying(from, /*fence=*/false));
}

// Thread 0's word reaches thread 32 by `hand_over`.
std::function<void()> HandingOver(uint32_t& data, uint32_t& flag,
                                  bool release) {
  return [&data, &flag, release] {
    if (threadIdx.x == 0) {
      data = 5;
      (release ? ptx::AddReleaseGpu : ptx::AddRelaxedGpu)(&flag, 1);
    }
    if (threadIdx.x == 32) {
      while (ptx::LoadAcquireGpu(&flag) == 0) {
      }
      EXPECT_EQ(data, 5u);
    }
  };
}

TEST(EmulationTest, AReleaseOrders) {
  uint32_t data = 0, flag = 0;
  RunThreads(64, HandingOver(data, flag, /*release=*/true));
}

TEST(EmulationDeathTest, ARelaxedAdditionDoesNot) {
  uint32_t data = 0, flag = 0;
  EXPECT_RACE(64, HandingOver(data, flag, /*release=*/false));
}

TEST(EmulationDeathTest, AShuffleDoesNot) {
  uint32_t data = 0;
  EXPECT_RACE(32, [&] {
    if (threadIdx.x == 0) data = 5;
    __shfl_sync(kWhole, threadIdx.x, 0);
    EXPECT_EQ(data, 5u);
  });
}

TEST(EmulationDeathTest, LanesMustMeetAtTheSamePlace) {
  const auto kernel = [] {
    if (threadIdx.x == 3) {
      __any_sync(kWhole, true);
    } else {
      __any_sync(kWhole, false);
    }
  };
  EXPECT_TRAP(32, kernel,
              "emulated GPU: block 0, thread .*it is at .*:[0-9]+, "
              "other lanes of its warp wait at .*:[0-9]+");
}

TEST(EmulationDeathTest, WhoCanNotComeIsNamed) {
  const auto kernel = [] {
    if (threadIdx.x != 40) ptx::SyncNamed(1, 64);
  };
  EXPECT_TRAP(64, kernel, "it waits at a named barrier, and nobody else");
  const auto lane_leaves = [] {
    if (threadIdx.x != 5) __syncwarp();
  };
  EXPECT_TRAP(32, lane_leaves, "it waits for its warp at .*nobody else");
}

TEST(EmulationDeathTest, AddressesAreChecked) {
  const auto outside = [] {
    char* shared = ptx::DynamicSharedMemory();
    ptx::LoadSharedInOrder(reinterpret_cast<uint4*>(shared + kSharedBytes));
  };
  EXPECT_TRAP(1, outside, "outside of its shared memory");
  const auto odd = [] {
    char* shared = ptx::DynamicSharedMemory();
    ptx::LoadSharedInOrder(reinterpret_cast<uint4*>(shared + 8));
  };
  EXPECT_TRAP(1, odd, "not aligned");
}

TEST(EmulationDeathTest, BarriersAreCounted) {
  const auto kernel = [] {
    auto* barrier = reinterpret_cast<uint64_t*>(ptx::DynamicSharedMemory());
    ptx::BarrierInit(barrier, 1);
    ptx::ExpectCopies(barrier, 16);  // which never come
    ptx::BarrierArrive(barrier);
    ptx::BarrierArrive(barrier);
  };
  EXPECT_TRAP(1, kernel, "more arrive at an mbarrier");
}

TEST(EmulationDeathTest, ABlockMustNotLeaveItsCopies) {
  static uint4 from[64];
  const auto kernel = [] {
    auto* barrier = reinterpret_cast<uint64_t*>(ptx::DynamicSharedMemory());
    ptx::BarrierInit(barrier, 1);
    for (uint32_t i = 0; i < 32; ++i) {
      ptx::ExpectCopies(barrier, 16);
      ptx::CopyToShared(ptx::DynamicSharedMemory() + 16 + 16 * i, &from[i], 16,
                        barrier, 0);
    }
  };
  EXPECT_TRAP(1, kernel, "while copies to its shared memory are under way");
}

}  // namespace
}  // namespace mkvm::emulation
