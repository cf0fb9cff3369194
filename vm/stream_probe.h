// How fast a machine reads memory when it does nothing else: the floor that
// decoding is held against.
#ifndef MKVM_VM_STREAM_PROBE_H_
#define MKVM_VM_STREAM_PROBE_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace mkvm::vm {

// All probes read one buffer of `bytes` (choose it far larger than the caches)
// `repeats` times after a warm-up and give the median, in GB/s (1e9 bytes).

// `workers` blocks, each with a ring of `stages` stages of isa::kStageBytes
// that bulk copies fill, as the interpreter's loader does. Errors: Unavailable
// without a GPU; ResourceExhausted when the buffer does not fit its memory.
absl::StatusOr<double> ProbeGpuStream(int device, uint32_t workers,
                                      uint32_t stages, uint64_t bytes,
                                      int repeats);

// `threads` threads, each of which adds up its share. ResourceExhausted when
// the buffer does not fit.
absl::StatusOr<double> ProbeCpuStream(int threads, uint64_t bytes, int repeats);

}  // namespace mkvm::vm

#endif  // MKVM_VM_STREAM_PROBE_H_
