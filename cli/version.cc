// mkvm version.
#include <cstdio>

#include "absl/strings/str_format.h"
#include "cli/verbs.h"
#include "isa/opcode.h"

namespace mkvm::cli {

absl::Status VersionVerb(Args) {
  absl::PrintF("mkvm %s, ISA version %d, %s\n", MKVM_VERSION, isa::kIsaVersion,
               MKVM_HAVE_CUDA ? "CPU and GPU machines" : "CPU machine only");
  return absl::OkStatus();
}

}  // namespace mkvm::cli
