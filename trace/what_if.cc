#include "trace/what_if.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "trace/replay.h"

namespace mkvm::trace {
namespace {

constexpr double kNanosPerMicro = 1e3;

// Microseconds of a typical pass, when pass i ends at ends[i] nanoseconds.
class TokenTime {
 public:
  explicit TokenTime(const Trace& trace) : spans_(PassSpans(trace)) {
    typical_ = TypicalPasses(spans_);
  }

  size_t num_tokens() const { return typical_.size(); }

  double Measured() const {
    std::vector<double> ends;
    for (const PassSpan& span : spans_) {
      ends.push_back(static_cast<double>(span.end));
    }
    return Of(ends);
  }

  double Of(const std::vector<double>& ends) const {
    double sum = 0;
    size_t next = 0;
    for (size_t i = 0; i < spans_.size() && next < typical_.size(); ++i) {
      if (spans_[i].pass != typical_[next].pass) continue;
      ++next;
      sum +=
          ends[i] - (spans_[i].follows ? ends[i - 1]
                                       : static_cast<double>(spans_[i].begin));
    }
    return sum / static_cast<double>(typical_.size()) / kNanosPerMicro;
  }

 private:
  std::vector<PassSpan> spans_, typical_;
};

}  // namespace

absl::StatusOr<WhatIf> AskWhatIf(const Dependencies& dependencies) {
  const Trace& trace = dependencies.trace();
  if (trace.events.empty()) {
    return absl::FailedPreconditionError("no events were recorded");
  }
  if (trace.dropped > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(trace.dropped, " events were dropped"));
  }
  const Replay replay(dependencies);
  if (!replay.is_ordered()) {
    return absl::FailedPreconditionError(
        "the program's waits form a circle (mkvm verify says which)");
  }
  const TokenTime time(trace);
  WhatIf what_if;
  what_if.num_tokens = static_cast<uint32_t>(time.num_tokens());
  what_if.measured_us_per_token = time.Measured();
  what_if.replayed_us_per_token = time.Of(replay.PassEnds({}));
  what_if.has_stream = replay.stream().recorded;
  if (replay.stream().stage_ns > 0) {
    what_if.stream_gb_per_s =
        static_cast<double>(trace.program.target.stage_bytes) *
        trace.program.num_workers() / replay.stream().stage_ns;
  }
  const auto ask = [&](absl::string_view name, const Assumptions& assumptions) {
    what_if.results.push_back({std::string(name), assumptions,
                               time.Of(replay.PassEnds(assumptions))});
  };
  const bool stream = what_if.has_stream;
  ask("hops free", {.hops_free = true});
  if (stream) ask("bandwidth infinite", {.bandwidth_infinite = true});
  ask("balance perfect", {.balance_perfect = true});
  ask(stream ? "all three" : "both", {.hops_free = true,
                                      .bandwidth_infinite = stream,
                                      .balance_perfect = true});
  return what_if;
}

std::string WhatIfText(const WhatIf& what_if) {
  std::string text = absl::StrFormat(
      "What if (recorded durations replayed, mean of %d token%s)\n",
      what_if.num_tokens, what_if.num_tokens == 1 ? "" : "s");
  const auto line = [&](absl::string_view name, double us, double base) {
    absl::StrAppendFormat(&text, "  %-20s %10.2f us/token %+7.1f %%\n", name,
                          us, base > 0 ? 100 * (us / base - 1) : 0);
  };
  const double measured = what_if.measured_us_per_token;
  line("measured", measured, 0);
  line("replayed as it was", what_if.replayed_us_per_token, measured);
  text += "  against the replay:\n";
  for (const WhatIfResult& result : what_if.results) {
    line(result.name, result.us_per_token, what_if.replayed_us_per_token);
  }
  if (!what_if.has_stream) {
    text += "  (this machine has no weight stream of its own to make faster)\n";
  } else if (what_if.stream_gb_per_s > 0) {
    absl::StrAppendFormat(&text, "  stream observed: %.0f GB/s\n",
                          what_if.stream_gb_per_s);
  }
  return text;
}

}  // namespace mkvm::trace
