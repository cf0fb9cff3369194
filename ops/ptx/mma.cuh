// Tensor core products. Source: PTX ISA, "mma.sync.m16n8k16" and "m16n8k8" with
// .bf16.
#ifndef MKVM_OPS_PTX_MMA_CUH_
#define MKVM_OPS_PTX_MMA_CUH_

#include <cstdint>

namespace mkvm::ptx {

// c += a * b for a 16x16 (row), b 16x8 (column), c 16x8 in f32. Whole warp.
__device__ inline void MmaBf16(float (&c)[4], const uint4& a, uint32_t b0,
                               uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// 0, as a product of zeros: so that the tensor cores have had one
// (docs/adr/0014-tensor-cores-are-kept-awake.md). What isn't used is not
// computed. Whole warp.
__device__ __forceinline__ uint32_t ZeroOfTensorCores() {
  float zero;
  asm volatile(
      "{\n\t.reg .f32 d<3>;\n\t"
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 "
      "{%0, d0, d1, d2}, {%1, %1}, {%1}, {%2, %2, %2, %2};\n\t}"
      : "=f"(zero)
      : "r"(0), "f"(0.0f));
  return __float_as_uint(zero);
}

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MMA_CUH_
