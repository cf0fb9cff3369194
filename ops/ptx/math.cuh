// Arithmetic for which CUDA C++ has no short form.
// Source: PTX ISA, "ex2.approx", "rsqrt.approx", "rcp.approx", "cvt.rn.bf16x2",
// "max".
#ifndef MKVM_OPS_PTX_MATH_CUH_
#define MKVM_OPS_PTX_MATH_CUH_

#include <cstdint>

namespace mkvm::ptx {

// 2^x; relative error at most 2^-22, results below 2^-126 are 0, 2^-inf is 0.
__device__ inline float Exp2Approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / sqrt(x); relative error at most 2^-22.9, that of 0 is infinity.
__device__ inline float ReciprocalSqrtApproximate(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x; relative error at most 2^-23, of an x below 2^-126 infinity.
__device__ inline float ReciprocalApproximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two values as bf16, nearest even: `low` in the lower half of the word.
__device__ inline uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// The same of what PackBf16 leaves out, `packed` being its result.
__device__ inline uint32_t PackBf16Rest(float low, float high,
                                        uint32_t packed) {
  return PackBf16(low - __uint_as_float(packed << 16),
                  high - __uint_as_float(packed & 0xffff0000u));
}

// The higher one; a NaN if one of them is.
__device__ inline float MaxOrNan(float a, float b) {
  float max;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(max) : "f"(a), "f"(b));
  return max;
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MATH_CUH_
