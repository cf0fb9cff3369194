// Ways to spoil a program: the adversary of the verifier.
#ifndef MKVM_TESTS_ISA_MUTATIONS_H_
#define MKVM_TESTS_ISA_MUTATIONS_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/strings/string_view.h"
#include "isa/program.h"

namespace mkvm::isa {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  // REQUIRES: n > 0.
  size_t Below(size_t n) { return engine_() % n; }

 private:
  std::mt19937_64 engine_;
};

enum class Promise {
  // What a mutant that verifies computes is what the original computes.
  kSameResult,
  // It may be a sound program for something else (another operand, another
  // shape), but then it computes that in any order.
  kAnyOrder,
};

struct Mutation {
  absl::string_view name;
  Promise promise;
  // Changes the program somewhere. False, and maybe spoiled, when there is
  // nothing to change.
  bool (*apply)(Program& program, Random& random);
};

std::vector<Mutation> AllMutations();

}  // namespace mkvm::isa

#endif  // MKVM_TESTS_ISA_MUTATIONS_H_
