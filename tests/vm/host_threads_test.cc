#include "vm/host_threads.h"

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mkvm::vm {
namespace {

class HostThreadsTest : public testing::TestWithParam<int> {};

TEST_P(HostThreadsTest, EveryElementIsInOnePiece) {
  HostThreads threads(GetParam());
  // Calls one after the other, of more, as many and fewer steps than threads.
  for (const uint64_t count : {1000, 0, 1, 7, 64, 65}) {
    for (const uint64_t step : {1, 8, 100}) {
      std::vector<int> touched(count, 0);
      threads.Split(count, step, [&](uint64_t begin, uint64_t end) {
        EXPECT_EQ(begin % step, 0u);
        EXPECT_TRUE(end == count || end % step == 0);
        for (uint64_t i = begin; i < end; ++i) ++touched[i];
      });
      EXPECT_EQ(touched, std::vector<int>(count, 1));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, HostThreadsTest, testing::Values(1, 2, 5));

TEST(HostThreads, PiecesRunAtTheSameTime) {
  HostThreads threads(3);
  std::atomic<int> arrived = 0;
  threads.Split(3, 1, [&](uint64_t, uint64_t) {
    ++arrived;
    // Forever, if one thread did all pieces.
    while (arrived != 3) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 3);
}

}  // namespace
}  // namespace mkvm::vm
