// What is true of every trace that a machine records.
#ifndef MKVM_TESTS_VM_TRACE_CHECKS_H_
#define MKVM_TESTS_VM_TRACE_CHECKS_H_

#include "trace/trace.h"

namespace mkvm::vm {

// Fails the test unless `trace` holds every instruction of the passes
// [first_pass, end_pass) once, in order of worker, pass and pc.
void ExpectComplete(const trace::Trace& trace, uint32_t first_pass,
                    uint32_t end_pass);

// Fails the test unless every visit's times are in the order that
// trace/trace.h states, each worker's visits follow each other, and nothing
// that waits for a counter goes on before its last producer's `done`; `slack`
// is how far two workers' clocks may be apart.
void ExpectOrdered(const trace::Trace& trace, trace::Nanos slack);

}  // namespace mkvm::vm

#endif  // MKVM_TESTS_VM_TRACE_CHECKS_H_
