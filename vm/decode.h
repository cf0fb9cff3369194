// What the GPU machine makes of a program's instructions before it runs: all
// that depends on neither pass nor position is looked up once, here, so that
// the interpreter brings an instruction in by copying it.
#ifndef MKVM_VM_DECODE_H_
#define MKVM_VM_DECODE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/decoded_instruction.h"
#include "ops/device_buffer.h"
#include "vm/launch.h"

namespace mkvm::vm {

// The queues, one after the other. `buffers`: of each buffer of the program
// where it is. `num_stages`: of a worker's weight stream, at least 2.
// REQUIRES: isa::CheckRunnable(program).
std::vector<ops::DecodedInstruction> DecodeQueues(
    const isa::Program& program, absl::Span<const ops::DeviceBuffer> buffers,
    uint32_t num_stages);

// Where each queue is in that.
std::vector<QueueRange> QueueRangesOf(
    const isa::Program& program,
    absl::Span<const ops::DecodedInstruction> code);

}  // namespace mkvm::vm

#endif  // MKVM_VM_DECODE_H_
