// Named ranges for profilers (Nsight Systems and others that read NVTX): what
// the host was doing. Free of cost when no profiler listens, and nothing at all
// in a build without CUDA.
#ifndef MKVM_VM_PROFILER_RANGE_H_
#define MKVM_VM_PROFILER_RANGE_H_

namespace mkvm::vm {

// The calling thread is in the range `name` while this lives. Ranges nest.
class ProfilerRange {
 public:
  explicit ProfilerRange(const char* name);
  ~ProfilerRange();
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_PROFILER_RANGE_H_
