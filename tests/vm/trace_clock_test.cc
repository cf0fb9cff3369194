#include "vm/trace_clock.h"

#include <gtest/gtest.h>

#include <vector>

namespace mkvm::vm {
namespace {

// Times since 1970, as the GPU's timer gives them: far beyond what a double
// holds to the nanosecond.
constexpr uint64_t kOrigin = 1795230000000000123u;
constexpr uint64_t kCycles = 987654321098765u;

ops::TraceSample Sample(uint64_t cycles, uint64_t ns) {
  return {.cycles = kCycles + cycles, .global_ns = kOrigin + ns};
}

TEST(ClockMapTest, DrawsALineThroughTwoSamples) {
  const std::vector<ops::TraceSample> samples = {Sample(0, 500),
                                                 Sample(2000, 1500)};
  const ClockMap clock(samples, kOrigin);
  EXPECT_DOUBLE_EQ(clock.NanosPerCycle(), 0.5);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles), 500);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles + 2), 501);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles + 2000), 1500);
  // Before the first and after the last.
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles - 1000), 0);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles + 3000), 2000);
  EXPECT_EQ(clock.LargestError(), 0);
}

TEST(ClockMapTest, FollowsAChangeOfTheRate) {
  const std::vector<ops::TraceSample> samples = {
      Sample(0, 0), Sample(1000, 1000), Sample(3000, 2000)};
  const ClockMap clock(samples, kOrigin);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles + 500), 500);
  EXPECT_DOUBLE_EQ(clock.NanosAt(kCycles + 2000), 1500);
  // The line between the first and the last has 666.7 ns at the second.
  EXPECT_NEAR(clock.LargestError(), 1000.0 / 6, 1e-6);
}

TEST(ClockMapTest, TwoWorkersMeetOnOneClock) {
  // The same moment, at another reading and another rate of the SM's clock.
  const std::vector<ops::TraceSample> a = {Sample(0, 100), Sample(100, 200)};
  const std::vector<ops::TraceSample> b = {Sample(7777, 0),
                                           Sample(7777 + 500, 250)};
  EXPECT_DOUBLE_EQ(ClockMap(a, kOrigin).NanosAt(kCycles + 50), 150);
  EXPECT_DOUBLE_EQ(ClockMap(b, kOrigin).NanosAt(kCycles + 7777 + 300), 150);
}

TEST(ToEventTest, PutsEveryTimeOnTheClock) {
  const std::vector<ops::TraceSample> samples = {Sample(0, 0),
                                                 Sample(1000, 2000)};
  const auto at = [](uint32_t cycles) {
    return static_cast<uint32_t>(kCycles + 100 + cycles);
  };
  const ops::TraceRecord record = {.fetched = kCycles + 100,
                                   .pass = 7,
                                   .pc = 3,
                                   .load_begin = at(10),
                                   .load_end = at(20),
                                   .visited = at(30),
                                   .waited = at(40),
                                   .poll_begin = at(50),
                                   .ready = at(60),
                                   .stage_ready = at(70),
                                   .done = at(80),
                                   .signaled = at(90),
                                   .stage_wait = 5,
                                   .operand_wait = 6,
                                   .last_wait = 2,
                                   .last_buffer = 9,
                                   .unused = 0};
  const trace::Event event = ToEvent(record, 12, ClockMap(samples, kOrigin));
  EXPECT_EQ(event.worker, 12u);
  EXPECT_EQ(event.pass, 7u);
  EXPECT_EQ(event.pc, 3u);
  EXPECT_EQ(event.fetched, 200);
  EXPECT_EQ(event.load_begin, 220);
  EXPECT_EQ(event.load_end, 240);
  EXPECT_EQ(event.visited, 260);
  EXPECT_EQ(event.waited, 280);
  EXPECT_EQ(event.poll_begin, 300);
  EXPECT_EQ(event.ready, 320);
  EXPECT_EQ(event.stage_ready, 340);
  EXPECT_EQ(event.done, 360);
  EXPECT_EQ(event.signaled, 380);
  EXPECT_EQ(event.stage_wait, 10);
  EXPECT_EQ(event.operand_wait, 12);
  EXPECT_EQ(event.last_wait, 1);
  EXPECT_EQ(event.last_buffer, 8u);
}

TEST(ToEventTest, TheLowerBitsOfTheClockMayGoRound) {
  const std::vector<ops::TraceSample> samples = {
      {.cycles = 0x1ffffff00u, .global_ns = kOrigin},
      {.cycles = 0x200000100u, .global_ns = kOrigin + 512}};
  ops::TraceRecord record = {};
  record.fetched = 0x1fffffff0u;
  record.visited = 0x11;
  record.done = 0x21;
  record.signaled = 0x31;
  const trace::Event event = ToEvent(record, 0, ClockMap(samples, kOrigin));
  EXPECT_EQ(event.fetched, 0xf0);
  EXPECT_EQ(event.visited, 0x111);
  EXPECT_EQ(event.signaled, 0x131);
}

TEST(ToEventTest, WhatDidNotHappenIsNever) {
  const std::vector<ops::TraceSample> samples = {Sample(0, 0),
                                                 Sample(1000, 2000)};
  ops::TraceRecord record = {};
  record.fetched = kCycles;
  record.visited = static_cast<uint32_t>(kCycles + 10);
  record.done = static_cast<uint32_t>(kCycles + 20);
  record.signaled = static_cast<uint32_t>(kCycles + 30);
  const trace::Event event = ToEvent(record, 0, ClockMap(samples, kOrigin));
  EXPECT_EQ(event.load_begin, trace::kNever);
  EXPECT_EQ(event.stage_ready, trace::kNever);
  EXPECT_EQ(event.poll_begin, trace::kNever);
  // Nothing to wait for, nothing to read: it began when it was visited.
  EXPECT_EQ(event.waited, event.visited);
  EXPECT_EQ(event.ready, event.visited);
  EXPECT_EQ(event.last_wait, -1);
  EXPECT_EQ(event.last_buffer, isa::kNoBuffer);
}

}  // namespace
}  // namespace mkvm::vm
