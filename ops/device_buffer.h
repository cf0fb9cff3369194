// A buffer in the GPU's memory, as kernels see it. No CUDA headers.
#ifndef MKVM_OPS_DEVICE_BUFFER_H_
#define MKVM_OPS_DEVICE_BUFFER_H_

#include <cstdint>

namespace mkvm::ops {

// f24 and ranked words carry tags; matrices in panels are packed (panel.h).
// Memory behind `data` is padded so that a 16-byte load of the last element
// stays inside.
struct DeviceBuffer {
  void* data;
  uint32_t is_panels;
  uint32_t is_f24;
  uint64_t shape[4];  // 0 beyond the buffer's dimensions
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_DEVICE_BUFFER_H_
