#include "ops/dot_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace mkvm::ops {
namespace {

#define MKVM_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,fma")))

// The unmasked intrinsics pass an undefined vector that GCC 12 warns about; a
// full mask compiles to the same instructions.
MKVM_AVX512 inline __m512 WidenBf16(__m256i bits) {
  constexpr __mmask16 kAll = 0xffff;
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(
      kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16));
}

MKVM_AVX512 inline __m512 LoadBf16(const uint16_t* w) {
  return WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}

// The first `count` < 16 lanes.
inline __mmask16 FirstLanes(size_t count) {
  return static_cast<__mmask16>((1u << count) - 1);
}

MKVM_AVX512 inline __m512 LoadTailBf16(const uint16_t* w, __mmask16 lanes) {
  return WidenBf16(_mm256_maskz_loadu_epi16(lanes, w));
}

MKVM_AVX512 inline float Sum(__m512 lanes) {
  float each[16];
  _mm512_storeu_ps(each, lanes);
  const __m256 eight =
      _mm256_add_ps(_mm256_loadu_ps(each), _mm256_loadu_ps(each + 8));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight),
                                 _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

template <size_t kRows>
MKVM_AVX512 inline void DotRows(const uint16_t* w, size_t stride,
                                const float* x, size_t k, float* sums) {
  __m512 lanes[kRows];
  for (size_t r = 0; r < kRows; ++r) lanes[r] = _mm512_setzero_ps();
  size_t i = 0;
  for (; i + 32 <= k; i += 32) {  // a cache line of each row
    const __m512 x0 = _mm512_loadu_ps(x + i);
    const __m512 x1 = _mm512_loadu_ps(x + i + 16);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const uint16_t* row = w + r * stride + i;
      _mm_prefetch(reinterpret_cast<const char*>(row + kPrefetchElements),
                   _MM_HINT_T0);
      lanes[r] = _mm512_fmadd_ps(LoadBf16(row), x0, lanes[r]);
      lanes[r] = _mm512_fmadd_ps(LoadBf16(row + 16), x1, lanes[r]);
    }
  }
  if (i + 16 <= k) {
    const __m512 x0 = _mm512_loadu_ps(x + i);
    for (size_t r = 0; r < kRows; ++r) {
      lanes[r] = _mm512_fmadd_ps(LoadBf16(w + r * stride + i), x0, lanes[r]);
    }
    i += 16;
  }
  if (i < k) {
    const __mmask16 tail = FirstLanes(k - i);
    const __m512 x0 = _mm512_maskz_loadu_ps(tail, x + i);
    for (size_t r = 0; r < kRows; ++r) {
      lanes[r] = _mm512_mask3_fmadd_ps(LoadTailBf16(w + r * stride + i, tail),
                                       x0, lanes[r], tail);
    }
  }
  for (size_t r = 0; r < kRows; ++r) sums[r] = Sum(lanes[r]);
}

MKVM_AVX512 float Dot(const uint16_t* w, const float* x, size_t k) {
  float sum;
  DotRows<1>(w, 0, x, k, &sum);
  return sum;
}

template <size_t kRows>
MKVM_AVX512 inline void AddScaledRows(const uint16_t* w, size_t stride,
                                      const float* a, size_t k, float* y) {
  size_t i = 0;
  for (; i + 16 <= k; i += 16) {
    __m512 sum = _mm512_loadu_ps(y + i);
    for (size_t r = 0; r < kRows; ++r) {
      sum = _mm512_fmadd_ps(LoadBf16(w + r * stride + i), _mm512_set1_ps(a[r]),
                            sum);
    }
    _mm512_storeu_ps(y + i, sum);
  }
  if (i < k) {
    const __mmask16 tail = FirstLanes(k - i);
    __m512 sum = _mm512_maskz_loadu_ps(tail, y + i);
    for (size_t r = 0; r < kRows; ++r) {
      sum = _mm512_fmadd_ps(LoadTailBf16(w + r * stride + i, tail),
                            _mm512_set1_ps(a[r]), sum);
    }
    _mm512_mask_storeu_ps(y + i, tail, sum);
  }
}

MKVM_AVX512 void AddScaled(const uint16_t* w, float a, size_t k, float* y) {
  AddScaledRows<1>(w, 0, &a, k, y);
}

}  // namespace

const DotKernel kDotKernelAvx512 = {"AVX-512", Dot, DotRows<kDotRows>,
                                    AddScaled, AddScaledRows<kDotRows>};

}  // namespace mkvm::ops

#endif  // defined(__x86_64__)
