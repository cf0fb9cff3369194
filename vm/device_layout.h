// How the GPU machine lays out buffers that a program sees row-major: rows of a
// KV cache with their chunks permuted (ops/kv_layout.h), activation vectors
// with gaps (ops/activation_layout.h). Host code, no CUDA.
#ifndef MKVM_VM_DEVICE_LAYOUT_H_
#define MKVM_VM_DEVICE_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "isa/program.h"

namespace mkvm::vm {

enum class DeviceLayout : uint8_t {
  kPlain,
  kPermuted,  // a KV cache with heads of 128 elements
  kSpread,    // an f24 vector
};

// Of each buffer. InvalidArgument, with its name, if one would have to have
// two: an f24 buffer with parts of attention that is an operand of another
// kind, too.
absl::StatusOr<std::vector<DeviceLayout>> LayoutsOf(
    const isa::Program& program);

// Permutes the chunks of `count` rows of a cache, of which each split has
// `capacity`, from `row` on; doing it twice undoes it.
void PermuteRows(char* rows, uint64_t row, uint64_t count, uint64_t capacity);

// The words of a vector with gaps of zeros, and back.
std::vector<uint32_t> SpreadWords(absl::Span<const uint32_t> words);
void GatherWords(absl::Span<const uint32_t> spread, absl::Span<uint32_t> words);

}  // namespace mkvm::vm

#endif  // MKVM_VM_DEVICE_LAYOUT_H_
