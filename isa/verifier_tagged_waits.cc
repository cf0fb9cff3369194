#include "isa/verifier_tagged_waits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mkvm::isa {
namespace {

template <typename Predicate>
bool AnyOf(absl::Span<const uint32_t> values, Predicate predicate) {
  return std::any_of(values.begin(), values.end(), predicate);
}

}  // namespace

void CheckTaggedWaits(const Program& program, absl::Span<const Dataflow> flows,
                      Report& report) {
  for (uint32_t index = 0; index < flows[0].places.size(); ++index) {
    const Place place = flows[0].places[index];
    const Instruction& i = program.queues[place.worker][place.pc];
    for (int k = 0; k < i.num_waits; ++k) {
      if (!i.WaitIsTagged(k)) continue;
      const uint32_t counter = i.waits[k].counter;
      const auto polls_it = [&](const Dataflow& flow) {
        const auto signals = [&](uint32_t write) {
          const Place writer = flow.places[flow.instruction_of[write]];
          return program.queues[writer.worker][writer.pc].signal == counter;
        };
        const auto comes_from_it = [&](uint32_t r) {
          const Dataflow::Region& region = flow.regions[r];
          return std::any_of(flow.writes.begin() + region.first_write,
                             flow.writes.begin() + region.last_write, signals);
        };
        return AnyOf(flow.polls[index], comes_from_it) ||
               AnyOf(flow.polls_some[index], comes_from_it);
      };
      if (i.WaitIsLagged(k)) {
        report.Add(place,
                   absl::StrCat("its wait for ", report.CounterName(counter),
                                " is lagged and tagged, but tagged data are "
                                "of this pass"));
      } else if (std::none_of(flows.begin(), flows.end(), polls_it)) {
        report.Add(place,
                   absl::StrCat("its wait for ", report.CounterName(counter),
                                " is tagged, but it polls nothing that the "
                                "counter's producers write"),
                   {"mend: poll an operand of theirs, or wait untagged"});
      }
      if (report.full()) return;
    }
  }
}

}  // namespace mkvm::isa
