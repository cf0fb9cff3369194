// The number formats of the ISA, shared by host and device code.
//
// f24: the format in which activations travel between workers. 32 bits:
//
//    31 30       23 22              8 7      0
//   +--+-----------+-----------------+--------+
//   |s | exponent  | 15-bit mantissa |  tag   |
//   +--+-----------+-----------------+--------+
//
// The upper 24 bits are an IEEE binary32 value rounded to 16 significant bits
// (relative error <= 2^-16). The low byte is the tag of the pass that wrote
// the word, so that one 32-bit load says both what the value is and whether it
// is there yet. A 32-bit access is single-copy atomic everywhere, so nothing
// wider is assumed; docs/memory_model.md has the argument.
//
// A 16-significant-bit value is exactly the sum of two bf16 values, so the
// tensor cores multiply activations without a second rounding.
#ifndef MKVM_ISA_F24_H_
#define MKVM_ISA_F24_H_

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MKVM_HOST_DEVICE __host__ __device__
#else
#define MKVM_HOST_DEVICE
#endif

namespace mkvm::isa {

// The tag of pass `pass` (0-based): 1..255. 0 is what cleared memory holds and
// is never a valid tag.
MKVM_HOST_DEVICE inline uint32_t TagOfPass(uint32_t pass) {
  return 1 + pass % 255;
}

MKVM_HOST_DEVICE inline uint32_t BitsOfFloat(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
#endif
}

MKVM_HOST_DEVICE inline float FloatOfBits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
#endif
}

// Rounds to f24, nearest even, tag bits zero. Overflow goes to infinity; NaN
// stays NaN.
MKVM_HOST_DEVICE inline uint32_t F24BitsOfFloat(float value) {
  const uint32_t bits = BitsOfFloat(value);
  if (value != value) return 0x7fc00000u;
  return (bits + 0x7fu + ((bits >> 8) & 1u)) & 0xffffff00u;
}

// The value of an f24 word, whatever its tag.
MKVM_HOST_DEVICE inline float FloatOfF24Bits(uint32_t word) {
  return FloatOfBits(word & 0xffffff00u);
}

MKVM_HOST_DEVICE inline float RoundToF24(float value) {
  return FloatOfBits(F24BitsOfFloat(value));
}

// bf16, nearest even; NaN stays NaN.
MKVM_HOST_DEVICE inline uint16_t Bf16BitsOfFloat(float value) {
  const uint32_t bits = BitsOfFloat(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

MKVM_HOST_DEVICE inline float FloatOfBf16Bits(uint16_t bits) {
  return FloatOfBits(static_cast<uint32_t>(bits) << 16);
}

// Ranked pair: {float score, 24-bit index, 8-bit tag} in one 64-bit word, the
// partial result of an argmax. Vocabularies up to 2^24 rows.
//
//    63             40 39    32 31                 0
//   +-----------------+--------+--------------------+
//   |  index (24)     |  tag   |  score (binary32)  |
//   +-----------------+--------+--------------------+
MKVM_HOST_DEVICE inline uint64_t PackRanked(float score, uint32_t index,
                                            uint32_t tag) {
  return (static_cast<uint64_t>(index << 8 | tag) << 32) | BitsOfFloat(score);
}
MKVM_HOST_DEVICE inline float ScoreOfRanked(uint64_t word) {
  return FloatOfBits(static_cast<uint32_t>(word));
}
MKVM_HOST_DEVICE inline uint32_t IndexOfRanked(uint64_t word) {
  return static_cast<uint32_t>(word >> 40);
}
MKVM_HOST_DEVICE inline uint32_t TagOfRanked(uint64_t word) {
  return static_cast<uint32_t>(word >> 32) & 0xffu;
}
inline constexpr uint32_t kMaxRankedIndex = (1u << 24) - 1;

// The order of argmax: a NaN beats everything (so that it is seen and
// reported, never hidden), then the higher score, then the lower index.
MKVM_HOST_DEVICE inline bool RanksBefore(float a_score, uint32_t a_index,
                                         float b_score, uint32_t b_index) {
  const bool a_nan = a_score != a_score;
  const bool b_nan = b_score != b_score;
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a_score != b_score) return a_score > b_score;
  return a_index < b_index;
}

}  // namespace mkvm::isa

#endif  // MKVM_ISA_F24_H_
