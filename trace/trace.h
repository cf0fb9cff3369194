// An instruction trace: what every worker did in a window of passes, measured
// by a machine or predicted by the simulator. It holds the program too, so
// that names, waits and dependencies need no other file.
//
// docs/profiling.md says how to read one, docs/trace_format.md how it is
// stored.
#ifndef MKVM_TRACE_TRACE_H_
#define MKVM_TRACE_TRACE_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"

namespace mkvm::trace {

// Nanoseconds on the trace's one clock; 0 is the first event of the trace.
using Nanos = int64_t;
// The event did not happen, or was not recorded.
inline constexpr Nanos kNever = std::numeric_limits<int64_t>::min();

// One visit of one worker to one instruction. In the order in which a worker
// goes through them: fetched <= visited <= waited <= ready <= done <= signaled.
// The loader's events may come long before `visited`.
struct Event {
  uint32_t worker = 0;
  uint32_t pass = 0;
  uint32_t pc = 0;
  // The wait (0..3) whose counter was seen last; -1 when none was waited for
  // by its counter (no waits, or all carried by tagged data).
  int8_t last_wait = -1;
  // The buffer (program.buffers) whose polled elements came last; kNoBuffer
  // when nothing was polled.
  uint32_t last_buffer = isa::kNoBuffer;
  uint64_t bytes = 0;  // of weights and KV cache that it reads

  Nanos fetched = kNever;      // decoded, in the worker's slot
  Nanos load_begin = kNever;   // its first weight copy was issued
  Nanos load_end = kNever;     // its last weight copy was issued
  Nanos visited = kNever;      // the compute side has come to it
  Nanos waited = kNever;       // its counters have been seen
  Nanos poll_begin = kNever;   // the last, successful poll of operands issued
  Nanos ready = kNever;        // first operands there: computing can begin
  Nanos stage_ready = kNever;  // the last stage that came late has come
  Nanos done = kNever;         // results written
  Nanos signaled = kNever;     // counter ticked; the slot is given back
  Nanos stage_wait = 0;        // duration: waiting for weight stages, in all
  Nanos operand_wait = 0;      // duration: waiting for operands after `ready`
};

enum class Source : uint8_t {
  kMeasured = 0,
  kPredicted = 1,  // by the simulator, from a target's cost model
};

struct Trace {
  isa::Program program;
  Source source = Source::kMeasured;
  std::string machine;         // "NVIDIA H200 (132 SMs, 128 workers, 6 stages)"
  std::string command;         // how it came about, for people
  int64_t first_position = 0;  // of pass 0, tokens
  uint32_t first_pass = 0;     // of the window recorded
  uint32_t num_passes = 0;     // recorded in part or in full
  // The buffer was full before the window ended: `dropped` events are missing.
  uint64_t dropped = 0;
  // The clock: its step, and how far two workers' clocks may be apart.
  double resolution_ns = 0;
  double skew_ns = 0;
  // A read-only stream on the same machine; 0: not known.
  double stream_gb_per_s = 0;
  // Ascending by worker, then pass, then pc.
  std::vector<Event> events;
};

// What an event belongs to, e.g. "L07.down[112]"; opcode and place where the
// program gives it no label.
std::string Name(const Trace& trace, const Event& event);

// The label without its last index: "L07.down[112]" -> "L07.down".
absl::string_view Phase(absl::string_view label);
// The phase without its layer: "L07.down" -> "down"; "head" stays.
absl::string_view PhaseKind(absl::string_view phase);

// Sorts `events`, moves time 0 to the earliest event, and sets first_pass and
// num_passes from them.
void Normalize(Trace& trace);

// The file's bytes (docs/trace_format.md). Times are kept within two seconds
// before and after the visit. Parse checks everything that it relies on,
// the program's fields included; errors: InvalidArgument, naming the field.
std::string Serialize(const Trace& trace);
absl::StatusOr<Trace> Parse(absl::string_view bytes);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_TRACE_H_
