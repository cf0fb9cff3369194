#include "ops/qk_norm_rope.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "ops/dot.h"

namespace mkvm::ops {
namespace {

constexpr uint32_t kMaxHeadDim = 256;

}  // namespace

CachePlace PlaceOfPosition(uint64_t position, uint32_t block, uint32_t splits) {
  const uint64_t b = position / block;
  return {b % splits, b / splits * block + position % block};
}

uint64_t PositionsOfSplit(uint64_t position, uint32_t split, uint32_t block,
                          uint32_t splits) {
  const uint64_t last = position / block;
  // Blocks before the last one are full.
  const uint64_t full = last / splits + (split < last % splits ? 1 : 0);
  const uint64_t rest = last % splits == split ? position % block + 1 : 0;
  return full * block + rest;
}

absl::Status CheckPosition(const OpContext& context, uint32_t k_cache,
                           uint32_t rope, uint32_t splits) {
  const int64_t position = context.position;
  const auto check = [&](uint64_t positions, const char* what) {
    if (position >= 0 && static_cast<uint64_t>(position) < positions) {
      return absl::OkStatus();
    }
    return absl::OutOfRangeError(
        absl::StrFormat("position %d is past the %d positions of the %s",
                        position, positions, what));
  };
  if (rope != isa::kNoBuffer) {
    const absl::Status status =
        check(context.buffer(rope).shape[0], "rope table");
    if (!status.ok()) return status;
  }
  return check(context.buffer(k_cache).shape[1] * splits, "KV cache");
}

void NormAndRotateHead(const float* v, const uint16_t* norm,
                       const float* rope_row, uint32_t head_dim, float eps,
                       float* out) {
  const float scale = InverseRms(v, head_dim, eps);
  std::array<float, kMaxHeadDim> n;
  for (uint32_t i = 0; i < head_dim; ++i) {
    n[i] = v[i] * scale * isa::FloatOfBf16Bits(norm[i]);
  }
  const uint32_t half = head_dim / 2;
  const float* cosines = rope_row;
  const float* sines = rope_row + half;
  for (uint32_t i = 0; i < half; ++i) {
    out[i] = n[i] * cosines[i] - n[i + half] * sines[i];
    out[i + half] = n[i + half] * cosines[i] + n[i] * sines[i];
  }
}

void NormAndRotateQ(const QkNormRopeInput& in, float* q_out) {
  for (uint32_t head = 0; head < in.group; ++head) {
    const uint64_t offset = uint64_t{head} * in.head_dim;
    float* out = q_out + offset;
    NormAndRotateHead(in.q + offset, in.q_norm, in.rope_row, in.head_dim,
                      in.eps, out);
    std::transform(out, out + in.head_dim, out, isa::RoundToF24);
  }
}

void AppendKv(const QkNormRopeInput& in, uint16_t* k_slot, uint16_t* v_slot) {
  std::array<float, kMaxHeadDim> rotated;
  NormAndRotateHead(in.k, in.k_norm, in.rope_row, in.head_dim, in.eps,
                    rotated.data());
  std::transform(rotated.data(), rotated.data() + in.head_dim, k_slot,
                 isa::Bf16BitsOfFloat);
  std::transform(in.v, in.v + in.head_dim, v_slot, isa::Bf16BitsOfFloat);
}

}  // namespace mkvm::ops
