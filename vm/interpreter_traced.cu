// The interpreter with trace points.
#define MKVM_TRACED 1
#include "vm/interpreter_kernel.cuh"

namespace mkvm::vm {

uint32_t TracedStagesThatFit(uint64_t bytes) { return StagesOfThis(bytes); }

int LaunchTracedInterpreter(const LaunchArguments& arguments, uint32_t workers,
                            CUstream_st* stream) {
  return LaunchThis(arguments, workers, stream);
}

}  // namespace mkvm::vm
