// What both machines do with tensors at load: checks and conversions.
#ifndef MKVM_VM_BIND_H_
#define MKVM_VM_BIND_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"
#include "vm/machine.h"

namespace mkvm::vm {

// The buffer of that name if `tensor` may be bound to it. Errors as
// Machine::Bind.
absl::StatusOr<uint32_t> FindBindable(const isa::Program& program,
                                      absl::string_view buffer,
                                      const HostTensor& tensor);

// Converts tensor elements [begin, begin + count) to `to`, writing `count`
// elements at `out` (f24 as rounded binary32). REQUIRES: FindBindable allowed
// the pair of dtypes.
void ConvertElements(const HostTensor& tensor, isa::DType to, uint64_t begin,
                     uint64_t count, void* out);

}  // namespace mkvm::vm

#endif  // MKVM_VM_BIND_H_
