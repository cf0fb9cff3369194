#include <cmath>
#include <complex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ops/op_test_util.h"

namespace mkvm::ops {
namespace {

using isa::DType;
using ::testing::HasSubstr;

struct Geometry {
  uint32_t kv_heads, group, head_dim, splits, block;
  uint64_t capacity;  // of a split, positions
};

constexpr Geometry kGeometries[] = {
    {1, 1, 8, 1, 8, 16},  {2, 2, 64, 3, 4, 12},  {3, 8, 128, 4, 8, 24},
    {2, 16, 16, 2, 1, 7}, {1, 3, 24, 5, 16, 16}, {2, 1, 256, 2, 8, 8},
};

struct QkNormRopeAppend {
  OpProgram program;
  isa::QkNormRopeAppendOperands op;
  Geometry geometry;

  uint64_t positions() const { return geometry.splits * geometry.capacity; }
};

// The angle of pair i at a position: anything that differs between all pairs
// and positions will do.
double Angle(uint64_t position, uint32_t i) {
  return static_cast<double>(position) / (1.0 + 0.37 * i) + 0.1 * i;
}

QkNormRopeAppend MakeQkNormRopeAppend(const Geometry& geometry,
                                      uint32_t kv_head) {
  QkNormRopeAppend append{.program = {}, .op = {}, .geometry = geometry};
  OpProgram& p = append.program;
  isa::QkNormRopeAppendOperands& op = append.op;
  const uint64_t head_dim = geometry.head_dim;
  const uint64_t heads = geometry.kv_heads;
  const uint64_t rows = heads * geometry.splits;
  const uint64_t positions = append.positions();
  op.q = p.Input("q", DType::kF24, {heads * geometry.group * head_dim});
  op.k = p.Input("k", DType::kF24, {heads * head_dim});
  op.v = p.Input("v", DType::kF24, {heads * head_dim});
  op.q_norm = p.Weight("q_norm", DType::kBf16, {head_dim});
  op.k_norm = p.Weight("k_norm", DType::kBf16, {head_dim});
  op.rope = p.Weight("rope", DType::kF32, {positions, head_dim});
  op.k_cache =
      p.State("k_cache", DType::kBf16, {rows, geometry.capacity, head_dim});
  op.v_cache =
      p.State("v_cache", DType::kBf16, {rows, geometry.capacity, head_dim});
  op.q_out =
      p.Output("q_out", DType::kF24, {heads * geometry.group * head_dim});
  op.kv_head = kv_head;
  op.group = geometry.group;
  op.head_dim = geometry.head_dim;
  op.splits = geometry.splits;
  op.block = geometry.block;
  op.eps = 1e-6f;
  uint32_t seed = 10;
  for (const uint32_t id : {op.q, op.k, op.v}) p.SetRandom(id, ++seed, 3.0f);
  p.SetRandom(op.q_norm, ++seed, 0.5f, 1.0f);
  p.SetRandom(op.k_norm, ++seed, 0.5f, 1.5f);
  p.SetRandom(op.k_cache, ++seed, 9.0f);
  p.SetRandom(op.v_cache, ++seed, 9.0f);
  std::vector<float> rope;
  for (uint64_t position = 0; position < positions; ++position) {
    for (uint32_t i = 0; i < head_dim / 2; ++i) {
      rope.push_back(static_cast<float>(std::cos(Angle(position, i))));
    }
    for (uint32_t i = 0; i < head_dim / 2; ++i) {
      rope.push_back(static_cast<float>(std::sin(Angle(position, i))));
    }
  }
  p.Set(op.rope, rope);
  p.Append(op);
  return append;
}

// One head normalised, and turned by its angles as complex numbers.
std::vector<double> NormAndTurn(const std::vector<double>& v, size_t begin,
                                const std::vector<double>& norm,
                                uint64_t position, double eps) {
  const size_t n = norm.size();
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += v[begin + i] * v[begin + i];
  const double rms = std::sqrt(squares / n + eps);
  std::vector<double> out(n);
  for (size_t i = 0; i < n / 2; ++i) {
    const std::complex<double> pair(
        v[begin + i] / rms * norm[i],
        v[begin + n / 2 + i] / rms * norm[n / 2 + i]);
    const std::complex<double> turned =
        pair * std::polar(1.0, Angle(position, static_cast<uint32_t>(i)));
    out[i] = turned.real();
    out[n / 2 + i] = turned.imag();
  }
  return out;
}

// Row and slot of a position, found by dealing out blocks like cards.
std::pair<uint64_t, uint64_t> Deal(const Geometry& geometry, uint32_t kv_head,
                                   uint64_t position) {
  std::vector<uint64_t> used(geometry.splits, 0);
  for (uint64_t p = 0, split = 0;; ++p) {
    if (p > 0 && p % geometry.block == 0) split = (split + 1) % geometry.splits;
    if (p == position) return {kv_head * geometry.splits + split, used[split]};
    ++used[split];
  }
}

struct Expected {
  std::vector<double> q, q_tolerance;
  std::vector<double> k, k_tolerance;
  std::vector<float> v;
};

// `roundings`: 1 to compare with the oracle, 2 to compare two machines.
Expected Oracle(const QkNormRopeAppend& append, uint64_t position,
                int roundings) {
  const OpProgram& p = append.program;
  const isa::QkNormRopeAppendOperands& op = append.op;
  const Geometry& g = append.geometry;
  const std::vector<double> q = p.Doubles(op.q);
  Expected want;
  want.q.assign(q.size(), OpProgram::kUnwritten);
  want.q_tolerance.assign(q.size(), 0.0);
  for (uint32_t member = 0; member < g.group; ++member) {
    const size_t begin = (uint64_t{op.kv_head} * g.group + member) * g.head_dim;
    const std::vector<double> head =
        NormAndTurn(q, begin, p.Doubles(op.q_norm), position, op.eps);
    for (uint32_t i = 0; i < g.head_dim; ++i) {
      want.q[begin + i] = head[i];
      // A rotation cancels: its binary32 error is relative to the inputs.
      want.q_tolerance[begin + i] =
          roundings * kF24Epsilon * std::abs(head[i]) + 4e-6;
    }
  }
  // The slot of the cache: bf16 has 8 significant bits.
  const auto [row, slot] = Deal(g, op.kv_head, position);
  const size_t cache_begin = (row * g.capacity + slot) * g.head_dim;
  const std::vector<double> k =
      NormAndTurn(p.Doubles(op.k), uint64_t{op.kv_head} * g.head_dim,
                  p.Doubles(op.k_norm), position, op.eps);
  const std::vector<float> v = p.Floats(op.v);
  want.k = p.Doubles(op.k_cache);
  want.k_tolerance.assign(want.k.size(), 0.0);
  want.v = p.Floats(op.v_cache);
  for (uint32_t i = 0; i < g.head_dim; ++i) {
    want.k[cache_begin + i] = k[i];
    want.k_tolerance[cache_begin + i] =
        roundings * 0x1p-8 * std::abs(k[i]) + 4e-6;
    want.v[cache_begin + i] = isa::FloatOfBf16Bits(
        isa::Bf16BitsOfFloat(v[uint64_t{op.kv_head} * g.head_dim + i]));
  }
  return want;
}

void ExpectMatches(const QkNormRopeAppend& append, const Expected& want) {
  ExpectNear(append.program.Floats(append.op.q_out), want.q, want.q_tolerance);
  ExpectNear(append.program.Floats(append.op.k_cache), want.k,
             want.k_tolerance);
  EXPECT_EQ(append.program.Floats(append.op.v_cache), want.v);
}

template <typename Fn>
void ForEachCase(Fn fn) {
  for (const Geometry& g : kGeometries) {
    const uint64_t positions = g.splits * g.capacity;
    for (const uint64_t position :
         {uint64_t{0}, uint64_t{g.block} - 1, uint64_t{g.block},
          uint64_t{g.block} * g.splits, positions / 2 + 1, positions - 1}) {
      if (position >= positions) continue;
      SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", group "
                                      << g.group << ", position " << position);
      fn(MakeQkNormRopeAppend(g, g.kv_heads - 1), position);
    }
  }
}

TEST(QkNormRopeAppendTest, Encodes) {
  ExpectEncodes(isa::QkNormRopeAppendOperands{.q = 1,
                                              .k = 2,
                                              .v = 3,
                                              .q_norm = 4,
                                              .k_norm = 5,
                                              .rope = 6,
                                              .k_cache = 7,
                                              .v_cache = 8,
                                              .q_out = 9,
                                              .kv_head = 10,
                                              .group = 11,
                                              .head_dim = 12,
                                              .splits = 13,
                                              .block = 14,
                                              .eps = 0.5f},
                0x20, "qk_norm_rope_append",
                {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0x3f000000u});
}

TEST(QkNormRopeAppendTest, IsValidAndRoundTrips) {
  for (const Geometry& g : kGeometries) {
    ExpectValidAndRoundTrips(MakeQkNormRopeAppend(g, 0).program);
  }
}

TEST(QkNormRopeAppendTest, RejectsBadOperands) {
  using Op = isa::QkNormRopeAppendOperands;
  const QkNormRopeAppend append = MakeQkNormRopeAppend({2, 2, 64, 3, 4, 12}, 1);
  const Op& good = append.op;
  Rejections reject(append.program, append.op);
  for (const uint32_t group : {0u, 17u}) {
    reject.Expect("group is not in [1, 16]", [=](Op& op) { op.group = group; });
  }
  for (const uint32_t head_dim : {0u, 4u, 65u, 264u}) {
    reject.Expect("head_dim is not a multiple of 8 in [8, 256]",
                  [=](Op& op) { op.head_dim = head_dim; });
  }
  reject.Expect("splits is 0", [](Op& op) { op.splits = 0; });
  reject.Expect("block is 0", [](Op& op) { op.block = 0; });
  reject.Expect("rope does not have head_dim columns",
                [&](OpProgram& p, Op&) { p.buffer(good.rope).shape[1] = 72; });
  for (const uint32_t cache : {good.k_cache, good.v_cache}) {
    reject.Expect("a cache does not have head_dim columns",
                  [=](OpProgram& p, Op&) { p.buffer(cache).shape[2] = 72; });
    reject.Expect("the caches differ in capacity",
                  [=](OpProgram& p, Op&) { p.buffer(cache).shape[1] = 16; });
  }
  reject.Expect("the cache's capacity is not whole blocks",
                [](Op& op) { op.block = 5; });
  reject.Expect("rope has more positions than the cache",
                [&](OpProgram& p, Op&) { p.buffer(good.rope).shape[0] = 37; });
  for (const float eps : {-1.0f, 1.0f, std::nanf("")}) {
    reject.Expect("eps is not in [0, 1)", [=](Op& op) { op.eps = eps; });
  }
  reject.ExpectComplete();
}

TEST(QkNormRopeAppendTest, TurnsHalvesByHand) {
  QkNormRopeAppend append = MakeQkNormRopeAppend({1, 1, 8, 1, 8, 16}, 0);
  OpProgram& p = append.program;
  append.op.eps = 0.0f;
  p.ClearInstructions();
  p.Append(append.op);
  // Position 0 turns pair (0, 4) by a right angle, and leaves the others.
  std::vector<float> rope(16 * 8, 0.0f);
  rope[0] = 0.0f, rope[1] = rope[2] = rope[3] = 1.0f;  // cosines
  rope[4] = 1.0f;                                      // sines
  p.Set(append.op.rope, rope);
  p.Set(append.op.q_norm, {1, 1, 1, 2, 1, 1, 1, 1});
  p.Set(append.op.q, {1, 1, -1, 1, -1, 1, 1, -1});  // rms 1
  ASSERT_TRUE(p.RunReference().ok());
  EXPECT_THAT(p.Floats(append.op.q_out),
              testing::ElementsAre(1, 1, -1, 2, 1, 1, 1, -1));
}

TEST(QkNormRopeAppendTest, MatchesTheOracle) {
  ForEachCase([](QkNormRopeAppend append, uint64_t position) {
    const Expected want = Oracle(append, position, 1);
    const absl::Status status =
        append.program.RunReference(static_cast<int64_t>(position));
    ASSERT_TRUE(status.ok()) << status;
    ExpectMatches(append, want);
  });
}

TEST(QkNormRopeAppendTest, ReportsAPositionPastTheCache) {
  QkNormRopeAppend append = MakeQkNormRopeAppend({2, 2, 64, 3, 4, 12}, 1);
  EXPECT_TRUE(append.program.RunReference(35).ok());
  for (const int64_t position : {36, 1000}) {
    const absl::Status status = append.program.RunReference(position);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("position " + std::to_string(position)));
  }
}

