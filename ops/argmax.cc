#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunArgmax(const isa::ArgmaxOperands& op, OpContext& context) {
  const uint64_t* x = context.ranked(op.x);
  float score = isa::ScoreOfRanked(x[0]);
  uint32_t index = isa::IndexOfRanked(x[0]);
  for (uint32_t i = 1; i < op.n; ++i) {
    const float other_score = isa::ScoreOfRanked(x[i]);
    const uint32_t other_index = isa::IndexOfRanked(x[i]);
    if (isa::RanksBefore(other_score, other_index, score, index)) {
      score = other_score;
      index = other_index;
    }
  }
  *context.ranked(op.y) = isa::PackRanked(score, index, 0);
  return absl::OkStatus();
}

}  // namespace mkvm::ops
