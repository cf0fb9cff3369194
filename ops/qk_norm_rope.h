// What qk_norm_rope_append and the attention prologue share, so that the fused
// and the unfused program compute the same bits: the norm and rotation of a
// head, and where a position lives in the KV cache.
#ifndef MKVM_OPS_QK_NORM_ROPE_H_
#define MKVM_OPS_QK_NORM_ROPE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "ops/op_context.h"

namespace mkvm::ops {

// Position p lives in block b = p / block, which belongs to split b % splits
// and is that split's (b / splits)-th block.
struct CachePlace {
  uint64_t split;
  uint64_t slot;  // of that split, positions
};
CachePlace PlaceOfPosition(uint64_t position, uint32_t block, uint32_t splits);

// How many of the positions [0, position] belong to `split`; they are its
// slots [0, n).
uint64_t PositionsOfSplit(uint64_t position, uint32_t split, uint32_t block,
                          uint32_t splits);

// OutOfRange, naming the position, when the cache or the rope table does not
// hold it. `rope` may be kNoBuffer.
absl::Status CheckPosition(const OpContext& context, uint32_t k_cache,
                           uint32_t rope, uint32_t splits);

// out = rope(v / sqrt(mean(v^2) + eps) * norm), f32, not rounded. The rotation
// is the half-split form: element i pairs with element i + head_dim / 2.
// `rope_row`: head_dim / 2 cosines, then head_dim / 2 sines. REQUIRES:
// head_dim <= 256 and even; out does not overlap v.
void NormAndRotateHead(const float* v, const uint16_t* norm,
                       const float* rope_row, uint32_t head_dim, float eps,
                       float* out);

// The raw heads of one kv head and how to treat them: the operands that both
// opcodes have.
struct QkNormRopeInput {
  const float* q;          // [group, head_dim] of this kv head
  const float* k;          // [head_dim]
  const float* v;          // [head_dim]
  const uint16_t* q_norm;  // [head_dim]
  const uint16_t* k_norm;  // [head_dim]
  const float* rope_row;   // [head_dim] of this position
  uint32_t group;
  uint32_t head_dim;
  float eps;
};

// q_out = f24(norm and rotation of q), [group, head_dim].
void NormAndRotateQ(const QkNormRopeInput& in, float* q_out);

// Writes one position: the rotated k and the raw v as bf16, [head_dim] each.
void AppendKv(const QkNormRopeInput& in, uint16_t* k_slot, uint16_t* v_slot);

}  // namespace mkvm::ops

#endif  // MKVM_OPS_QK_NORM_ROPE_H_
