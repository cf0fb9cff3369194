// The inner loops of the CPU reference: dot products of bf16 weights and
// binary32 activations, summed in binary32 in a fixed order.
//
// The kernels are chosen once per process from what the processor has
// (AVX-512, AVX2 with FMA, or plain C++), so one binary runs everywhere. The
// order of summation differs between them: bits are the same from run to run
// on one machine, not across machines. A row's sum depends only on k, never on
// the rows computed beside it.
#ifndef MKVM_OPS_DOT_H_
#define MKVM_OPS_DOT_H_

#include <cstddef>
#include <cstdint>

namespace mkvm::ops {

// sum_i w[i] * x[i] for i in [0, k), w in bf16.
float DotBf16(const uint16_t* w, const float* x, size_t k);

// 1 / sqrt(mean_i(x[i]^2) + eps) over k elements. REQUIRES: k > 0.
float InverseRms(const float* x, size_t k, float eps);

// y[i] += a * w[i] for i in [0, k), w in bf16.
void AddScaledBf16(const uint16_t* w, float a, size_t k, float* y);

// The kernels in use: "AVX-512", "AVX2" or "portable".
const char* DotKernelName();

// Every kernel that this processor runs, for tests that compare them.
struct DotKernel {
  const char* name;
  float (*dot_bf16)(const uint16_t* w, const float* x, size_t k);
  void (*add_scaled_bf16)(const uint16_t* w, float a, size_t k, float* y);
};
// Fills `kernels` (at least 3 elements), best first; returns how many.
size_t SupportedDotKernels(DotKernel* kernels);

}  // namespace mkvm::ops

#endif  // MKVM_OPS_DOT_H_
