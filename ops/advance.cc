#include <cmath>

#include "absl/strings/str_format.h"
#include "ops/op_context.h"
#include "ops/ranked.h"

namespace mkvm::ops {

absl::Status RunAdvance(const isa::AdvanceOperands& op, OpContext& context) {
  const uint64_t best = BestRanked(context.ranked(op.best),
                                   context.buffer(op.best).num_elements());
  const int32_t* run = context.i32(op.run);
  const int64_t next = context.position + 1;
  const int64_t capacity =
      static_cast<int64_t>(context.buffer(op.tokens).num_elements());
  if (next < 1 || next >= capacity) {
    return absl::OutOfRangeError(
        absl::StrFormat("no room for the token at position %d: tokens holds %d",
                        next, capacity));
  }
  // Of a prompt token too: its KV entries would poison every later one.
  if (std::isnan(isa::ScoreOfRanked(best))) {
    return absl::FailedPreconditionError(
        absl::StrFormat("NaN in the logits at position %d (row %d)",
                        context.position, isa::IndexOfRanked(best)));
  }
  bool stop = next >= run[1];
  if (next >= run[0]) {
    const auto token = static_cast<int32_t>(isa::IndexOfRanked(best));
    context.i32(op.tokens)[next] = token;
    const int32_t* eos = context.i32(op.eos);
    const uint64_t num_eos = context.buffer(op.eos).num_elements();
    for (uint64_t i = 0; i < num_eos; ++i) stop |= eos[i] == token;
    if (context.on_token) context.on_token(next, token);
  }
  *context.i32(op.stop) = stop ? 1 : 0;
  return absl::OkStatus();
}

}  // namespace mkvm::ops
