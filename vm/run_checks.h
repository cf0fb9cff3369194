// What both machines do before and after a run.
#ifndef MKVM_VM_RUN_CHECKS_H_
#define MKVM_VM_RUN_CHECKS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "isa/program.h"
#include "vm/machine.h"

namespace mkvm::vm {

// The buffer of that name if it has `bytes` bytes in its program's dtype.
// NotFound, or InvalidArgument naming both sizes.
absl::StatusOr<uint32_t> FindReadable(const isa::Program& program,
                                      absl::string_view buffer, uint64_t bytes);

// FailedPrecondition naming the first weight or input that is not bound, and
// how many others there are. `bound`: one entry per buffer.
absl::Status CheckAllBound(const isa::Program& program,
                           const std::vector<bool>& bound);

// InvalidArgument naming the option that is out of range.
absl::Status CheckRunOptions(const RunOptions& options);

// Fills in what every trace says of its run: program, machine, position; and
// puts its events in order.
void CompleteTrace(const Machine& machine, const RunOptions& options,
                   trace::Trace& trace);

}  // namespace mkvm::vm

#endif  // MKVM_VM_RUN_CHECKS_H_
