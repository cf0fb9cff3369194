// ops/ptx/mma.cuh of the emulated GPU. Sums are of binary32, one product after
// the other; a GPU adds up several at a time.
#ifndef MKVM_OPS_PTX_MMA_CUH_
#define MKVM_OPS_PTX_MMA_CUH_

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "emulation/device.h"

namespace mkvm::ptx {

// The lower or upper bf16 of a word.
MKVM_UNSEEN inline float Bf16Of(uint32_t word, uint32_t upper) {
  return std::bit_cast<float>(upper == 0 ? word << 16 : word & 0xffff0000u);
}

// The product of a warp: words 0 to 3 of a lane are its part of a, words 4 and
// 5 that of b; results are c[16][8].
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point
// type".
MKVM_UNSEEN inline void Multiply16x8x16(emulation::LaneWords words, float* c) {
  float a[16][16], b[16][8];
  for (uint32_t lane = 0; lane < emulation::kWarpLanes; ++lane) {
    const uint32_t group = lane / 4, place = lane % 4 * 2;
    for (uint32_t i = 0; i < 8; ++i) {
      a[group + i / 2 % 2 * 8][place + i / 4 * 8 + i % 2] =
          Bf16Of(words[lane][i / 2], i % 2);
    }
    for (uint32_t i = 0; i < 4; ++i) {
      b[place + i / 2 * 8 + i % 2][group] =
          Bf16Of(words[lane][4 + i / 2], i % 2);
    }
  }
  for (uint32_t row = 0; row < 16; ++row) {
    float sums[8] = {};
    for (uint32_t k = 0; k < 16; ++k) {
      for (uint32_t column = 0; column < 8; ++column) {
        sums[column] += a[row][k] * b[k][column];
      }
    }
    for (uint32_t column = 0; column < 8; ++column) {
      c[row * 8 + column] = sums[column];
    }
  }
}

inline void MmaBf16(float (&c)[4], const uint4& a, uint32_t b0, uint32_t b1,
                    emulation::Where where = emulation::Where::Current()) {
  const uint32_t words[6] = {a.x, a.y, a.z, a.w, b0, b1};
  const float* product = emulation::Meet(words, 6, &Multiply16x8x16, where);
  const uint32_t lane = emulation::LaneIndex();
  for (uint32_t i = 0; i < 4; ++i) {
    c[i] += product[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
  }
}

inline uint32_t ZeroOfTensorCores() { return 0; }

}  // namespace mkvm::ptx

#endif  // MKVM_OPS_PTX_MMA_CUH_
