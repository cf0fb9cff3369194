#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/dot.h"
#include "ops/op_context.h"
#include "ops/qk_norm_rope.h"

namespace mkvm::ops {
namespace {

// One split's slots of the cache, [positions, head_dim] each.
struct SplitCache {
  uint16_t* k;
  uint16_t* v;
  uint64_t positions;  // of [0, position] that this split holds
};

// The prologue: rotated q into `q_out`, and this position into the cache if
// this split owns it.
void NormRotateAndAppend(const isa::AttentionOperands& op, OpContext& context,
                         const SplitCache& cache, float* q_out) {
  const auto position = static_cast<uint64_t>(context.position);
  const uint64_t kv_offset = uint64_t{op.kv_head} * op.head_dim;
  const QkNormRopeInput in = {
      .q = context.f32(op.q) + kv_offset * op.group,
      .k = context.f32(op.k) + kv_offset,
      .v = context.f32(op.v) + kv_offset,
      .q_norm = context.bf16(op.q_norm),
      .k_norm = context.bf16(op.k_norm),
      .rope_row = context.f32(op.rope) + position * op.head_dim,
      .group = op.group,
      .head_dim = op.head_dim,
      .eps = op.eps,
  };
  NormAndRotateQ(in, q_out);
  const CachePlace place = PlaceOfPosition(position, op.block, op.splits);
  if (place.split == op.split) {
    const uint64_t offset = place.slot * op.head_dim;
    AppendKv(in, cache.k + offset, cache.v + offset);
  }
}

// scores[head, p] = q[head] . k[p] / sqrt(head_dim)
void ScorePositions(const isa::AttentionOperands& op, const SplitCache& cache,
                    const float* q, float* scores) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim));
  uint64_t p = 0;
  for (; p + kDotRows <= cache.positions; p += kDotRows) {
    const uint16_t* k = cache.k + p * op.head_dim;
    for (uint32_t head = 0; head < op.group; ++head) {
      float dots[kDotRows];
      DotRowsBf16(k, op.head_dim, q + uint64_t{head} * op.head_dim, op.head_dim,
                  dots);
      float* s = scores + head * cache.positions + p;
      for (size_t r = 0; r < kDotRows; ++r) s[r] = dots[r] * scale;
    }
  }
  for (; p < cache.positions; ++p) {
    const uint16_t* k = cache.k + p * op.head_dim;
    for (uint32_t head = 0; head < op.group; ++head) {
      scores[head * cache.positions + p] =
          DotBf16(k, q + uint64_t{head} * op.head_dim, op.head_dim) * scale;
    }
  }
}

// sum += weights . v over `positions` rows of v, in their order.
void AddWeighted(const uint16_t* v, const float* weights, uint64_t positions,
                 uint32_t head_dim, float* sum) {
  uint64_t p = 0;
  for (; p + kDotRows <= positions; p += kDotRows) {
    AddScaledRowsBf16(v + p * head_dim, head_dim, weights + p, head_dim, sum);
  }
  for (; p < positions; ++p) {
    AddScaledBf16(v + p * head_dim, weights[p], head_dim, sum);
  }
}

// Elements of part for one head.
uint64_t PartRow(const isa::AttentionOperands& op) {
  return uint64_t{op.head_dim} + 4;
}

// part[head] = {acc[head_dim], m, l, 0, 0}. m is rounded before the
// exponentials are taken, so that acc and l are relative to the m stored. The
// exponentials take the scores' place.
void WritePart(const isa::AttentionOperands& op, const SplitCache& cache,
               float* scores, float* part) {
  const uint64_t row = PartRow(op);
  std::fill(part, part + op.group * row, 0.0f);
  for (uint32_t head = 0; head < op.group; ++head) {
    float* s = scores + head * cache.positions;
    float* triple = part + head * row;
    float m = -std::numeric_limits<float>::infinity();
    for (uint64_t p = 0; p < cache.positions; ++p) m = std::max(m, s[p]);
    m = isa::RoundToF24(m);
    float l = 0.0f;
    for (uint64_t p = 0; p < cache.positions; ++p) {
      s[p] = std::exp(s[p] - m);
      l += s[p];
    }
    AddWeighted(cache.v, s, cache.positions, op.head_dim, triple);
    std::transform(triple, triple + op.head_dim, triple, isa::RoundToF24);
    triple[op.head_dim] = m;
    triple[op.head_dim + 1] = isa::RoundToF24(l);
  }
}

// y[head] = acc / l of the only part. acc and l are the rounded ones, and a
// merge of one part weighs it by exp(0) = 1, so it gives the same bits (of a
// zero, perhaps not the sign).
void WriteWhole(const isa::AttentionOperands& op, const float* part, float* y) {
  for (uint32_t head = 0; head < op.group; ++head) {
    const float* triple = part + head * PartRow(op);
    const float l = triple[op.head_dim + 1];
    std::transform(triple, triple + op.head_dim, y + head * op.head_dim,
                   [l](float acc) { return isa::RoundToF24(acc / l); });
  }
}

}  // namespace

absl::Status RunAttention(const isa::AttentionOperands& op,
                          OpContext& context) {
  if (absl::Status status =
          CheckPosition(context, op.k_cache, op.rope, op.splits);
      !status.ok()) {
    return status;
  }
  const bool alone = context.position < int64_t{op.alone};
  if (alone && op.split != 0) return absl::OkStatus();
  const uint64_t split_row = uint64_t{op.kv_head} * op.splits + op.split;
  const uint64_t offset =
      split_row * context.buffer(op.k_cache).shape[1] * op.head_dim;
  const SplitCache cache = {
      .k = context.bf16(op.k_cache) + offset,
      .v = context.bf16(op.v_cache) + offset,
      .positions = PositionsOfSplit(static_cast<uint64_t>(context.position),
                                    op.split, op.block, op.splits),
  };
  const uint64_t q_elements = uint64_t{op.group} * op.head_dim;
  const float* q = context.f32(op.q) + op.kv_head * q_elements;
  thread_local std::vector<float> rotated_q;
  if (op.prologue == isa::AttentionPrologue::kQkNormRope) {
    rotated_q.resize(q_elements);
    NormRotateAndAppend(op, context, cache, rotated_q.data());
    q = rotated_q.data();
  }
  thread_local std::vector<float> scores;
  scores.resize(op.group * cache.positions);
  ScorePositions(op, cache, q, scores.data());
  if (alone) {
    thread_local std::vector<float> part;
    part.resize(op.group * PartRow(op));
    WritePart(op, cache, scores.data(), part.data());
    WriteWhole(op, part.data(), context.f32(op.y) + op.kv_head * q_elements);
  } else {
    WritePart(op, cache, scores.data(),
              context.f32(op.part) + split_row * op.group * PartRow(op));
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
