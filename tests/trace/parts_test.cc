#include "trace/parts.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/trace/synthetic.h"

namespace mkvm::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

TEST(VisitsTest, SplitsAVisitAtItsTimes) {
  const Trace trace = TinyTrace("");
  // wait, load, operand wait, compute, stage wait, compute, signal: the stage
  // wait of 200 ends at stage_ready.
  EXPECT_THAT(Visits(trace)[2].at,
              ElementsAre(300, 2600, 2900, 2950, 3000, 3200, 4000, 4100));
}

TEST(VisitsTest, TakesTheNextTimeForOneThatWasNotRecorded) {
  Trace trace = TinyTrace("");
  trace.events = {{.visited = 10, .done = 50, .signaled = 60}};
  EXPECT_THAT(Visits(trace)[0].at, ElementsAre(10, 10, 10, 10, 10, 10, 50, 60));
  trace.events = {{}};
  EXPECT_THAT(Visits(trace)[0].at, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(VisitsTest, NeverOverlapsOrDescends) {
  Trace trace = TinyTrace("");
  // The second is visited while the first computes; its own times are in
  // disorder, and its waits are longer than all of it.
  trace.events = {{.visited = 100,
                   .waited = 120,
                   .ready = 150,
                   .done = 300,
                   .signaled = 900},
                  {.pc = 1,
                   .visited = 200,
                   .waited = 800,
                   .poll_begin = 700,
                   .ready = 250,
                   .stage_ready = 5000,
                   .done = 400,
                   .signaled = 350,
                   .stage_wait = 10000,
                   .operand_wait = 10000}};
  const std::vector<Visit> visits = Visits(trace);
  EXPECT_EQ(visits[0].end(), 300);  // not 900: the next has been visited
  EXPECT_EQ(visits[1].begin(), 300);
  EXPECT_EQ(visits[1].end(), 400);
  for (const Visit& visit : visits) {
    EXPECT_TRUE(std::is_sorted(visit.at.begin(), visit.at.end()));
  }
}

TEST(RateOfReadsTest, KeepsTheBytes) {
  const Trace trace = TinyTrace("");  // 3000 bytes in 20..4000
  for (const size_t bins : {1, 2, 7, 100, 100000}) {
    const ReadRate rate = RateOfReads(trace, bins, 1);
    EXPECT_LE(rate.gb_per_s.size(), bins);
    const double bytes =
        std::accumulate(rate.gb_per_s.begin(), rate.gb_per_s.end(), 0.0) *
        static_cast<double>(rate.bin_ns);
    EXPECT_NEAR(bytes, 3000, 0.1) << bins;
  }
}

TEST(RateOfReadsTest, SpreadsThemOverTheirTime) {
  const ReadRate rate = RateOfReads(TinyTrace(""), 10, 1000);
  EXPECT_EQ(rate.bin_ns, 1000);
  // 3981 ns in all.
  EXPECT_THAT(rate.gb_per_s,
              ElementsAre(FloatEq(3 * 980 / 3981.0), FloatEq(3000 / 3981.0),
                          FloatEq(3000 / 3981.0), FloatEq(3000 / 3981.0),
                          FloatEq(3 / 3981.0)));
}

TEST(RateOfReadsTest, TakesAnEmptyTrace) {
  const ReadRate rate = RateOfReads(Trace(), 10, 1000);
  EXPECT_THAT(rate.gb_per_s, ElementsAre(0));
}

}  // namespace
}  // namespace mkvm::trace
