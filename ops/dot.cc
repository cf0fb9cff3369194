#include "ops/dot.h"

#include <cmath>

#include "isa/f24.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mkvm::ops {
namespace {

// Enough independent sums for two FMAs per cycle at a latency of four.
constexpr size_t kLanes = 16;

float SumLanes(const float* lanes) {
  float sum[kLanes];
  for (size_t i = 0; i < kLanes; ++i) sum[i] = lanes[i];
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) sum[i] += sum[i + width];
  }
  return sum[0];
}

float DotPortable(const uint16_t* w, const float* x, size_t k) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      lanes[j] += isa::FloatOfBf16Bits(w[i + j]) * x[i + j];
    }
  }
  for (size_t j = 0; i + j < k; ++j) {
    lanes[j] += isa::FloatOfBf16Bits(w[i + j]) * x[i + j];
  }
  return SumLanes(lanes);
}

void AddScaledPortable(const uint16_t* w, float a, size_t k, float* y) {
  for (size_t i = 0; i < k; ++i) y[i] += a * isa::FloatOfBf16Bits(w[i]);
}

#if defined(__x86_64__)

// How far ahead of the loads the weights are requested. They are read once, in
// long runs; the hardware prefetcher alone stops at page boundaries.
constexpr size_t kPrefetchElements = 1024;

__attribute__((target("avx2,fma"))) inline __m256 LoadBf16Avx2(
    const uint16_t* w) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

__attribute__((target("avx2,fma"))) float DotAvx2(const uint16_t* w,
                                                  const float* x, size_t k) {
  __m256 sum0 = _mm256_setzero_ps();
  __m256 sum1 = _mm256_setzero_ps();
  __m256 sum2 = _mm256_setzero_ps();
  __m256 sum3 = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 32 <= k; i += 32) {
    _mm_prefetch(reinterpret_cast<const char*>(w + i + kPrefetchElements),
                 _MM_HINT_T0);
    sum0 = _mm256_fmadd_ps(LoadBf16Avx2(w + i), _mm256_loadu_ps(x + i), sum0);
    sum1 = _mm256_fmadd_ps(LoadBf16Avx2(w + i + 8), _mm256_loadu_ps(x + i + 8),
                           sum1);
    sum2 = _mm256_fmadd_ps(LoadBf16Avx2(w + i + 16),
                           _mm256_loadu_ps(x + i + 16), sum2);
    sum3 = _mm256_fmadd_ps(LoadBf16Avx2(w + i + 24),
                           _mm256_loadu_ps(x + i + 24), sum3);
  }
  for (; i + 8 <= k; i += 8) {
    sum0 = _mm256_fmadd_ps(LoadBf16Avx2(w + i), _mm256_loadu_ps(x + i), sum0);
  }
  float lanes[kLanes];
  _mm256_storeu_ps(lanes, _mm256_add_ps(sum0, sum2));
  _mm256_storeu_ps(lanes + 8, _mm256_add_ps(sum1, sum3));
  for (size_t j = 0; i + j < k; ++j) {
    lanes[j] += isa::FloatOfBf16Bits(w[i + j]) * x[i + j];
  }
  return SumLanes(lanes);
}

__attribute__((target("avx2,fma"))) void AddScaledAvx2(const uint16_t* w,
                                                       float a, size_t k,
                                                       float* y) {
  const __m256 factor = _mm256_set1_ps(a);
  size_t i = 0;
  for (; i + 8 <= k; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_fmadd_ps(LoadBf16Avx2(w + i), factor,
                                            _mm256_loadu_ps(y + i)));
  }
  for (; i < k; ++i) y[i] += a * isa::FloatOfBf16Bits(w[i]);
}

#define MKVM_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))

// The unmasked intrinsics pass an undefined vector that GCC 12 warns about; a
// full mask compiles to the same instructions.
MKVM_AVX512 inline __m512 WidenBf16(__m256i bits) {
  constexpr __mmask16 kAll = 0xffff;
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(
      kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16));
}

MKVM_AVX512 inline __m512 LoadBf16Avx512(const uint16_t* w) {
  return WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}

