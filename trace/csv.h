// A trace as comma-separated values, for people with their own tools.
#ifndef MKVM_TRACE_CSV_H_
#define MKVM_TRACE_CSV_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "trace/dependencies.h"

namespace mkvm::trace {

// A header, then a line per event in the order of Trace::events, handed to
// `write` in pieces of whole lines. Times are nanoseconds on the trace's
// clock; what did not happen, or was not recorded, is an empty field. Text is
// quoted as RFC 4180 has it.
void WriteCsv(const Dependencies& dependencies,
              const std::function<void(absl::string_view)>& write);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_CSV_H_
