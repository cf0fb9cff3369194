// A trace that can be checked by hand: two workers make the halves of a
// vector, a third adds each half to itself.
#ifndef MKVM_TESTS_TRACE_HAND_TRACE_H_
#define MKVM_TESTS_TRACE_HAND_TRACE_H_

#include <string>

#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "trace/trace.h"

namespace mkvm::trace {

// Times of a visit that was ready when its counters had been seen.
inline Event MakeEvent(uint32_t worker, uint32_t pass, uint32_t pc,
                       Nanos visited, Nanos waited, Nanos ready, Nanos done,
                       Nanos signaled) {
  Event e;
  e.worker = worker;
  e.pass = pass;
  e.pc = pc;
  e.visited = visited;
  e.waited = waited;
  e.ready = ready;
  e.done = done;
  e.signaled = signaled;
  return e;
}

// `transport`: "" or " tagged", of the waits for `made`.
inline isa::Program HandProgram(const std::string& transport = "") {
  const std::string text = R"(
program hand
buffer c f24 [4] state
buffer a f24 [4] activation
buffer b f24 [4] activation
counter made
counter used

worker 0
  L00.up[0]: add a=c b=c y=a begin=0 count=2 wait(used lag) signal(made)
  halt[0]: halt

worker 1
  L00.up[1]: add a=c b=c y=a begin=2 count=2 wait(used lag) signal(made)
  halt[1]: halt

worker 2
  L00.down[0]: add a=a b=a y=b begin=0 count=2 wait(made@) signal(used)
  L00.down[1]: add a=a b=a y=b begin=2 count=2 wait(made@) signal(used)
  halt[2]: halt
)";
  std::string program = text;
  for (size_t at; (at = program.find('@')) != std::string::npos;) {
    program.replace(at, 1, transport);
  }
  absl::StatusOr<isa::Program> assembled = isa::Assemble(program);
  EXPECT_TRUE(assembled.ok()) << assembled.status();
  return *std::move(assembled);
}

// `passes` alike passes, 400 ns apart. The first lasts from 0 to 352.
inline Trace HandTrace(uint32_t passes = 1) {
  Trace trace;
  trace.program = HandProgram();
  trace.machine = "three hands";
  for (uint32_t p = 0; p < passes; ++p) {
    const Nanos t = Nanos{400} * p;
    const auto add = [&](uint32_t worker, uint32_t pc, Nanos visited,
                         Nanos waited, Nanos ready, Nanos done,
                         Nanos signaled) {
      trace.events.push_back(MakeEvent(worker, p, pc, t + visited, t + waited,
                                       t + ready, t + done, t + signaled));
    };
    add(0, 0, 0, 0, 10, 110, 120);
    add(0, 1, 125, 125, 125, 127, 128);
    add(1, 0, 0, 0, 10, 210, 220);
    trace.events.back().bytes = 210;
    add(1, 1, 225, 225, 225, 227, 228);
    add(2, 0, 5, 150, 160, 200, 205);
    add(2, 1, 210, 260, 275, 335, 340);
    trace.events.back().stage_wait = 20;
    add(2, 2, 350, 350, 350, 352, 353);
  }
  Normalize(trace);
  return trace;
}

}  // namespace mkvm::trace

#endif  // MKVM_TESTS_TRACE_HAND_TRACE_H_
