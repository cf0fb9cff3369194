// What the views draw of a trace: each visit as a row of parts that touch and
// never overlap, and the rate at which bytes were read.
#ifndef MKVM_TRACE_PARTS_H_
#define MKVM_TRACE_PARTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "trace/trace.h"

namespace mkvm::trace {

// What a worker was at during a part of a visit.
enum class Part : uint8_t {
  kWait = 0,         // for producers: counters or tagged data not there yet
  kLoad = 1,         // reading operands that are there
  kOperandWait = 2,  // for operands needed later than the first
  kStageWait = 3,    // for stages of the weight stream
  kCompute = 4,
  kSignal = 5,  // from the results written to the counter ticked
};
inline constexpr int kNumParts = 6;
absl::string_view Name(Part part);  // "wait", "load operands", ...

// The parts of a visit in the order in which they are drawn. The two waits
// inside computing are known by their sums alone: waiting for operands is drawn
// right after the first operands, waiting for stages as one piece that ends
// with the last late stage.
inline constexpr std::array<Part, 7> kPartOrder = {
    Part::kWait,      Part::kLoad,    Part::kOperandWait, Part::kCompute,
    Part::kStageWait, Part::kCompute, Part::kSignal};

// Part i of the visit runs from at[i] to at[i + 1], perhaps empty.
struct Visit {
  std::array<Nanos, kPartOrder.size() + 1> at = {};

  Nanos begin() const { return at.front(); }
  Nanos end() const { return at.back(); }
};

// One visit per event of trace.events, in that order; never descending along
// `at`, and along the visits of a worker. Where times that were recorded
// overlap, the signal of the earlier visit is cut short, then the beginning of
// the later one.
std::vector<Visit> Visits(const Trace& trace);

// GB/s (1e9 bytes) over bins of `bin_ns` from time 0 on. A visit's bytes are
// spread over the time from its first weight copy (from `ready` where it has
// none) to `done`.
struct ReadRate {
  Nanos bin_ns = 0;
  std::vector<float> gb_per_s;
};
// At most `max_bins` (at least 1) bins, none shorter than `min_bin_ns`.
ReadRate RateOfReads(const Trace& trace, size_t max_bins, Nanos min_bin_ns);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_PARTS_H_
