#include "tests/isa/mutations.h"

#include "tests/isa/mutation_tools.h"

namespace mkvm::isa {

std::vector<Mutation> AllMutations() {
  std::vector<Mutation> all;
  for (const auto& part :
       {EdgeMutations(), QueueMutations(), OperandMutations()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace mkvm::isa
