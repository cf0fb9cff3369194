#include "vm/gpu_trace.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "isa/traffic.h"
#include "vm/trace_clock.h"

namespace mkvm::vm {
namespace {

template <typename T>
absl::StatusOr<std::vector<T>> Download(const T* from, uint64_t count) {
  std::vector<T> to(count);
  absl::Status status = CudaStatus(
      cudaMemcpy(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost),
      "reading the trace");
  if (!status.ok()) return status;
  return to;
}

}  // namespace

absl::StatusOr<GpuTrace> GpuTrace::Create(const isa::Program& program,
                                          const TraceOptions& options,
                                          int64_t max_passes) {
  GpuTrace trace;
  trace.workers_ = program.num_workers();
  const int64_t first = std::clamp<int64_t>(options.first_pass, 0, max_passes);
  const int64_t end = std::clamp<int64_t>(options.end_pass, first, max_passes);
  trace.first_pass_ = static_cast<uint32_t>(first);
  trace.end_pass_ = static_cast<uint32_t>(end);
  size_t longest = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    longest = std::max(longest, queue.size());
  }
  const uint64_t wanted = longest * static_cast<uint64_t>(end - first);
  const uint64_t fits =
      options.max_bytes / sizeof(ops::TraceRecord) / trace.workers_;
  trace.capacity_ = static_cast<uint32_t>(
      std::clamp<uint64_t>(std::min(wanted, fits), 1, 0xffffffffu));
  // Enough for passes of 1 ms at the closest spacing (interpreter_trace.cuh).
  constexpr uint64_t kSamplesPerPass = 1024;
  constexpr uint64_t kMostSamples = 1 << 16;
  trace.samples_per_worker_ = static_cast<uint32_t>(std::min(
      kSamplesPerPass * static_cast<uint64_t>(end - first + 1), kMostSamples));
  const auto allocate = [&](auto& pointer, uint64_t per_worker) {
    using T = typename std::decay_t<decltype(pointer)>::element_type;
    auto memory = AllocateDevice<T>(per_worker * trace.workers_, "the trace");
    if (memory.ok()) pointer = *std::move(memory);
    return memory.status();
  };
  absl::Status status = allocate(trace.records_, trace.capacity_);
  if (status.ok()) status = allocate(trace.samples_, trace.samples_per_worker_);
  if (status.ok()) status = allocate(trace.counts_, 1);
  if (!status.ok()) return status;
  return trace;
}

TraceArguments GpuTrace::arguments() const {
  return {.records = records_.get(),
          .samples = samples_.get(),
          .counts = counts_.get(),
          .capacity = capacity_,
          .samples_per_worker = samples_per_worker_,
          .first_pass = first_pass_,
          .end_pass = end_pass_};
}

absl::StatusOr<trace::Trace> GpuTrace::Collect(const isa::Program& program,
                                               int64_t first_position) const {
  auto counts = Download(counts_.get(), workers_);
  if (!counts.ok()) return counts.status();
  auto samples =
      Download(samples_.get(), uint64_t{workers_} * samples_per_worker_);
  if (!samples.ok()) return samples.status();
  trace::Trace trace;
  uint64_t origin_ns = ~uint64_t{0};
  for (uint32_t w = 0; w < workers_; ++w) {
    if ((*counts)[w].records == 0) continue;
    if ((*counts)[w].samples < 2) {
      return absl::InternalError(absl::StrFormat(
          "the trace has %d readings of worker %d's clock, too few for times",
          (*counts)[w].samples, w));
    }
    origin_ns = std::min(
        origin_ns, (*samples)[uint64_t{w} * samples_per_worker_].global_ns);
  }
  for (uint32_t w = 0; w < workers_; ++w) {
    if ((*counts)[w].records == 0) continue;
    const absl::Span<const ops::TraceSample> own(
        samples->data() + uint64_t{w} * samples_per_worker_,
        (*counts)[w].samples);
    const ClockMap clock(own, origin_ns);
    // Two workers' errors may add up.
    trace.skew_ns = std::max(trace.skew_ns, 2 * clock.LargestError());
    trace.resolution_ns = clock.NanosPerCycle();
    trace.dropped += (*counts)[w].dropped;
    const std::vector<isa::Instruction>& queue = program.queues[w];
    auto records = Download(records_.get() + uint64_t{w} * capacity_,
                            (*counts)[w].records);
    if (!records.ok()) return records.status();
    trace::Nanos free = trace::kNever;
    for (const ops::TraceRecord& record : *records) {
      trace::Event event = ToEvent(record, w, clock);
      // The other warps come to an instruction while thread 0 still signals
      // the one before; all of them are there when it is, too.
      for (trace::Nanos* time : {&event.visited, &event.waited, &event.ready}) {
        *time = std::max(*time, free);
      }
      free = event.signaled;
      event.bytes =
          isa::StreamedBytes(program.buffers, queue[record.pc]) +
          isa::KvBytes(queue[record.pc], first_position + record.pass);
      trace.events.push_back(event);
    }
  }
  return trace;
}

}  // namespace mkvm::vm
