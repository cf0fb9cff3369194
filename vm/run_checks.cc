#include "vm/run_checks.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::vm {
namespace {

bool MustBeBound(const isa::Buffer& buffer) {
  return buffer.kind == isa::BufferKind::kWeight ||
         buffer.kind == isa::BufferKind::kInput;
}

}  // namespace

absl::StatusOr<uint32_t> FindReadable(const isa::Program& program,
                                      absl::string_view buffer,
                                      uint64_t bytes) {
  const uint32_t id = isa::FindBuffer(program, buffer);
  if (id == isa::kNoBuffer) {
    return absl::NotFoundError(
        absl::StrFormat("the program has no buffer %s", buffer));
  }
  const isa::Buffer& from = program.buffers[id];
  const uint64_t wanted = isa::NumElements(from) * isa::SizeOf(from.dtype);
  if (bytes != wanted) {
    return absl::InvalidArgumentError(
        absl::StrFormat("buffer %s has %d bytes, the space given has %d",
                        buffer, wanted, bytes));
  }
  return id;
}

absl::Status CheckAllBound(const isa::Program& program,
                           const std::vector<bool>& bound) {
  const isa::Buffer* first = nullptr;
  int others = 0;
  for (size_t id = 0; id < bound.size(); ++id) {
    if (bound[id] || !MustBeBound(program.buffers[id])) continue;
    if (first == nullptr) {
      first = &program.buffers[id];
    } else {
      ++others;
    }
  }
  if (first == nullptr) return absl::OkStatus();
  std::string message =
      absl::StrCat(isa::Name(first->kind), " ", first->name, " is not bound");
  if (others == 1) absl::StrAppend(&message, ", nor is 1 other buffer");
  if (others > 1) {
    absl::StrAppend(&message, ", nor are ", others, " other buffers");
  }
  return absl::FailedPreconditionError(message);
}

absl::Status CheckRunOptions(const RunOptions& options) {
  // Passes are counted in 32 bits.
  constexpr int64_t kMaxPasses = std::numeric_limits<int32_t>::max();
  if (options.max_passes < 0 || options.max_passes > kMaxPasses) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_passes is %d, it must be in [0, %d]",
                        options.max_passes, kMaxPasses));
  }
  if (options.first_position < 0 ||
      options.first_position >
          std::numeric_limits<int64_t>::max() - kMaxPasses) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "first_position is %d, it must not be negative or near 2^63",
        options.first_position));
  }
  return absl::OkStatus();
}

void CompleteTrace(const Machine& machine, const RunOptions& options,
                   trace::Trace& trace) {
  trace.program = machine.program();
  trace.machine = machine.description();
  trace.first_position = options.first_position;
  trace::Normalize(trace);
}

}  // namespace mkvm::vm
