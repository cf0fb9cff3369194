#include "tests/vm/trace_checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

namespace mkvm::vm {
namespace {

using trace::Event;
using trace::kNever;
using trace::Nanos;

std::string Place(const trace::Trace& trace, const Event& event) {
  return trace::Name(trace, event) + " on worker " +
         std::to_string(event.worker) + " in pass " +
         std::to_string(event.pass);
}

// When the last producer of each counter was done, by counter and pass.
std::map<std::pair<uint32_t, uint32_t>, Nanos> LastDone(
    const trace::Trace& trace) {
  std::map<std::pair<uint32_t, uint32_t>, Nanos> last;
  for (const Event& event : trace.events) {
    const uint32_t signal = trace.program.queues[event.worker][event.pc].signal;
    if (signal == isa::kNoCounter) continue;
    Nanos& done = last.try_emplace({signal, event.pass}, 0).first->second;
    done = std::max(done, event.done);
  }
  return last;
}

void ExpectTimesAscend(const trace::Trace& trace, const Event& event) {
  Nanos before = event.fetched;
  for (const Nanos time :
       {event.visited, event.waited, event.ready, event.done, event.signaled}) {
    EXPECT_GE(time, before) << Place(trace, event);
    before = time;
  }
  for (const Nanos time : {event.poll_begin, event.stage_ready}) {
    if (time == kNever) continue;
    EXPECT_GE(time, event.visited) << Place(trace, event);
    EXPECT_LE(time, event.done) << Place(trace, event);
  }
  EXPECT_EQ(event.load_begin == kNever, event.load_end == kNever);
  EXPECT_GE(event.load_end, event.load_begin) << Place(trace, event);
  EXPECT_LE(event.load_end, event.done) << Place(trace, event);
  EXPECT_GE(event.stage_wait, 0);
  EXPECT_GE(event.operand_wait, 0);
  EXPECT_LE(event.stage_wait + event.operand_wait,
            event.done - event.visited + 2)
      << Place(trace, event);
}

}  // namespace

void ExpectComplete(const trace::Trace& trace, uint32_t first_pass,
                    uint32_t end_pass) {
  EXPECT_EQ(trace.dropped, 0u);
  EXPECT_EQ(trace.first_pass, first_pass);
  EXPECT_EQ(trace.num_passes, end_pass - first_pass);
  size_t next = 0;
  for (uint32_t w = 0; w < trace.program.num_workers(); ++w) {
    for (uint32_t pass = first_pass; pass < end_pass; ++pass) {
      for (uint32_t pc = 0; pc < trace.program.queues[w].size(); ++pc) {
        ASSERT_LT(next, trace.events.size());
        const Event& event = trace.events[next++];
        ASSERT_EQ(event.worker, w);
        ASSERT_EQ(event.pass, pass);
        ASSERT_EQ(event.pc, pc);
      }
    }
  }
  EXPECT_EQ(next, trace.events.size());
}

void ExpectOrdered(const trace::Trace& trace, Nanos slack) {
  const auto last_done = LastDone(trace);
  const Event* before = nullptr;
  for (const Event& event : trace.events) {
    ExpectTimesAscend(trace, event);
    if (before != nullptr && before->worker == event.worker) {
      EXPECT_GE(event.visited, before->signaled) << Place(trace, event);
    }
    before = &event;
    const isa::Instruction& instruction =
        trace.program.queues[event.worker][event.pc];
    for (int i = 0; i < instruction.num_waits; ++i) {
      if (instruction.WaitIsLagged(i) && event.pass == 0) continue;
      const uint32_t pass = event.pass - (instruction.WaitIsLagged(i) ? 1 : 0);
      const auto done = last_done.find({instruction.waits[i].counter, pass});
      if (done == last_done.end()) continue;  // outside the window
      // Tagged data may be there before its producer's body has ended; then
      // the instruction is done with them a little earlier than it.
      constexpr Nanos kStoreToDone = 2000;
      const Nanos early = instruction.WaitIsTagged(i) ? kStoreToDone : 0;
      EXPECT_GE(event.ready + slack + early, done->second)
          << Place(trace, event) << " waits for "
          << trace.program.counters[instruction.waits[i].counter].name;
    }
  }
}

}  // namespace mkvm::vm
