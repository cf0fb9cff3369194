#include "ops/dot_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>

#include "isa/f24.h"

namespace mkvm::ops {
namespace {

#define MKVM_AVX2 __attribute__((target("avx2,fma")))

MKVM_AVX2 inline __m256 LoadBf16(const uint16_t* w) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// The 16 lanes of one row.
struct Lanes {
  __m256 low, high;
};

MKVM_AVX2 inline void Accumulate(const uint16_t* w, __m256 x_low, __m256 x_high,
                                 Lanes& lanes) {
  lanes.low = _mm256_fmadd_ps(LoadBf16(w), x_low, lanes.low);
  lanes.high = _mm256_fmadd_ps(LoadBf16(w + 8), x_high, lanes.high);
}

// The last k < 16 elements.
MKVM_AVX2 inline void AccumulateTail(const uint16_t* w, const float* x,
                                     size_t k, Lanes& lanes) {
  float each[16];
  _mm256_storeu_ps(each, lanes.low);
  _mm256_storeu_ps(each + 8, lanes.high);
  for (size_t j = 0; j < k; ++j) {
    each[j] = std::fma(isa::FloatOfBf16Bits(w[j]), x[j], each[j]);
  }
  lanes = {_mm256_loadu_ps(each), _mm256_loadu_ps(each + 8)};
}

MKVM_AVX2 inline float Sum(const Lanes& lanes) {
  const __m256 eight = _mm256_add_ps(lanes.low, lanes.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight),
                                 _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

template <size_t kRows>
MKVM_AVX2 inline void DotRows(const uint16_t* w, size_t stride, const float* x,
                              size_t k, float* sums) {
  Lanes lanes[kRows];
  for (size_t r = 0; r < kRows; ++r) {
    lanes[r] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  }
  size_t i = 0;
  for (; i + 32 <= k; i += 32) {  // a cache line of each row
    const __m256 x0 = _mm256_loadu_ps(x + i);
    const __m256 x1 = _mm256_loadu_ps(x + i + 8);
    const __m256 x2 = _mm256_loadu_ps(x + i + 16);
    const __m256 x3 = _mm256_loadu_ps(x + i + 24);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const uint16_t* row = w + r * stride + i;
      _mm_prefetch(reinterpret_cast<const char*>(row + kPrefetchElements),
                   _MM_HINT_T0);
      Accumulate(row, x0, x1, lanes[r]);
      Accumulate(row + 16, x2, x3, lanes[r]);
    }
  }
  if (i + 16 <= k) {
    const __m256 x0 = _mm256_loadu_ps(x + i);
    const __m256 x1 = _mm256_loadu_ps(x + i + 8);
    for (size_t r = 0; r < kRows; ++r) {
      Accumulate(w + r * stride + i, x0, x1, lanes[r]);
    }
    i += 16;
  }
  for (size_t r = 0; r < kRows; ++r) {
    if (i < k) AccumulateTail(w + r * stride + i, x + i, k - i, lanes[r]);
    sums[r] = Sum(lanes[r]);
  }
}

MKVM_AVX2 float Dot(const uint16_t* w, const float* x, size_t k) {
  float sum;
  DotRows<1>(w, 0, x, k, &sum);
  return sum;
}

template <size_t kRows>
MKVM_AVX2 inline void AddScaledRows(const uint16_t* w, size_t stride,
                                    const float* a, size_t k, float* y) {
  size_t i = 0;
  for (; i + 8 <= k; i += 8) {
    __m256 sum = _mm256_loadu_ps(y + i);
    for (size_t r = 0; r < kRows; ++r) {
      sum = _mm256_fmadd_ps(LoadBf16(w + r * stride + i), _mm256_set1_ps(a[r]),
                            sum);
    }
    _mm256_storeu_ps(y + i, sum);
  }
  for (; i < k; ++i) {
    for (size_t r = 0; r < kRows; ++r) {
      y[i] = std::fma(isa::FloatOfBf16Bits(w[r * stride + i]), a[r], y[i]);
    }
  }
}

MKVM_AVX2 void AddScaled(const uint16_t* w, float a, size_t k, float* y) {
  AddScaledRows<1>(w, 0, &a, k, y);
}

}  // namespace

const DotKernel kDotKernelAvx2 = {"AVX2", Dot, DotRows<kDotRows>, AddScaled,
                                  AddScaledRows<kDotRows>};

}  // namespace mkvm::ops

#endif  // defined(__x86_64__)
