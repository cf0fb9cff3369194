// Tensor core products. Source: PTX ISA, "mma.sync.m16n8k16" with .bf16.
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

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MMA_CUH_
