// Programs of one attention instruction, and what it is to give, in double.
#ifndef MKVM_TESTS_OPS_ATTENTION_ORACLE_H_
#define MKVM_TESTS_OPS_ATTENTION_ORACLE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops::attention_testing {

using isa::AttentionPrologue;
using isa::DType;

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Geometry {
  uint32_t kv_heads, group, head_dim, splits, block;
  uint64_t capacity;  // of a split, positions
};

inline constexpr Geometry kGeometries[] = {
    {1, 1, 8, 1, 8, 16},    {2, 2, 64, 3, 4, 12},    {2, 8, 128, 4, 8, 40},
    {2, 16, 16, 2, 1, 7},   {1, 3, 24, 5, 16, 16},   {1, 2, 128, 1, 8, 200},
    {2, 1, 256, 2, 8, 8},   {2, 3, 128, 2, 64, 192}, {1, 5, 128, 1, 8, 136},
    {1, 16, 128, 2, 8, 72}, {1, 2, 128, 1, 64, 384},
};

struct Attention {
  OpProgram program;
  isa::AttentionOperands op;
  Geometry geometry;
  int64_t position;

  size_t part_begin() const {  // of the kv head and split
    return (uint64_t{op.kv_head} * op.splits + op.split) * op.group *
           (op.head_dim + 4);
  }
  // {acc, m, l, 0, 0} of one head.
  std::vector<float> Triple(uint32_t member) const {
    const std::vector<float> part = program.Floats(op.part);
    const auto begin =
        part.begin() +
        static_cast<ptrdiff_t>(part_begin() + member * (op.head_dim + 4));
    return {begin, begin + op.head_dim + 4};
  }
};

// The split and slot of each position, found by dealing out blocks like cards.
inline std::vector<std::pair<uint32_t, uint64_t>> Deal(const Geometry& g) {
  std::vector<std::pair<uint32_t, uint64_t>> places;
  std::vector<uint64_t> used(g.splits, 0);
  uint32_t split = 0;
  for (uint64_t p = 0; p < g.splits * g.capacity; ++p) {
    if (p > 0 && p % g.block == 0) split = (split + 1) % g.splits;
    places.emplace_back(split, used[split]++);
  }
  return places;
}

// Fills a cache with random values up to `position`, and with NaN where
// nothing has been appended yet: whoever reads that is seen.
inline void SetCache(Attention& attention, uint32_t cache, uint32_t seed,
                     int64_t filled) {
  OpProgram& p = attention.program;
  const Geometry& g = attention.geometry;
  p.SetRandom(cache, seed);
  std::vector<float> values = p.Floats(cache);
  const auto places = Deal(g);
  for (size_t position = filled; position < places.size(); ++position) {
    for (uint32_t head = 0; head < g.kv_heads; ++head) {
      const uint64_t row = uint64_t{head} * g.splits + places[position].first;
      const uint64_t slot = row * g.capacity + places[position].second;
      std::fill_n(values.begin() + static_cast<ptrdiff_t>(slot * g.head_dim),
                  g.head_dim, std::nanf(""));
    }
  }
  p.Set(cache, values);
}

