// ops/ptx/math.cuh of the emulated GPU: exact to a rounding where the GPU is
// approximate.
#ifndef MKVM_OPS_PTX_MATH_CUH_
#define MKVM_OPS_PTX_MATH_CUH_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mkvm::ptx {

inline float Exp2Approximate(float x) { return std::exp2(x); }
inline float ReciprocalSqrtApproximate(float x) { return 1.0f / std::sqrt(x); }
inline float ReciprocalApproximate(float x) { return 1.0f / x; }

// The upper half of `value`, rounded to nearest even.
inline uint32_t Bf16Bits(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline uint32_t PackBf16(float low, float high) {
  return Bf16Bits(high) << 16 | Bf16Bits(low);
}

inline uint32_t PackBf16Rest(float low, float high, uint32_t packed) {
  return PackBf16(low - std::bit_cast<float>(packed << 16),
                  high - std::bit_cast<float>(packed & 0xffff0000u));
}

inline float MaxOrNan(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  return std::fmax(a, b);
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MATH_CUH_
