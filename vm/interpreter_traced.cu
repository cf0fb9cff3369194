// The interpreter with trace points.
#define MKVM_TRACED 1
#include "vm/interpreter_kernel.cuh"

namespace mkvm::vm {

int LaunchTracedInterpreter(const LaunchArguments& arguments, uint32_t workers,
                            CUstream_st* stream) {
  return LaunchThis(arguments, workers, stream);
}

}  // namespace mkvm::vm
