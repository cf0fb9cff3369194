// A pass cut into steps that follow one another: what a machine would launch
// that had a kernel for every op and no interpreter.
#ifndef MKVM_VM_LEVELS_H_
#define MKVM_VM_LEVELS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "isa/program.h"

namespace mkvm::vm {

// Level l of worker w is the instructions [ends[l - 1][w], ends[l][w]) of its
// queue, from 0 where l is 0; none, where the two are the same. Every wait for
// this pass is met by the levels before, so that a level has no waiting within
// it, and every instruction is as early as that allows: instructions of one op
// of the model share a level, the ops of a chain have one each.
using Levels = std::vector<std::vector<uint32_t>>;

// FailedPrecondition naming an instruction whose wait no order meets, which a
// verified program does not have.
absl::StatusOr<Levels> CutIntoLevels(const isa::Program& program);

}  // namespace mkvm::vm

#endif  // MKVM_VM_LEVELS_H_
