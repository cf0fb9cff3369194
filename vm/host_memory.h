// The buffers of a program in host memory: allocation, binding, reading.
#ifndef MKVM_VM_HOST_MEMORY_H_
#define MKVM_VM_HOST_MEMORY_H_

#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/op_context.h"
#include "vm/machine.h"

namespace mkvm::vm {

// Of this machine, used or not.
uint64_t PhysicalMemoryBytes();

// Buffers start on a cache line of their own, except aliased weights, which
// lie where their owner put them. Memory is committed as it is touched.
class HostMemory {
 public:
  // Inputs, activations and state, all zero; weights come with Bind. `program`
  // outlives the memory. ResourceExhausted when what has to be allocated is
  // more than the machine has.
  static absl::StatusOr<HostMemory> Create(const isa::Program& program,
                                           bool alias_weights);

  // As Machine.
  absl::Status Bind(absl::string_view name, const HostTensor& tensor);
  absl::Status Read(absl::string_view name, absl::Span<char> out) const;

  // FailedPrecondition naming the first weight or input that is not bound, and
  // how many others there are.
  absl::Status CheckAllBound() const;

  absl::Span<const ops::HostBuffer> buffers() const { return buffers_; }

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };

  HostMemory(const isa::Program& program, bool alias_weights);

  // Makes buffer `id` zeroed memory of its own, unless it has that already.
  absl::Status Allocate(uint32_t id);

  const isa::Program* program_;
  bool alias_weights_;
  std::vector<std::unique_ptr<void, Free>> owned_;  // by buffer; may be null
  std::vector<ops::HostBuffer> buffers_;            // by buffer
  std::vector<bool> bound_;                         // by buffer
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_HOST_MEMORY_H_
