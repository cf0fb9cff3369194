// The inner loops of the CPU reference: dot products of bf16 weights and
// binary32 activations, summed in binary32 in a fixed order.
//
// The kernels are chosen at run time from what the processor has (AVX-512,
// AVX2 with FMA, or plain C++), so one binary runs everywhere. All of them
// give the same bits: lane j of 16 adds up the elements i = j (mod 16) in
// ascending order with fused multiply-adds, then lane j takes lane j + 8, j +
// 4, j + 2, j + 1. A row's sum depends only on its k elements, never on the
// rows computed beside it.
#ifndef MKVM_OPS_DOT_H_
#define MKVM_OPS_DOT_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mkvm::ops {

// Rows that one pass over x serves. A core that reads as many places of memory
// at a time gets half as much again out of it as from one place.
inline constexpr size_t kDotRows = 4;

// sum_i w[i] * x[i] for i in [0, k), w in bf16.
float DotBf16(const uint16_t* w, const float* x, size_t k);

// sums[r] = DotBf16(w + r * stride, x, k) for r in [0, kDotRows).
void DotRowsBf16(const uint16_t* w, size_t stride, const float* x, size_t k,
                 float* sums);

// 1 / sqrt(mean_i(x[i]^2) + eps) over k elements. REQUIRES: k > 0.
float InverseRms(const float* x, size_t k, float eps);

// y[i] += a * w[i] for i in [0, k), w in bf16; one rounding.
void AddScaledBf16(const uint16_t* w, float a, size_t k, float* y);

// AddScaledBf16(w + r * stride, a[r], k, y) for r = 0, ..., kDotRows - 1.
void AddScaledRowsBf16(const uint16_t* w, size_t stride, const float* a,
                       size_t k, float* y);

// The kernels in use: "AVX-512", "AVX2" or "portable".
const char* DotKernelName();

// Makes the calling process use the kernels of this name; "": the best that
// the processor runs, as from the start. InvalidArgument for any other name,
// which lists those there are. Not while an op runs.
absl::Status SelectDotKernel(absl::string_view name);

// One set of kernels, as the functions above.
struct DotKernel {
  const char* name;
  float (*dot)(const uint16_t* w, const float* x, size_t k);
  void (*dot_rows)(const uint16_t* w, size_t stride, const float* x, size_t k,
                   float* sums);
  void (*add_scaled)(const uint16_t* w, float a, size_t k, float* y);
  void (*add_scaled_rows)(const uint16_t* w, size_t stride, const float* a,
                          size_t k, float* y);
};

// Every kernel that this processor runs, for tests that compare them.
// Fills `kernels` (at least 3 elements), best first; returns how many.
size_t SupportedDotKernels(DotKernel* kernels);

}  // namespace mkvm::ops

#endif  // MKVM_OPS_DOT_H_
