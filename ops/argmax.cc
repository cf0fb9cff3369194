#include "ops/op_context.h"
#include "ops/ranked.h"

namespace mkvm::ops {

absl::Status RunArgmax(const isa::ArgmaxOperands& op, OpContext& context) {
  const uint64_t best = BestRanked(context.ranked(op.x), op.n);
  *context.ranked(op.y) =
      isa::PackRanked(isa::ScoreOfRanked(best), isa::IndexOfRanked(best), 0);
  return absl::OkStatus();
}

}  // namespace mkvm::ops
