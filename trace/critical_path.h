// The critical path: the chain of events that a token's time consists of.
#ifndef MKVM_TRACE_CRITICAL_PATH_H_
#define MKVM_TRACE_CRITICAL_PATH_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "trace/dependencies.h"
#include "trace/trace.h"

namespace mkvm::trace {

enum class PathPart : uint8_t {
  kCompute = 0,      // ready to done, without the waits below
  kStageWait = 1,    // for weight stages
  kOperandWait = 2,  // for operands after the first
  kPublish = 3,      // the producer's done to signaled, where a counter carries
  kPropagation = 4,  // the least that an edge of this transport has taken
  kDetection = 5,    // the rest until the waiter looked and found it
  kLoad = 6,         // from there until the operands were in registers
  kDispatch = 7,     // from one instruction of a worker to its next
  kUnknown = 8,      // before the first event that was recorded
};
inline constexpr size_t kNumPathParts = 9;
// "compute", "stage wait", ...
absl::string_view Name(PathPart part);

using PathParts = std::array<Nanos, kNumPathParts>;  // by PathPart

// One event on the path, and the time from its predecessor to its end.
struct PathStep {
  EventIndex event = kNoEvent;
  // What it had to wait for: another worker's event (a hop) by `edge`, or its
  // worker's previous one.
  EventIndex predecessor = kNoEvent;  // kNoEvent: the beginning of the path
  bool is_hop = false;
  Edge edge;                 // of a hop
  Nanos begin = 0, end = 0;  // on the path
  PathParts parts = {};      // sum: end - begin
};

// The path of one pass: from the end of the pass before (its latest `done`) to
// its own. The steps are in the order of time and without gaps; parts before
// the previous pass's end are cut off.
struct TokenPath {
  uint32_t pass = 0;
  Nanos begin = 0, end = 0;
  std::vector<PathStep> steps;
  PathParts parts = {};  // sum: end - begin
  uint32_t hops = 0;
};

struct CriticalPath {
  std::vector<TokenPath> tokens;  // ascending by pass
};

CriticalPath FindCriticalPath(const Dependencies& dependencies);

// The path's parts in the mean of the typical passes, nanoseconds per token.
struct PathTable {
  struct Kind {  // of phase
    std::string kind;
    double steps = 0, hops = 0;
    std::array<double, kNumPathParts> parts = {};
  };
  uint32_t num_tokens = 0;
  double ns = 0;
  double hops = 0;  // from one worker to another
  std::array<double, kNumPathParts> parts = {};
  std::vector<Kind> kinds;  // on the path, in the order of the queues
};
PathTable TabulatePath(const Dependencies& dependencies,
                       const CriticalPath& path);
std::string CriticalPathText(const PathTable& table);

// Every step of one token, one line each.
std::string TokenPathText(const Dependencies& dependencies,
                          const TokenPath& token);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_CRITICAL_PATH_H_
