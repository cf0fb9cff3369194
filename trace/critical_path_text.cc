// The critical path in words.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "trace/critical_path.h"

namespace mkvm::trace {
namespace {

double Micros(double nanos) { return nanos / 1e3; }

std::string HopText(const Dependencies& dependencies, const PathStep& step) {
  const Trace& trace = dependencies.trace();
  if (step.predecessor == kNoEvent) return "the beginning";
  const Event& from = trace.events[step.predecessor];
  if (!step.is_hop) return "its place in the queue";
  return absl::StrFormat(
      "%s on worker %d (%s)", Name(trace, from), from.worker,
      step.edge.transport == Transport::kTagged ? "tagged" : "counter");
}

}  // namespace

PathTable TabulatePath(const Dependencies& dependencies,
                       const CriticalPath& path) {
  const Trace& trace = dependencies.trace();
  const Phases phases(trace.program);
  PathTable table;
  table.kinds.resize(phases.kinds().size());
  for (size_t k = 0; k < table.kinds.size(); ++k) {
    table.kinds[k].kind = phases.kinds()[k];
  }
  for (const PassSpan& span : TypicalPasses(PassSpans(trace))) {
    const auto token = std::lower_bound(
        path.tokens.begin(), path.tokens.end(), span.pass,
        [](const TokenPath& t, uint32_t pass) { return t.pass < pass; });
    if (token == path.tokens.end() || token->pass != span.pass) continue;
    ++table.num_tokens;
    table.hops += token->hops;
    table.ns += static_cast<double>(token->end - token->begin);
    for (size_t i = 0; i < kNumPathParts; ++i) {
      table.parts[i] += static_cast<double>(token->parts[i]);
    }
    for (const PathStep& step : token->steps) {
      PathTable::Kind& kind =
          table.kinds[phases.KindOf(trace.events[step.event])];
      ++kind.steps;
      kind.hops += step.is_hop ? 1 : 0;
      for (size_t i = 0; i < kNumPathParts; ++i) {
        kind.parts[i] += static_cast<double>(step.parts[i]);
      }
    }
  }
  const double tokens = std::max<double>(table.num_tokens, 1);
  table.ns /= tokens;
  table.hops /= tokens;
  for (double& part : table.parts) part /= tokens;
  for (PathTable::Kind& kind : table.kinds) {
    kind.steps /= tokens;
    kind.hops /= tokens;
    for (double& part : kind.parts) part /= tokens;
  }
  std::erase_if(table.kinds,
                [](const PathTable::Kind& k) { return k.steps == 0; });
  return table;
}

std::string CriticalPathText(const PathTable& table) {
  std::string text = absl::StrFormat(
      "Critical path (mean of %d token%s): %.2f us, %.1f hops\n",
      table.num_tokens, table.num_tokens == 1 ? "" : "s", Micros(table.ns),
      table.hops);
  for (size_t i = 0; i < kNumPathParts; ++i) {
    if (table.parts[i] == 0) continue;
    absl::StrAppendFormat(&text, "  %-16s %10.2f us %6.1f %%\n",
                          Name(static_cast<PathPart>(i)),
                          Micros(table.parts[i]),
                          table.ns > 0 ? 100 * table.parts[i] / table.ns : 0);
  }
  // The parts in the order of PathPart, the waits inside of the body together.
  absl::StrAppendFormat(&text, "  %-12s %6s %6s %9s %9s %9s %9s %9s %9s %9s\n",
                        "phase", "steps", "hops", "us", "compute", "stages",
                        "publish", "travel", "load", "dispatch");
  for (const PathTable::Kind& kind : table.kinds) {
    const auto part = [&kind](PathPart p) {
      return kind.parts[static_cast<size_t>(p)];
    };
    absl::StrAppendFormat(
        &text,
        "  %-12s %6.1f %6.1f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n",
        kind.kind, kind.steps, kind.hops,
        Micros(std::accumulate(kind.parts.begin(), kind.parts.end(), 0.0)),
        Micros(part(PathPart::kCompute)),
        Micros(part(PathPart::kStageWait) + part(PathPart::kOperandWait)),
        Micros(part(PathPart::kPublish)),
        Micros(part(PathPart::kPropagation) + part(PathPart::kDetection)),
        Micros(part(PathPart::kLoad)),
        Micros(part(PathPart::kDispatch) + part(PathPart::kUnknown)));
  }
  return text;
}

std::string TokenPathText(const Dependencies& dependencies,
                          const TokenPath& token) {
  const Trace& trace = dependencies.trace();
  std::string text = absl::StrFormat(
      "Pass %d, %.2f us, %d steps. Times in us from its beginning.\n",
      token.pass, Micros(static_cast<double>(token.end - token.begin)),
      token.steps.size());
  for (const PathStep& step : token.steps) {
    const Event& e = trace.events[step.event];
    absl::StrAppendFormat(&text, "  %9.2f %-22s worker %-4d after %s:",
                          Micros(static_cast<double>(step.begin - token.begin)),
                          Name(trace, e), e.worker,
                          HopText(dependencies, step));
    for (size_t i = 0; i < kNumPathParts; ++i) {
      if (step.parts[i] == 0) continue;
      absl::StrAppendFormat(&text, " %s %.2f", Name(static_cast<PathPart>(i)),
                            Micros(static_cast<double>(step.parts[i])));
    }
    text += '\n';
  }
  return text;
}

}  // namespace mkvm::trace
