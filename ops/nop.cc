#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunNop(const isa::NopOperands&, OpContext&) {
  return absl::OkStatus();
}

}  // namespace mkvm::ops
