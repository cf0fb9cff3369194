// What got faster or slower from one trace to another.
#ifndef MKVM_TRACE_DIFF_H_
#define MKVM_TRACE_DIFF_H_

#include <string>
#include <vector>

#include "trace/trace.h"

namespace mkvm::trace {

// One side of a row. Sums are worker time: a phase that 128 workers compute
// in for 1 us each takes 128 us of it.
struct DiffSide {
  double per_token = 0;          // visits
  double median_ns = 0;          // of one visit, visited to signaled
  double us_per_token = 0;       // of worker time
  double wait_us_per_token = 0;  // of that: visited to ready
};

struct DiffRow {
  std::string name;  // an opcode or a kind of phase
  DiffSide a, b;     // all 0 where it does not occur

  double change_us() const { return b.us_per_token - a.us_per_token; }
};

struct Diff {
  double a_us_per_token = 0, b_us_per_token = 0;
  uint32_t a_tokens = 0, b_tokens = 0;  // that the figures are means of
  // The largest change of us_per_token first, in either direction.
  std::vector<DiffRow> opcodes, phases;
};

// Programs may differ: rows are matched by name.
Diff Compare(const Trace& a, const Trace& b);
std::string DiffText(const Trace& a, const Trace& b, const Diff& diff);
std::string DiffJson(const Diff& diff);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_DIFF_H_