MKVM_AVX512 float DotAvx512(const uint16_t* w, const float* x, size_t k) {
  __m512 sum0 = _mm512_setzero_ps();
  __m512 sum1 = _mm512_setzero_ps();
  __m512 sum2 = _mm512_setzero_ps();
  __m512 sum3 = _mm512_setzero_ps();
  size_t i = 0;
  for (; i + 64 <= k; i += 64) {
    const char* ahead =
        reinterpret_cast<const char*>(w + i + kPrefetchElements);
    _mm_prefetch(ahead, _MM_HINT_T0);
    _mm_prefetch(ahead + 64, _MM_HINT_T0);
    sum0 = _mm512_fmadd_ps(LoadBf16Avx512(w + i), _mm512_loadu_ps(x + i), sum0);
    sum1 = _mm512_fmadd_ps(LoadBf16Avx512(w + i + 16),
                           _mm512_loadu_ps(x + i + 16), sum1);
    sum2 = _mm512_fmadd_ps(LoadBf16Avx512(w + i + 32),
                           _mm512_loadu_ps(x + i + 32), sum2);
    sum3 = _mm512_fmadd_ps(LoadBf16Avx512(w + i + 48),
                           _mm512_loadu_ps(x + i + 48), sum3);
  }
  for (; i + 16 <= k; i += 16) {
    sum0 = _mm512_fmadd_ps(LoadBf16Avx512(w + i), _mm512_loadu_ps(x + i), sum0);
  }
  if (i < k) {
    const __mmask16 tail = static_cast<__mmask16>((1u << (k - i)) - 1);
    sum1 = _mm512_fmadd_ps(WidenBf16(_mm256_maskz_loadu_epi16(tail, w + i)),
                           _mm512_maskz_loadu_ps(tail, x + i), sum1);
  }
  float lanes[kLanes];
  _mm512_storeu_ps(lanes, _mm512_add_ps(_mm512_add_ps(sum0, sum1),
                                        _mm512_add_ps(sum2, sum3)));
  return SumLanes(lanes);
}

MKVM_AVX512 void AddScaledAvx512(const uint16_t* w, float a, size_t k,
                                 float* y) {
  const __m512 factor = _mm512_set1_ps(a);
  size_t i = 0;
  for (; i + 16 <= k; i += 16) {
    _mm512_storeu_ps(y + i, _mm512_fmadd_ps(LoadBf16Avx512(w + i), factor,
                                            _mm512_loadu_ps(y + i)));
  }
  if (i < k) {
    const __mmask16 tail = static_cast<__mmask16>((1u << (k - i)) - 1);
    const __m512 weights = WidenBf16(_mm256_maskz_loadu_epi16(tail, w + i));
    _mm512_mask_storeu_ps(
        y + i, tail,
        _mm512_fmadd_ps(weights, factor, _mm512_maskz_loadu_ps(tail, y + i)));
  }
}

#endif  // defined(__x86_64__)

DotKernel BestDotKernel() {
  DotKernel kernels[3];
  SupportedDotKernels(kernels);
  return kernels[0];
}

const DotKernel& Best() {
  static const DotKernel kernel = BestDotKernel();
  return kernel;
}

}  // namespace

size_t SupportedDotKernels(DotKernel* kernels) {
  size_t n = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    kernels[n++] = {"AVX-512", DotAvx512, AddScaledAvx512};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels[n++] = {"AVX2", DotAvx2, AddScaledAvx2};
  }
#endif
  kernels[n++] = {"portable", DotPortable, AddScaledPortable};
  return n;
}

const char* DotKernelName() { return Best().name; }

float DotBf16(const uint16_t* w, const float* x, size_t k) {
  return Best().dot_bf16(w, x, k);
}

float InverseRms(const float* x, size_t k, float eps) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * x[i + j];
  }
  for (size_t j = 0; i + j < k; ++j) lanes[j] += x[i + j] * x[i + j];
  return 1.0f / std::sqrt(SumLanes(lanes) / static_cast<float>(k) + eps);
}

void AddScaledBf16(const uint16_t* w, float a, size_t k, float* y) {
  Best().add_scaled_bf16(w, a, k, y);
}

}  // namespace mkvm::ops
