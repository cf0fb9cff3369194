// What both forms of a program agree on: limits and well-formed names.
#ifndef MKVM_ISA_PROGRAM_FORMAT_H_
#define MKVM_ISA_PROGRAM_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::isa {

// The first bytes of the binary form. Like PNG's, they catch a transfer that
// converted line ends.
inline constexpr char kMagicBytes[] = "mkvm\r\n\x1a\n";
inline constexpr absl::string_view kMagic(kMagicBytes, 8);
inline constexpr uint32_t kFormatVersion = 1;

inline constexpr size_t kTotalBytesOffset = 16;  // of header field total_bytes
inline constexpr size_t kHeaderBytes = 24;
inline constexpr size_t kChecksumBytes = 8;  // the last ones of the file
static_assert(
    std::endian::native == std::endian::little,
    "the file and the encoding are little-endian, copied as they are");

// FNV-1a, 64 bits, of all before it. Every step is a bijection of the state,
// so no change of a single byte goes unseen.
uint64_t FileChecksum(absl::string_view bytes);

inline constexpr size_t kMaxDimensions = 4;
// A label is stored once however many instructions bear it; a bound keeps a
// small file from growing large in memory.
inline constexpr size_t kMaxLabelBytes = 256;
// Offsets and byte counts of a buffer stay far from overflow.
inline constexpr uint64_t kMaxBufferBytes = uint64_t{1} << 48;

// Whether `name` may name a buffer or a counter: [A-Za-z0-9_.-]+.
bool IsWellFormedName(absl::string_view name);

// 1 to 4 dimensions, none 0, at most kMaxBufferBytes. Empty when it is well
// formed, else what is wrong with it.
absl::string_view WhyShapeIsMalformed(absl::Span<const uint64_t> shape,
                                      uint32_t element_bytes);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_PROGRAM_FORMAT_H_
