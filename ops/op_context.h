// What an op sees when it runs on the CPU: its buffers, the position, and a
// place for generated tokens. Filled by the VM; owned here so that ops never
// include the VM.
#ifndef MKVM_OPS_OP_CONTEXT_H_
#define MKVM_OPS_OP_CONTEXT_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "isa/instruction.h"
#include "isa/program.h"

namespace mkvm::ops {

// A buffer in the CPU's memory, row-major whatever its layout. f24 elements
// are binary32 values whose low byte is zero (tags are a GPU matter: the CPU
// machine waits on counters); a store rounds with isa::RoundToF24.
struct HostBuffer {
  void* data = nullptr;
  isa::DType dtype = isa::DType::kF24;
  absl::Span<const uint64_t> shape;

  uint64_t num_elements() const {
    uint64_t n = 1;
    for (const uint64_t dim : shape) n *= dim;
    return n;
  }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data);
  }
};

class OpContext {
 public:
  // `buffers`: one per buffer of the program; outlives the context.
  explicit OpContext(absl::Span<const HostBuffer> buffers)
      : buffers_(buffers) {}

  // REQUIRES: id is a buffer of the program (not kNoBuffer).
  const HostBuffer& buffer(uint32_t id) const { return buffers_[id]; }

  // Shorthands. nullptr when the optional operand is not given.
  float* f32(uint32_t id) const { return Data<float>(id); }  // also f24
  uint16_t* bf16(uint32_t id) const { return Data<uint16_t>(id); }
  int32_t* i32(uint32_t id) const { return Data<int32_t>(id); }
  uint64_t* ranked(uint32_t id) const { return Data<uint64_t>(id); }

  int64_t position = 0;  // of this pass, tokens
  uint32_t pass = 0;     // since the launch, 0-based
  // Called by `advance` for every generated token with its position.
  std::function<void(int64_t position, int32_t token)> on_token;

 private:
  template <typename T>
  T* Data(uint32_t id) const {
    return id == isa::kNoBuffer ? nullptr : buffers_[id].As<T>();
  }

  absl::Span<const HostBuffer> buffers_;
};

// The CPU reference of every opcode, one per file ops/<op>.cc. Reads and
// writes exactly the regions of opcodes.def. Errors: only what depends on data
// (a NaN score, a token outside the table); the verifier has excluded the rest.
#define MKVM_OP(code, Name, name, synopsis) \
  absl::Status Run##Name(const isa::Name##Operands& op, OpContext& context);
#include "isa/opcodes.def"

// Runs one instruction: decodes its operands and calls the reference above.
absl::Status RunInstruction(const isa::Instruction& instruction,
                            OpContext& context);

}  // namespace mkvm::ops

#endif  // MKVM_OPS_OP_CONTEXT_H_
