#include "vm/access_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace mkvm::vm {
namespace {

TEST(Join, TakesTheLaterOfEach) {
  VectorClock clock = {1, 5, 0};
  Join({2, 3, 0}, clock);
  EXPECT_EQ(clock, (VectorClock{2, 5, 0}));
}

TEST(AccessHistory, NothingRacesWithUntouchedElements) {
  AccessHistory history(10, 2);
  EXPECT_FALSE(history.Read(0, 10, {0, 1}, {1, 0}).has_value());
  EXPECT_FALSE(history.Read(3, 5, {1, 1}, {0, 1}).has_value());
}

TEST(AccessHistory, FindsTheElementsWrittenWithoutOrder) {
  AccessHistory history(10, 2);
  ASSERT_FALSE(history.Write(2, 5, {0, 1}, {1, 0}).has_value());
  const auto race = history.Read(0, 10, {1, 1}, {0, 1});
  ASSERT_TRUE(race.has_value());
  EXPECT_EQ(race->begin, 2u);
  EXPECT_EQ(race->end, 5u);
  EXPECT_EQ(race->other.worker, 0u);
  EXPECT_TRUE(race->other_writes);
  // With the order known it is no race.
  EXPECT_FALSE(history.Read(0, 10, {1, 2}, {1, 2}).has_value());
}

TEST(AccessHistory, FindsAReaderThatAWriteDoesNotWaitFor) {
  AccessHistory history(10, 3);
  ASSERT_FALSE(history.Read(0, 4, {0, 7}, {7, 0, 0}).has_value());
  ASSERT_FALSE(history.Read(2, 8, {1, 9}, {0, 9, 0}).has_value());
  const auto race = history.Write(0, 10, {2, 1}, {7, 8, 1});
  ASSERT_TRUE(race.has_value());
  EXPECT_EQ(race->begin, 2u);
  EXPECT_EQ(race->other.worker, 1u);
  EXPECT_EQ(race->other.step, 9u);
  EXPECT_FALSE(race->other_writes);
}

TEST(AccessHistory, TellsWritersInOrder) {
  AccessHistory history(10, 2);
  history.Write(2, 6, {0, 1}, {1, 0});
  history.Write(4, 9, {1, 1}, {1, 1});
  const auto writers = history.Writers(1, 7);
  ASSERT_EQ(writers.size(), 3u);
  EXPECT_EQ(writers[0].begin, 1u);
  EXPECT_EQ(writers[0].end, 2u);
  EXPECT_EQ(writers[0].writer.step, 0u);
  EXPECT_EQ(writers[1].end, 4u);
  EXPECT_EQ(writers[1].writer.worker, 0u);
  EXPECT_EQ(writers[2].begin, 4u);
  EXPECT_EQ(writers[2].end, 7u);
  EXPECT_EQ(writers[2].writer.worker, 1u);
}

// The same history kept element by element.
class Naive {
 public:
  explicit Naive(uint64_t elements) : elements_(elements) {}

  // The first element whose history races with the access.
  std::optional<uint64_t> Access(bool write, uint64_t begin, uint64_t end,
                                 const Actor& actor, const VectorClock& clock) {
    std::optional<uint64_t> race;
    for (uint64_t i = begin; i < end; ++i) {
      Element& e = elements_[i];
      bool races = !HappensBefore(e.writer, clock);
      if (write) {
        for (const Actor& r : e.readers) races |= !HappensBefore(r, clock);
        e.writer = actor;
        e.readers.clear();
      } else {
        e.readers.push_back(actor);
      }
      if (races && !race.has_value()) race = i;
    }
    return race;
  }

 private:
  struct Element {
    Actor writer;
    std::vector<Actor> readers;
  };
  std::vector<Element> elements_;
};

TEST(AccessHistory, AgreesWithAnElementwiseHistory) {
  constexpr uint64_t kElements = 40;
  constexpr uint32_t kWorkers = 4;
  int races = 0;
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    AccessHistory history(kElements, kWorkers);
    Naive naive(kElements);
    std::vector<VectorClock> clocks(kWorkers, VectorClock(kWorkers, 0));
    for (int n = 0; n < 400; ++n) {
      const uint32_t w = random() % kWorkers;
      if (random() % 2 != 0) Join(clocks[random() % kWorkers], clocks[w]);
      const Actor actor = {w, ++clocks[w][w]};
      uint64_t begin = random() % kElements;
      uint64_t end = random() % kElements;
      if (begin > end) std::swap(begin, end);
      ++end;
      const bool write = random() % 3 == 0;
      const auto race = write ? history.Write(begin, end, actor, clocks[w])
                              : history.Read(begin, end, actor, clocks[w]);
      const auto expected = naive.Access(write, begin, end, actor, clocks[w]);
      ASSERT_EQ(race.has_value(), expected.has_value())
          << "seed " << seed << ", access " << n;
      if (race.has_value()) {
        EXPECT_EQ(race->begin, *expected);
        ++races;
      }
    }
  }
  EXPECT_GT(races, 100);
}

}  // namespace
}  // namespace mkvm::vm
