#include "vm/host_memory.h"

#include <unistd.h>

#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vm/bind.h"
#include "vm/run_checks.h"

namespace mkvm::vm {
namespace {

using isa::BufferKind;

constexpr uint64_t kAlignment = 64;  // bytes: a cache line, a 512-bit vector

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product)
             ? std::numeric_limits<uint64_t>::max()
             : product;
}

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<uint64_t>::max()
             : sum;
}

// Not isa::NumElements: a shape that overflows must be refused, not wrapped.
uint64_t BytesOf(const isa::Buffer& buffer) {
  uint64_t bytes = isa::SizeOf(buffer.dtype);
  for (const uint64_t n : buffer.shape) bytes = SaturatingMultiply(bytes, n);
  return bytes;
}

absl::Status TooLarge(absl::string_view what, uint64_t bytes) {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%s needs %.2f GB, this machine has %.2f GB; mend: a smaller "
      "--max_context or a smaller model",
      what, bytes * 1e-9, PhysicalMemoryBytes() * 1e-9));
}

// f24 and ranked words may carry tags, so they are never taken as they are.
bool MayAlias(const isa::Buffer& buffer, const HostTensor& tensor) {
  return buffer.kind == BufferKind::kWeight && buffer.dtype == tensor.dtype &&
         buffer.dtype != isa::DType::kF24 &&
         buffer.dtype != isa::DType::kRanked &&
         reinterpret_cast<uintptr_t>(tensor.data) % isa::SizeOf(buffer.dtype) ==
             0;
}

}  // namespace

uint64_t PhysicalMemoryBytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

HostMemory::HostMemory(const isa::Program& program, bool alias_weights)
    : program_(&program),
      alias_weights_(alias_weights),
      owned_(program.buffers.size()),
      buffers_(program.buffers.size()),
      bound_(program.buffers.size(), false) {
  for (size_t id = 0; id < buffers_.size(); ++id) {
    buffers_[id].dtype = program.buffers[id].dtype;
    buffers_[id].shape = program.buffers[id].shape;
  }
}

absl::StatusOr<HostMemory> HostMemory::Create(const isa::Program& program,
                                              bool alias_weights) {
  uint64_t bytes = 0;
  for (const isa::Buffer& buffer : program.buffers) {
    if (alias_weights && buffer.kind == BufferKind::kWeight) continue;
    bytes = SaturatingAdd(bytes, BytesOf(buffer));
  }
  if (bytes > PhysicalMemoryBytes()) return TooLarge("the program", bytes);
  HostMemory memory(program, alias_weights);
  for (uint32_t id = 0; id < program.buffers.size(); ++id) {
    if (program.buffers[id].kind == BufferKind::kWeight) continue;
    const absl::Status status = memory.Allocate(id);
    if (!status.ok()) return status;
  }
  return memory;
}

absl::Status HostMemory::Allocate(uint32_t id) {
  if (owned_[id] == nullptr) {
    // calloc takes large blocks from the kernel, which zeroes pages when they
    // are touched: a KV cache costs what has been written to it.
    const isa::Buffer& buffer = program_->buffers[id];
    const uint64_t bytes = SaturatingAdd(BytesOf(buffer), kAlignment - 1);
    void* data =
        bytes > PhysicalMemoryBytes() ? nullptr : std::calloc(bytes, 1);
    if (data == nullptr) {
      return TooLarge(absl::StrCat("buffer ", buffer.name), BytesOf(buffer));
    }
    owned_[id].reset(data);
  }
  const uintptr_t start = reinterpret_cast<uintptr_t>(owned_[id].get());
  const uintptr_t padding = (kAlignment - start % kAlignment) % kAlignment;
  buffers_[id].data = static_cast<char*>(owned_[id].get()) + padding;
  return absl::OkStatus();
}

absl::Status HostMemory::Bind(absl::string_view name,
                              const HostTensor& tensor) {
  const absl::StatusOr<uint32_t> id = FindBindable(*program_, name, tensor);
  if (!id.ok()) return id.status();
  const isa::Buffer& buffer = program_->buffers[*id];
  if (alias_weights_ && MayAlias(buffer, tensor)) {
    // Weights are only read.
    buffers_[*id].data = const_cast<void*>(tensor.data);
    owned_[*id].reset();
  } else {
    const absl::Status status = Allocate(*id);
    if (!status.ok()) return status;
    ConvertElements(tensor, buffer.dtype, 0, isa::NumElements(buffer),
                    buffers_[*id].data);
  }
  bound_[*id] = true;
  return absl::OkStatus();
}

absl::Status HostMemory::Read(absl::string_view name,
                              absl::Span<char> out) const {
  const absl::StatusOr<uint32_t> found =
      FindReadable(*program_, name, out.size());
  if (!found.ok()) return found.status();
  const uint32_t id = *found;
  const isa::Buffer& buffer = program_->buffers[id];
  if (buffers_[id].data == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrFormat("buffer %s is not bound", name));
  }
  const HostTensor tensor = {buffer.dtype, buffer.shape, buffers_[id].data};
  ConvertElements(tensor, buffer.dtype, 0, isa::NumElements(buffer),
                  out.data());
  return absl::OkStatus();
}

absl::Status HostMemory::CheckAllBound() const {
  return vm::CheckAllBound(*program_, bound_);
}

}  // namespace mkvm::vm
