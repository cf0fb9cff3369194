#include "scheduler/simulate.h"

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "scheduler/simulation.h"

namespace mkvm::scheduler {

std::vector<double> SimulatePassEnds(const isa::Program& program,
                                     const Target& target,
                                     absl::Span<const uint64_t> positions) {
  Simulation simulation(program, target, positions, nullptr);
  if (!simulation.Run()) return {};
  return simulation.pass_ends();
}

absl::StatusOr<trace::Trace> Simulate(const isa::Program& program,
                                      const Target& target,
                                      const SimulateOptions& options) {
  if (options.passes == 0) {
    return absl::InvalidArgumentError("simulate: passes is 0");
  }
  std::vector<uint64_t> positions(options.passes);
  for (uint32_t p = 0; p < options.passes; ++p) {
    positions[p] = options.first_position + p;
  }
  trace::Trace trace;
  Simulation simulation(program, target, positions, &trace.events);
  if (!simulation.Run()) {
    return absl::InvalidArgumentError(
        "simulate: the program's waits form a cycle");
  }
  trace.program = program;
  trace.program.labels.resize(program.num_workers());
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    trace.program.labels[w].resize(program.queues[w].size());
  }
  trace.source = trace::Source::kPredicted;
  trace.machine =
      absl::StrFormat("target %s (%d workers, %d stages)", target.name,
                      program.num_workers(), program.target.stages);
  trace.first_position = static_cast<int64_t>(options.first_position);
  trace.resolution_ns = 1;
  trace.stream_gb_per_s = target.stream_gb_per_s;
  trace::Normalize(trace);
  return trace;
}

}  // namespace mkvm::scheduler
