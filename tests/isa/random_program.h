// Programs made of random fields: well formed, so that they serialise and
// parse, but mostly not valid.
#ifndef MKVM_TESTS_ISA_RANDOM_PROGRAM_H_
#define MKVM_TESTS_ISA_RANDOM_PROGRAM_H_

#include <cstdint>

#include "isa/program.h"

namespace mkvm::isa {

// The same program for the same seed, everywhere.
Program RandomProgram(uint64_t seed);

}  // namespace mkvm::isa

#endif  // MKVM_TESTS_ISA_RANDOM_PROGRAM_H_