TEST(QkNormRopeAppendTest, ReportsAPositionPastTheRopeTable) {
  QkNormRopeAppend append = MakeQkNormRopeAppend({1, 1, 8, 1, 8, 16}, 0);
  append.program.buffer(append.op.rope).shape[0] = 10;
  EXPECT_TRUE(append.program.RunReference(9).ok());
  const absl::Status status = append.program.RunReference(10);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rope table"));
}

TEST(QkNormRopeAppendTest, GpuMatchesReference) {
  MKVM_SKIP_WITHOUT_GPU();
  ForEachCase([](QkNormRopeAppend reference, uint64_t position) {
    const auto p = static_cast<int64_t>(position);
    QkNormRopeAppend gpu = reference;
    Expected want = Oracle(reference, position, 2);
    ASSERT_TRUE(reference.program.RunReference(p).ok());
    const absl::Status status = gpu.program.RunGpu(p);
    ASSERT_TRUE(status.ok()) << status;
    ExpectNear(gpu.program.Floats(gpu.op.q_out),
               reference.program.Doubles(reference.op.q_out), want.q_tolerance);
    ExpectNear(gpu.program.Floats(gpu.op.k_cache),
               reference.program.Doubles(reference.op.k_cache),
               want.k_tolerance);
    EXPECT_EQ(gpu.program.Floats(gpu.op.v_cache),
              reference.program.Floats(reference.op.v_cache));
  });
}

TEST(QkNormRopeAppendTest, GpuReportsAPositionPastTheCache) {
  MKVM_SKIP_WITHOUT_GPU();
  QkNormRopeAppend append = MakeQkNormRopeAppend({2, 2, 64, 3, 4, 12}, 1);
  const absl::Status status = append.program.RunGpu(36);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("36"));
}

}  // namespace
}  // namespace mkvm::ops