inline Attention MakeAttention(
    const Geometry& g, uint32_t kv_head, uint32_t split, int64_t position,
    AttentionPrologue prologue = AttentionPrologue::kNone) {
  Attention attention{
      .program = {}, .op = {}, .geometry = g, .position = position};
  OpProgram& p = attention.program;
  isa::AttentionOperands& op = attention.op;
  const bool raw = prologue == AttentionPrologue::kQkNormRope;
  const uint64_t rows = uint64_t{g.kv_heads} * g.splits;
  const uint64_t kv_elements = uint64_t{g.kv_heads} * g.head_dim;
  op.q = p.Input("q", DType::kF24, {kv_elements * g.group});
  p.SetRandom(op.q, 1, 2.0f);
  if (raw) {
    op.k = p.Input("k", DType::kF24, {kv_elements});
    op.v = p.Input("v", DType::kF24, {kv_elements});
    op.q_norm = p.Weight("q_norm", DType::kBf16, {g.head_dim});
    op.k_norm = p.Weight("k_norm", DType::kBf16, {g.head_dim});
    op.rope = p.Weight("rope", DType::kF32,
                       {g.splits * g.capacity, uint64_t{g.head_dim}});
    p.SetRandom(op.k, 2, 2.0f);
    p.SetRandom(op.v, 3);
    p.SetRandom(op.q_norm, 4, 0.5f, 1.0f);
    p.SetRandom(op.k_norm, 5, 0.5f, 1.0f);
    p.SetRandom(op.rope, 6);
    op.eps = 1e-6f;
  }
  op.k_cache = p.State("k_cache", DType::kBf16, {rows, g.capacity, g.head_dim});
  op.v_cache = p.State("v_cache", DType::kBf16, {rows, g.capacity, g.head_dim});
  op.part = p.Output("part", DType::kF24,
                     {g.kv_heads, g.splits, g.group, g.head_dim + 4});
  op.kv_head = kv_head;
  op.group = g.group;
  op.head_dim = g.head_dim;
  op.split = split;
  op.splits = g.splits;
  op.block = g.block;
  op.prologue = prologue;
  const int64_t filled = raw ? position : position + 1;
  SetCache(attention, op.k_cache, 7, filled);
  SetCache(attention, op.v_cache, 8, filled);
  p.Append(op);
  return attention;
}

// The same of a split that does nothing below position `alone`, or of split 0
// that then does all; its op.y is an output.
inline Attention MakeAloneAttention(
    const Geometry& g, uint32_t kv_head, uint32_t split, int64_t position,
    uint32_t alone, AttentionPrologue prologue = AttentionPrologue::kNone) {
  Attention attention = MakeAttention(g, kv_head, split, position, prologue);
  OpProgram& p = attention.program;
  attention.op.alone = alone;
  if (split == 0) {
    attention.op.y = p.Output("y", DType::kF24,
                              {uint64_t{g.kv_heads} * g.group * g.head_dim});
  }
  p.ClearInstructions();
  p.Append(attention.op);
  return attention;
}

// The merges of one kv head's parts into y.
inline void AppendMerges(Attention& attention, uint32_t y) {
  const Geometry& g = attention.geometry;
  for (uint32_t member = 0; member < g.group; ++member) {
    attention.program.Append(
        isa::AttentionMergeOperands{.part = attention.op.part,
                                    .y = y,
                                    .kv_head = attention.op.kv_head,
                                    .group = g.group,
                                    .member = member,
                                    .head_dim = g.head_dim,
                                    .splits = g.splits,
                                    .begin = 0,
                                    .count = g.head_dim});
  }
}

// Scores, weights and sums of one head over some positions.
struct Softmax {
  double max = -kInfinity;
  double sum = 0;
  std::vector<double> acc;
  std::vector<double> magnitude;  // sum of |weight * v|
  double score_error = 0;         // that binary32 may make
};

// Over the positions [0, position] of the split, or of all splits.
inline Softmax Oracle(const Attention& attention, uint32_t member,
                      bool all_splits) {
  const OpProgram& p = attention.program;
  const isa::AttentionOperands& op = attention.op;
  const Geometry& g = attention.geometry;
  const std::vector<double> q = p.Doubles(op.q);
  const std::vector<double> k = p.Doubles(op.k_cache);
  const std::vector<double> v = p.Doubles(op.v_cache);
  const size_t q_begin = (uint64_t{op.kv_head} * g.group + member) * g.head_dim;
  const auto places = Deal(g);

  Softmax softmax;
  softmax.acc.assign(g.head_dim, 0);
  softmax.magnitude.assign(g.head_dim, 0);
  std::vector<std::pair<size_t, double>> scores;  // where in the cache, score
  for (int64_t position = 0; position <= attention.position; ++position) {
    const auto [split, slot] = places[static_cast<size_t>(position)];
    if (!all_splits && split != op.split) continue;
    const uint64_t row = uint64_t{op.kv_head} * g.splits + split;
    const size_t begin = (row * g.capacity + slot) * g.head_dim;
    double dot = 0, magnitude = 0;
    for (uint32_t i = 0; i < g.head_dim; ++i) {
      dot += q[q_begin + i] * k[begin + i];
      magnitude += std::abs(q[q_begin + i] * k[begin + i]);
    }
    const double root = std::sqrt(static_cast<double>(g.head_dim));
    scores.emplace_back(begin, dot / root);
    softmax.max = std::max(softmax.max, dot / root);
    softmax.score_error =
        std::max(softmax.score_error, 0x1p-20 * magnitude / root);
  }
  for (const auto& [begin, score] : scores) {
    const double weight = std::exp(score - softmax.max);
    softmax.sum += weight;
    for (uint32_t i = 0; i < g.head_dim; ++i) {
      softmax.acc[i] += weight * v[begin + i];
      softmax.magnitude[i] += std::abs(weight * v[begin + i]);
    }
  }
  return softmax;
}

