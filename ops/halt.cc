#include "ops/op_context.h"

namespace mkvm::ops {

// Leaving the program or starting the next pass is the machine's: it reads
// stop[0] itself, once per pass, when every queue has reached its halt.
absl::Status RunHalt(const isa::HaltOperands&, OpContext&) {
  return absl::OkStatus();
}

}  // namespace mkvm::ops
