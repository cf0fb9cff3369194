#include "vm/cpu_trace.h"

#include <algorithm>

#include "isa/traffic.h"

namespace mkvm::vm {

CpuTrace::CpuTrace(const isa::Program& program, const TraceOptions& options)
    : program_(program),
      options_(options),
      capacity_(std::max<uint64_t>(
          1, options.max_bytes / sizeof(trace::Event) / program.num_workers())),
      workers_(program.num_workers()) {}

void CpuTrace::Visit(uint32_t w, const WorkerPlace& place) {
  Recording& r = workers_[w];
  if (r.visiting) return;
  r.visiting = true;
  r.wanted =
      place.pass >= options_.first_pass && place.pass < options_.end_pass;
  if (!r.wanted) return;
  r.now = {};
  r.now.worker = w;
  r.now.pass = place.pass;
  r.now.pc = place.pc;
  r.now.visited = Now();
}

void CpuTrace::Hold(uint32_t w, int i) {
  workers_[w].now.last_wait = static_cast<int8_t>(i);
}

void CpuTrace::Begin(uint32_t w) {
  Recording& r = workers_[w];
  if (r.wanted) r.now.waited = r.now.ready = Now();
}

void CpuTrace::Done(uint32_t w) {
  Recording& r = workers_[w];
  if (r.wanted) r.now.done = Now();
}

void CpuTrace::Signaled(uint32_t w) {
  Recording& r = workers_[w];
  r.visiting = false;
  if (!r.wanted) return;
  r.now.signaled = Now();
  if (r.events.size() < capacity_) {
    r.events.push_back(r.now);
  } else {
    ++r.dropped;
  }
}

trace::Trace CpuTrace::Collect(int64_t first_position) const {
  trace::Trace trace;
  trace.resolution_ns = 1e9 * Clock::period::num / Clock::period::den;
  for (uint32_t w = 0; w < workers_.size(); ++w) {
    trace.dropped += workers_[w].dropped;
    const std::vector<isa::Instruction>& queue = program_.queues[w];
    for (trace::Event event : workers_[w].events) {
      event.bytes = isa::StreamedBytes(program_.buffers, queue[event.pc]) +
                    isa::KvBytes(queue[event.pc], first_position + event.pass);
      trace.events.push_back(event);
    }
  }
  return trace;
}

}  // namespace mkvm::vm
