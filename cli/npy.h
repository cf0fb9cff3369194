// NumPy's .npy files, as far as programs need them: C order, little-endian.
//
//   magic "\x93NUMPY", version 1.0 or 2.0, header length, then a Python dict
//   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } padded with
//   spaces, then the elements.
//
//   descr                                   held as
//   <f4, <f8, <f2                           kF32 (f8 rounded)
//   <i4, <i8                                kI32 (i8 must fit)
//   [('score', '<f4'), ('index', '<u4')]    kRanked
#ifndef MKVM_CLI_NPY_H_
#define MKVM_CLI_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"

namespace mkvm::cli {

struct NpyArray {
  isa::DType dtype = isa::DType::kF32;  // kF32, kI32 or kRanked
  std::vector<uint64_t> shape;          // a scalar is [1]
  std::vector<char> data;               // row-major, SizeOf(dtype) each
};

// Errors: InvalidArgument saying what is wrong and how to save it instead.
absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes);
// The same with the file's name in front. "-" is stdin.
absl::StatusOr<NpyArray> ReadNpyFile(absl::string_view path);

// Everything before the elements, padded to 64 bytes. `dtype`: as it lies in
// memory after Machine::Read: kF24 and kF32 are <f4, kBf16 must be widened
// first (ToNpy does), kRanked is the record above.
// REQUIRES: dtype != kBf16.
std::string NpyHeader(isa::DType dtype, absl::Span<const uint64_t> shape);

// A whole file from a buffer's bytes as Machine::Read gives them. bf16 is
// widened to <f4.
std::string ToNpy(isa::DType dtype, absl::Span<const uint64_t> shape,
                  absl::Span<const char> data);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_NPY_H_
