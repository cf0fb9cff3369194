#include "absl/strings/str_format.h"
#include "ops/op_context.h"

namespace mkvm::ops {

absl::Status RunEmbed(const isa::EmbedOperands& op, OpContext& context) {
  const HostBuffer& table = context.buffer(op.table);
  const auto positions =
      static_cast<int64_t>(context.buffer(op.tokens).num_elements());
  if (context.position < 0 || context.position >= positions) {
    return absl::OutOfRangeError(
        absl::StrFormat("position %d is past the %d positions of tokens",
                        context.position, positions));
  }
  const int32_t token = context.i32(op.tokens)[context.position];
  const auto vocabulary = static_cast<int64_t>(table.shape[0]);
  if (token < 0 || token >= vocabulary) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "token %d at position %d is outside the vocabulary of %d", token,
        context.position, vocabulary));
  }
  // A bf16 value is an f24 value: nothing to round.
  const uint16_t* row = context.bf16(op.table) + token * table.shape[1];
  float* y = context.f32(op.y);
  for (uint32_t i = op.begin; i < op.begin + op.count; ++i) {
    y[i] = isa::FloatOfBf16Bits(row[i]);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
