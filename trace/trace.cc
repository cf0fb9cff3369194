#include "trace/trace.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"

namespace mkvm::trace {
namespace {

bool IsNumber(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

// Calls visit(time) for every time of the event, kNever included.
template <typename Visit>
void VisitTimes(Event& e, Visit visit) {
  for (Nanos* time :
       {&e.fetched, &e.load_begin, &e.load_end, &e.visited, &e.waited,
        &e.poll_begin, &e.ready, &e.stage_ready, &e.done, &e.signaled}) {
    visit(*time);
  }
}

}  // namespace

std::string Name(const Trace& trace, const Event& event) {
  const isa::Program& program = trace.program;
  const std::string& label = program.labels[event.worker][event.pc];
  if (!label.empty()) return label;
  const isa::OpcodeInfo* info =
      isa::FindOpcode(program.queues[event.worker][event.pc].opcode);
  return absl::StrCat(info == nullptr ? "unknown" : info->name, "@",
                      event.worker, ":", event.pc);
}

absl::string_view Phase(absl::string_view label) {
  const size_t bracket = label.rfind('[');
  return bracket == absl::string_view::npos ? label : label.substr(0, bracket);
}

absl::string_view PhaseKind(absl::string_view phase) {
  // "L07.": a layer.
  const size_t dot = phase.find('.');
  if (dot != absl::string_view::npos && phase[0] == 'L' &&
      IsNumber(phase.substr(1, dot - 1))) {
    phase.remove_prefix(dot + 1);
  }
  // ".h3": a head.
  const size_t head = phase.rfind(".h");
  if (head != absl::string_view::npos && IsNumber(phase.substr(head + 2))) {
    phase = phase.substr(0, head);
  }
  return phase;
}

void Normalize(Trace& trace) {
  std::sort(trace.events.begin(), trace.events.end(),
            [](const Event& a, const Event& b) {
              return std::tie(a.worker, a.pass, a.pc) <
                     std::tie(b.worker, b.pass, b.pc);
            });
  trace.first_pass = trace.num_passes = 0;
  if (trace.events.empty()) return;
  Nanos origin = std::numeric_limits<Nanos>::max();
  uint32_t first = std::numeric_limits<uint32_t>::max();
  uint32_t last = 0;
  for (Event& event : trace.events) {
    VisitTimes(event, [&](Nanos time) {
      if (time != kNever) origin = std::min(origin, time);
    });
    first = std::min(first, event.pass);
    last = std::max(last, event.pass);
  }
  for (Event& event : trace.events) {
    VisitTimes(event, [&](Nanos& time) {
      if (time != kNever) time -= origin;
    });
  }
  trace.first_pass = first;
  trace.num_passes = last - first + 1;
}

}  // namespace mkvm::trace
