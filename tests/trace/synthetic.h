// Traces made up for tests, with the order that a real machine would show.
#ifndef MKVM_TESTS_TRACE_SYNTHETIC_H_
#define MKVM_TESTS_TRACE_SYNTHETIC_H_

#include <cstdint>

#include "isa/program.h"
#include "trace/trace.h"

namespace mkvm::trace {

// `passes` passes of the program from position `position` on: every wait is
// kept, durations follow the bytes read, with a spread that is the same in
// every run. All fields are set. REQUIRES: a program that isa::Verify accepts.
Trace SyntheticTrace(isa::Program program, uint32_t passes, int64_t position);

// Two workers; worker 1 waits for worker 0 by a counter and by tagged data.
// Labels hold `label`, as every name of a program may.
Trace TinyTrace(const std::string& label);

}  // namespace mkvm::trace

#endif  // MKVM_TESTS_TRACE_SYNTHETIC_H_
