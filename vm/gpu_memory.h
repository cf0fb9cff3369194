// The buffers of a program in one GPU's memory.
#ifndef MKVM_VM_GPU_MEMORY_H_
#define MKVM_VM_GPU_MEMORY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "ops/device_buffer.h"
#include "vm/cuda_memory.h"
#include "vm/device_layout.h"
#include "vm/host_threads.h"
#include "vm/machine.h"

namespace mkvm::vm {

class GpuMemory {
 public:
  // Allocates and zeroes. ResourceExhausted, with the sizes and the mend, when
  // the buffers don't fit; InvalidArgument as LayoutsOf.
  static absl::StatusOr<GpuMemory> Create(const isa::Program& program);

  // Copies a whole tensor in, converted and packed as the buffer wants it. The
  // tensor is free when this returns, the buffer whole after FinishUploads.
  // REQUIRES: FindBindable(program, ..., tensor) gave `id`.
  absl::Status Upload(const isa::Program& program, uint32_t id,
                      const HostTensor& tensor);
  absl::Status FinishUploads();
  // Copies a whole buffer out, unpacked and without tags. REQUIRES:
  // FinishUploads, after uploads.
  absl::Status Download(const isa::Program& program, uint32_t id,
                        absl::Span<char> out);
  // Zeroes every activation, so that no tag of an earlier launch is seen.
  absl::Status ClearActivations(cudaStream_t stream);

  // Of each buffer of the program, where it is.
  absl::Span<const ops::DeviceBuffer> buffers() const { return buffers_; }
  uint64_t bytes() const { return bytes_; }

 private:
  // Uploads as many rows at a time as there is page-locked memory for.
  absl::Status UploadRows(const isa::Program& program, uint32_t id,
                          const HostTensor& tensor);
  // A buffer's first bytes, as they are stored.
  absl::Status Read(uint32_t id, void* out, uint64_t bytes) const;

  DevicePointer<char> arena_;
  std::vector<ops::DeviceBuffer> buffers_;
  std::vector<DeviceLayout> layouts_;  // of each buffer
  uint64_t bytes_ = 0;
  uint64_t activation_bytes_ = 0;  // at the head of the arena
  // For conversions: one thread copies far less than PCIe can take.
  std::unique_ptr<HostThreads> threads_;
  // Page-locked staging, two halves used in turn, and the device's own; of each
  // half, when what was last in it has been packed.
  PinnedPointer<char> pinned_;
  DevicePointer<char> staging_;
  EventPointer packed_[2];
  uint32_t half_ = 0;  // that is next
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_GPU_MEMORY_H_
