// A trace as one self-contained page that draws the timeline of all workers.
#ifndef MKVM_TRACE_HTML_H_
#define MKVM_TRACE_HTML_H_

#include <string>

#include "trace/critical_path.h"
#include "trace/dependencies.h"

namespace mkvm::trace {

// The page: the viewer of trace/viewer/ and the trace's data, in about 150
// bytes per event. It loads nothing else.
std::string ToHtml(const Dependencies& dependencies, const CriticalPath& path);

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_HTML_H_
