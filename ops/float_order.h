// Floats as integers of the same order: host and device.
#ifndef MKVM_OPS_FLOAT_ORDER_H_
#define MKVM_OPS_FLOAT_ORDER_H_

#include <cstdint>

#include "isa/f24.h"

namespace mkvm::ops {

// 32-bit integers in the order of the floats that they stand for.
MKVM_HOST_DEVICE inline uint32_t OrderOf(float value) {
  const uint32_t bits = isa::BitsOfFloat(value);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
MKVM_HOST_DEVICE inline float FloatOfOrder(uint32_t order) {
  return isa::FloatOfBits(order ^
                          ((order >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_FLOAT_ORDER_H_
