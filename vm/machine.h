// A machine runs programs. Two implementations: CpuMachine (threads) and
// GpuMachine (one persistent block per worker).
//
// Life of a machine: Create(program) -> Bind(...) every weight and input ->
// Run(...) any number of times -> Read(...) results. State buffers (KV cache,
// tokens) survive between runs. Not thread-safe.
#ifndef MKVM_VM_MACHINE_H_
#define MKVM_VM_MACHINE_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "trace/trace.h"

namespace mkvm::vm {

// A tensor in host memory, row-major, not owned. f24 is held as binary32;
// ranked as 8 bytes.
struct HostTensor {
  isa::DType dtype = isa::DType::kF32;
  std::vector<uint64_t> shape;
  const void* data = nullptr;
};

// Which passes to record, and how much of them.
struct TraceOptions {
  int64_t first_pass = 0;
  int64_t end_pass = std::numeric_limits<int64_t>::max();
  // Of records, in the machine's memory. Recording ends when they are full;
  // Trace::dropped counts what was not kept.
  uint64_t max_bytes = uint64_t{256} << 20;
};

struct RunOptions {
  int64_t first_position = 0;  // position of pass 0, tokens
  // Passes at most; the program may stop earlier (halt). One token per pass.
  int64_t max_passes = 1;
  // Called on the caller's thread, in order, while the program runs.
  std::function<void(int64_t position, int32_t token)> on_token;
  // A worker that waits longer than this for one counter is stuck.
  double watchdog_seconds = 5.0;
  std::optional<TraceOptions> trace;  // record a trace of the run
};

struct RunResult {
  int64_t passes = 0;                 // passes completed
  double seconds = 0;                 // wall time of the run, without load
  std::optional<trace::Trace> trace;  // with RunOptions::trace
};

class Machine {
 public:
  virtual ~Machine() = default;

  // Copies (or packs) `tensor` into the buffer of that name. A float dtype is
  // converted to the buffer's: f32 -> f24, f32 -> bf16 (nearest even), bf16 ->
  // f32. Activations can't be bound. Errors: NotFound; InvalidArgument on
  // another shape or dtype, naming both.
  virtual absl::Status Bind(absl::string_view buffer,
                            const HostTensor& tensor) = 0;

  // Copies a buffer out as the program's dtype (f24 as binary32, tag removed;
  // ranked with its tag byte zero). `out` holds exactly the buffer's bytes.
  virtual absl::Status Read(absl::string_view buffer, absl::Span<char> out) = 0;

  // FailedPrecondition when a weight or input is not bound (naming it).
  // DeadlineExceeded when stuck: "worker 3 waits in pass 0 at pc 17
  // (L03.qkv[17], gemv) for counter L03.x: 127 seen, 128 wanted".
  virtual absl::StatusOr<RunResult> Run(const RunOptions& options) = 0;

  virtual const isa::Program& program() const = 0;
  // "NVIDIA H200 (132 SMs)", "CPU (2 threads, AVX-512)".
  virtual std::string description() const = 0;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_MACHINE_H_
