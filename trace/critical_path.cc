#include "trace/critical_path.h"

#include <algorithm>
#include <utility>

namespace mkvm::trace {
namespace {

// Splits the time from `at` on into parts, one after the other; what lies
// before `cut` does not count.
class PartClock {
 public:
  PartClock(Nanos begin, Nanos end, Nanos cut, PathParts& parts)
      : at_(begin), end_(end), cut_(cut), parts_(parts) {}

  // The time up to `until` is `part`'s.
  void Until(PathPart part, Nanos until) {
    until = std::clamp(until, at_, end_);
    parts_[static_cast<size_t>(part)] +=
        std::max(until, cut_) - std::max(at_, cut_);
    at_ = until;
  }
  void For(PathPart part, Nanos duration) { Until(part, at_ + duration); }
  Nanos at() const { return at_; }

 private:
  Nanos at_;
  const Nanos end_, cut_;
  PathParts& parts_;
};

class Walker {
 public:
  explicit Walker(const Dependencies& dependencies)
      : d_(dependencies), events_(dependencies.trace().events) {}

  TokenPath Walk(const PassSpan& span) {
    TokenPath token;
    token.pass = span.pass;
    token.begin = span.begin;
    token.end = span.end;
    Nanos at = span.end;
    EventIndex event = span.last;
    // A trace of a program that can't run may lead around in a circle.
    for (size_t left = events_.size(); left > 0 && at > token.begin; --left) {
      PathStep step = StepTo(event, at, token.begin);
      at = step.begin;
      step.begin = std::max(step.begin, token.begin);
      event = step.predecessor;
      token.steps.push_back(step);
      if (event == kNoEvent) break;
    }
    std::reverse(token.steps.begin(), token.steps.end());
    for (const PathStep& step : token.steps) {
      token.hops += step.is_hop ? 1 : 0;
      for (size_t i = 0; i < kNumPathParts; ++i) {
        token.parts[i] += step.parts[i];
      }
    }
    // What the walk could not explain.
    if (event != kNoEvent) {
      token.parts[static_cast<size_t>(PathPart::kUnknown)] +=
          std::max<Nanos>(at - token.begin, 0);
    }
    return token;
  }

 private:
  // The edge from another worker that let the event begin, if it came after
  // the event's place in the queue did; else none.
  Edge BindingEdge(EventIndex event) const {
    Edge binding;
    Nanos latest = events_[event].visited;
    for (int i = 0; i < d_.NumWaits(event); ++i) {
      const Edge edge = d_.HopOf(event, i);
      if (edge.producer == kNoEvent) continue;
      const Nanos visible = edge.publish + d_.Propagation(edge.transport);
      if (visible > latest) {
        latest = visible;
        binding = edge;
      }
    }
    return binding;
  }

  // The step that ends with `event` at time `end`; its begin may be before
  // `cut`, its parts are not.
  PathStep StepTo(EventIndex event, Nanos end, Nanos cut) const {
    PathStep step;
    step.event = event;
    step.end = end;
    step.edge = BindingEdge(event);
    step.is_hop = step.edge.producer != kNoEvent;
    step.predecessor = step.is_hop ? step.edge.producer : d_.Previous(event);
    step.begin = step.predecessor == kNoEvent
                     ? cut
                     : std::min(events_[step.predecessor].done, end);
    PartClock clock(step.begin, end, cut, step.parts);
    const Nanos arrival =
        step.is_hop ? AddHop(step, clock) : AddQueue(step, clock);
    AddBody(events_[event], arrival, clock);
    return step;
  }

  // From the producer's done to the operands; returns when those were there.
  Nanos AddHop(const PathStep& step, PartClock& clock) const {
    const Edge& edge = step.edge;
    const Nanos detected =
        std::max(d_.Detected(step.event, edge.transport), edge.publish);
    clock.Until(PathPart::kPublish, edge.publish);
    clock.Until(
        PathPart::kPropagation,
        std::min(edge.publish + d_.Propagation(edge.transport), detected));
    clock.Until(PathPart::kDetection, detected);
    clock.Until(PathPart::kLoad, ReadyTime(events_[step.event]));
    return edge.publish;
  }

  // From the previous instruction's done to operands that were there already.
  Nanos AddQueue(const PathStep& step, PartClock& clock) const {
    const Event& e = events_[step.event];
    clock.Until(
        step.predecessor == kNoEvent ? PathPart::kUnknown : PathPart::kDispatch,
        e.visited);
    clock.Until(PathPart::kDetection, std::max(e.waited, e.poll_begin));
    clock.Until(PathPart::kLoad, ReadyTime(e));
    return e.visited;
  }

  void AddBody(const Event& e, Nanos arrival, PartClock& clock) const {
    // Operands that came after `ready`: only the wait after the arrival that
    // the path goes through.
    const Nanos late = std::max<Nanos>(arrival - ReadyTime(e), 0);
    clock.For(PathPart::kOperandWait,
              std::max<Nanos>(e.operand_wait - late, 0));
    clock.For(PathPart::kStageWait, e.stage_wait);
    clock.Until(PathPart::kCompute, kEndOfStep);
  }

  static constexpr Nanos kEndOfStep = std::numeric_limits<Nanos>::max();

  const Dependencies& d_;
  const std::vector<Event>& events_;
};

}  // namespace

absl::string_view Name(PathPart part) {
  switch (part) {
    case PathPart::kCompute:
      return "compute";
    case PathPart::kStageWait:
      return "stage wait";
    case PathPart::kOperandWait:
      return "later operands";
    case PathPart::kPublish:
      return "publish";
    case PathPart::kPropagation:
      return "propagation";
    case PathPart::kDetection:
      return "detection";
    case PathPart::kLoad:
      return "activation load";
    case PathPart::kDispatch:
      return "dispatch";
    case PathPart::kUnknown:
      return "not recorded";
  }
  return "unknown";
}

CriticalPath FindCriticalPath(const Dependencies& dependencies) {
  Walker walker(dependencies);
  CriticalPath path;
  for (const PassSpan& span : PassSpans(dependencies.trace())) {
    path.tokens.push_back(walker.Walk(span));
  }
  return path;
}

}  // namespace mkvm::trace
