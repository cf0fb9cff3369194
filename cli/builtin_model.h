// mkvm-tiny: the model that comes with mkvm, a HuggingFace snapshot in
// models/mkvm-tiny.
#ifndef MKVM_CLI_BUILTIN_MODEL_H_
#define MKVM_CLI_BUILTIN_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::cli {

inline constexpr absl::string_view kBuiltinModel = "mkvm-tiny";

// Whether --model asks for it by name: "tiny" or "mkvm-tiny".
bool IsBuiltinName(absl::string_view name);

// Its folder: beside the executable (build folder, then an installation), else
// in the sources that mkvm was built from. NotFound naming all of them.
absl::StatusOr<std::string> FindBuiltinModel();

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BUILTIN_MODEL_H_
