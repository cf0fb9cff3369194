// The files of trace/viewer/ as the build embeds them.
#ifndef MKVM_TRACE_VIEWER_FILES_H_
#define MKVM_TRACE_VIEWER_FILES_H_

#include "absl/strings/string_view.h"

namespace mkvm::trace {

// The page with a place for each of the rest: @style@, @script@, @title@ and
// @data@.
absl::string_view ViewerPage();
absl::string_view ViewerStyle();
absl::string_view ViewerScript();  // all scripts, in their order

}  // namespace mkvm::trace

#endif  // MKVM_TRACE_VIEWER_FILES_H_
