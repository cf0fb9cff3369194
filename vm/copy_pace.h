// How fast a worker's loader copies weights and cache rows into its stages. A
// burst of copies makes all other accesses to memory wait, and what is polled
// is what everybody waits for; too few leave memory idle.
#ifndef MKVM_VM_COPY_PACE_H_
#define MKVM_VM_COPY_PACE_H_

#include <cstdint>

#include "isa/program.h"
#include "vm/gpu_machine.h"

namespace mkvm::vm {

// The time from one copy of a whole stage by a worker to its next one, in
// cycles of a multiprocessor's highest clock: that in which all workers
// together ask for a little more than memory nominally gives, and for more of
// that where most weights belong to gemvs of several chunks, which wait for
// them rather than for vectors (both by docs/performance.md). `num_stages`: of
// a worker's weight stream, at least 2. 0, no interval, if the driver doesn't
// tell memory's rate.
uint32_t CopyIntervalCycles(const GpuInfo& info, const isa::Program& program,
                            uint32_t num_stages);

}  // namespace mkvm::vm

#endif  // MKVM_VM_COPY_PACE_H_
