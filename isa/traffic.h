// Bytes that an instruction reads from the large buffers.
#ifndef MKVM_ISA_TRAFFIC_H_
#define MKVM_ISA_TRAFFIC_H_

#include <cstdint>
#include <vector>

#include "isa/program.h"

namespace mkvm::isa {

// Bytes of weights that the instruction streams: the rows of a gemv, with the
// padding of panels. Vectors (norms, RoPE, a row of the embedding) are a few
// kilobytes that stay in cache: not counted.
uint64_t StreamedBytes(const std::vector<Buffer>& buffers,
                       const Instruction& instruction);

// Bytes of KV cache that the instruction reads in the pass at `position`.
uint64_t KvBytes(const Instruction& instruction, uint64_t position);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_TRAFFIC_H_
