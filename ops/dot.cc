#include "ops/dot.h"

#include <atomic>
#include <cmath>
#include <string>

#include "absl/strings/str_format.h"
#include "isa/f24.h"
#include "ops/dot_kernels.h"

namespace mkvm::ops {
namespace {

constexpr size_t kLanes = 16;

float SumLanes(float* lanes) {
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

// std::fma is one instruction where the compiler may assume one, and a call
// elsewhere: slow, but the same bits.
float DotPortable(const uint16_t* w, const float* x, size_t k) {
  float lanes[kLanes] = {};
  size_t i = 0;
  const auto accumulate = [&](size_t j) {
    lanes[j] = std::fma(isa::FloatOfBf16Bits(w[i + j]), x[i + j], lanes[j]);
  };
  for (; i + kLanes <= k; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) accumulate(j);
  }
  for (size_t j = 0; i + j < k; ++j) accumulate(j);
  return SumLanes(lanes);
}

void DotRowsPortable(const uint16_t* w, size_t stride, const float* x, size_t k,
                     float* sums) {
  for (size_t r = 0; r < kDotRows; ++r) {
    sums[r] = DotPortable(w + r * stride, x, k);
  }
}

void AddScaledPortable(const uint16_t* w, float a, size_t k, float* y) {
  for (size_t i = 0; i < k; ++i) {
    y[i] = std::fma(isa::FloatOfBf16Bits(w[i]), a, y[i]);
  }
}

void AddScaledRowsPortable(const uint16_t* w, size_t stride, const float* a,
                           size_t k, float* y) {
  for (size_t r = 0; r < kDotRows; ++r) {
    AddScaledPortable(w + r * stride, a[r], k, y);
  }
}

// What this process has, and which of them it uses.
struct Kernels {
  Kernels() : count(SupportedDotKernels(all)), used(&all[0]) {}

  DotKernel all[3];
  size_t count;
  std::atomic<const DotKernel*> used;
};

Kernels& TheKernels() {
  static Kernels kernels;
  return kernels;
}

const DotKernel& Used() {
  return *TheKernels().used.load(std::memory_order_relaxed);
}

}  // namespace

size_t SupportedDotKernels(DotKernel* kernels) {
  size_t n = 0;
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("fma");
  if (fma && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    kernels[n++] = kDotKernelAvx512;
  }
  if (fma && __builtin_cpu_supports("avx2")) kernels[n++] = kDotKernelAvx2;
#endif
  kernels[n++] = {"portable", DotPortable, DotRowsPortable, AddScaledPortable,
                  AddScaledRowsPortable};
  return n;
}

absl::Status SelectDotKernel(absl::string_view name) {
  Kernels& kernels = TheKernels();
  std::string names;
  for (size_t i = 0; i < kernels.count; ++i) {
    const DotKernel& kernel = kernels.all[i];
    if (name.empty() || name == kernel.name) {
      kernels.used.store(&kernel, std::memory_order_relaxed);
      return absl::OkStatus();
    }
    absl::StrAppendFormat(&names, "%s%s", i == 0 ? "" : ", ", kernel.name);
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "no kernels \"%s\" for this processor; it runs %s", name, names));
}

const char* DotKernelName() { return Used().name; }

float DotBf16(const uint16_t* w, const float* x, size_t k) {
  return Used().dot(w, x, k);
}

void DotRowsBf16(const uint16_t* w, size_t stride, const float* x, size_t k,
                 float* sums) {
  Used().dot_rows(w, stride, x, k, sums);
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
  Used().add_scaled(w, a, k, y);
}

void AddScaledRowsBf16(const uint16_t* w, size_t stride, const float* a,
                       size_t k, float* y) {
  Used().add_scaled_rows(w, stride, a, k, y);
}

}  // namespace mkvm::ops
