// Compiling in memory, for the verbs that need a program on the spot.
#ifndef MKVM_CLI_COMPILE_H_
#define MKVM_CLI_COMPILE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "cli/device.h"
#include "isa/program.h"
#include "model/config.h"
#include "scheduler/compile.h"
#include "scheduler/target.h"

namespace mkvm::cli {

// A program for `target` with room for at least `positions` tokens, rounded up
// so that the shape of the program does not hang on the last token asked for.
// `options` gives what else there is to choose. OutOfRange when the model has
// fewer positions.
absl::StatusOr<isa::Program> CompileFor(const model::Config& config,
                                        const scheduler::Target& target,
                                        int64_t positions, bool logits,
                                        scheduler::CompileOptions options = {});
// The same for the target that describes `device`.
absl::StatusOr<isa::Program> CompileFor(const model::Config& config,
                                        const Device& device, int64_t positions,
                                        bool logits,
                                        scheduler::CompileOptions options = {});

}  // namespace mkvm::cli

#endif  // MKVM_CLI_COMPILE_H_