// `part` may be relative to any maximum near the true one, as long as acc, m
// and l fit together.
inline void ExpectMatchesOracle(const Attention& attention) {
  const uint32_t n = attention.op.head_dim;
  for (uint32_t member = 0; member < attention.op.group; ++member) {
    SCOPED_TRACE(testing::Message() << "member " << member);
    const std::vector<float> triple = attention.Triple(member);
    const Softmax want = Oracle(attention, member, /*all_splits=*/false);
    const double m = triple[n];
    EXPECT_EQ(triple[n + 2], 0.0f);
    EXPECT_EQ(triple[n + 3], 0.0f);
    if (want.sum == 0) {  // an empty split
      EXPECT_EQ(m, -kInfinity);
      EXPECT_EQ(triple[n + 1], 0.0f);
      EXPECT_THAT(std::vector<float>(triple.begin(), triple.begin() + n),
                  testing::Each(0.0f));
      continue;
    }
    EXPECT_NEAR(m, want.max,
                kF24Epsilon * std::abs(want.max) + want.score_error);
    const double scale = std::exp(m - want.max);
    const double error = 2 * want.score_error + 4e-6;
    EXPECT_NEAR(triple[n + 1] * scale, want.sum,
                (kF24Epsilon + error) * want.sum);
    std::vector<float> acc;
    std::vector<double> tolerance;
    for (uint32_t i = 0; i < n; ++i) {
      acc.push_back(static_cast<float>(triple[i] * scale));
      tolerance.push_back(kF24Epsilon * std::abs(want.acc[i]) +
                          error * want.magnitude[i]);
    }
    ExpectNear(acc, want.acc, tolerance);
  }
}

// Positions at the start, around the ends of blocks and of rounds of blocks,
// and at the end of the cache.
inline std::vector<int64_t> Positions(const Geometry& g) {
  const int64_t end = static_cast<int64_t>(g.splits * g.capacity);
  const int64_t block = g.block;
  const int64_t round = block * g.splits;
  std::vector<int64_t> positions = {0,         1,         block - 1, block,
                                    round,     round - 1, 2 * round, 3 * round,
                                    4 * round, end / 2,   end - 1};
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()),
                  positions.end());
  std::erase_if(positions, [=](int64_t p) { return p >= end; });
  return positions;
}

template <typename Fn>
void ForEachPosition(Fn fn) {
  for (const Geometry& g : kGeometries) {
    for (const int64_t position : Positions(g)) {
      SCOPED_TRACE(testing::Message()
                   << "head_dim " << g.head_dim << ", group " << g.group
                   << ", splits " << g.splits << ", position " << position);
      fn(g, position);
    }
  }
}

// Positions at both ends of the first block, with and without the prologue.
template <typename Fn>
void ForEachAlonePosition(Fn fn) {
  for (const Geometry& g : kGeometries) {
    for (const int64_t position :
         {int64_t{0}, int64_t{g.block} / 2, int64_t{g.block} - 1}) {
      for (const AttentionPrologue prologue :
           {AttentionPrologue::kNone, AttentionPrologue::kQkNormRope}) {
        SCOPED_TRACE(testing::Message()
                     << "head_dim " << g.head_dim << ", group " << g.group
                     << ", splits " << g.splits << ", position " << position
                     << ", prologue " << static_cast<int>(prologue));
        fn(g, position, prologue);
      }
    }
  }
}

}  // namespace mkvm::ops::attention_testing

#endif  // MKVM_TESTS_OPS_ATTENTION_ORACLE_H_
