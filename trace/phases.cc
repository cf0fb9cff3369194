// Phases, passes and the breakdown of trace/dependencies.h.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "isa/opcode_table.h"
#include "trace/dependencies.h"

namespace mkvm::trace {
namespace {

// The index of `name` in `names`, where it is appended when it is new.
uint32_t IndexOf(absl::string_view name, std::vector<std::string>& names,
                 absl::flat_hash_map<std::string, uint32_t>& index) {
  const auto [it, inserted] =
      index.try_emplace(name, static_cast<uint32_t>(names.size()));
  if (inserted) names.emplace_back(name);
  return it->second;
}

}  // namespace

Phases::Phases(const isa::Program& program) {
  absl::flat_hash_map<std::string, uint32_t> kind_index, phase_index;
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    begin_.push_back(static_cast<uint32_t>(kind_.size()));
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const isa::OpcodeInfo* info =
          isa::FindOpcode(program.queues[w][pc].opcode);
      const std::string& label = program.labels[w][pc];
      absl::string_view phase = Phase(label);
      if (phase.empty()) phase = info == nullptr ? "unknown" : info->name;
      phase_.push_back(IndexOf(phase, phases_, phase_index));
      kind_.push_back(IndexOf(PhaseKind(phase), kinds_, kind_index));
    }
  }
}

std::vector<uint32_t> Phases::KindsOfPhases() const {
  std::vector<uint32_t> kinds(phases_.size(), 0);
  for (size_t i = 0; i < phase_.size(); ++i) kinds[phase_[i]] = kind_[i];
  return kinds;
}

std::vector<PassSpan> PassSpans(const Trace& trace) {
  std::vector<PassSpan> spans;
  // Events come by worker, so a pass is met often; few passes are recorded.
  const auto find = [&spans](uint32_t pass) {
    return std::lower_bound(
        spans.begin(), spans.end(), pass,
        [](const PassSpan& s, uint32_t p) { return s.pass < p; });
  };
  std::vector<uint32_t> passes;
  for (const Event& e : trace.events) {
    if (passes.empty() || passes.back() != e.pass) passes.push_back(e.pass);
  }
  std::sort(passes.begin(), passes.end());
  passes.erase(std::unique(passes.begin(), passes.end()), passes.end());
  for (const uint32_t pass : passes) spans.push_back({.pass = pass});
  std::vector<uint64_t> num_events(spans.size(), 0);
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    const Event& e = trace.events[i];
    PassSpan& span = *find(e.pass);
    ++num_events[&span - spans.data()];
    if (span.last == kNoEvent) span.begin = e.visited;
    span.begin = std::min(span.begin, e.visited);
    if (span.last == kNoEvent || e.done > span.end) {
      span.last = i;
      span.end = e.done;
    }
  }
  for (size_t i = 1; i < spans.size(); ++i) {
    spans[i].follows = spans[i - 1].pass + 1 == spans[i].pass;
    if (spans[i].follows) spans[i].begin = spans[i - 1].end;
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    spans[i].end = std::max(spans[i].end, spans[i].begin);
    spans[i].complete = num_events[i] == isa::NumInstructions(trace.program);
  }
  return spans;
}

std::vector<PassSpan> TypicalPasses(const std::vector<PassSpan>& passes) {
  std::vector<PassSpan> complete, following;
  for (size_t i = 0; i < passes.size(); ++i) {
    if (!passes[i].complete) continue;
    complete.push_back(passes[i]);
    if (passes[i].follows && passes[i - 1].complete) {
      following.push_back(passes[i]);
    }
  }
  if (!following.empty()) return following;
  return complete.empty() ? passes : complete;
}

Nanos ReadyTime(const Event& event) {
  if (event.ready != kNever) return event.ready;
  return event.waited != kNever ? event.waited : event.visited;
}

Breakdown BreakDown(const Event& event, const Event* previous) {
  // A clock's skew can put times out of order; nothing gets negative by it.
  const auto length = [](Nanos from, Nanos to) {
    return std::max<Nanos>(to - from, 0);
  };
  Breakdown b;
  const Nanos ready = std::max(ReadyTime(event), event.visited);
  b.overhead = length(event.done, event.signaled);
  if (previous != nullptr) {
    b.overhead += length(previous->signaled, event.visited);
  }
  b.wait = ready - event.visited;
  const Nanos body = length(ready, event.done);
  b.stage_wait = std::clamp<Nanos>(event.stage_wait, 0, body);
  b.operand_wait =
      std::clamp<Nanos>(event.operand_wait, 0, body - b.stage_wait);
  b.compute = body - b.stage_wait - b.operand_wait;
  return b;
}

}  // namespace mkvm::trace
