#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

// What a stream is told to do while it is captured.
struct CUgraph_st {
  std::vector<mkvm::emulation::Launch> launches;
};
struct CUgraphExec_st {
  std::vector<mkvm::emulation::Launch> launches;
};
struct CUstream_st {
  CUgraph_st* capture = nullptr;
};
struct CUevent_st {
  uint64_t task = 0;  // of the queue; 0: none
  std::chrono::steady_clock::time_point time;
};

namespace mkvm::emulation {
namespace {

// Nobody should get it who doesn't ask for it.
bool IsThere() { return std::getenv("MKVM_EMULATED_GPU") != nullptr; }

// An H200's, but for the memory.
constexpr int kMultiprocessors = 132;
constexpr size_t kSharedBytes = 232448;
constexpr size_t kMemoryBytes = size_t{8} << 30;
constexpr size_t kAlignment = 256;

// The queue of all streams and the thread that works it off.
class Queue {
 public:
  ~Queue() {
    {
      const std::lock_guard lock(mutex_);
      stops_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  uint64_t Add(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
    return ++added_;
  }
  void WaitFor(uint64_t task) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= task; });
  }
  void WaitForAll() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ == added_; });
  }
  bool IsEmpty() {
    const std::lock_guard lock(mutex_);
    return done_ == added_;
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stops_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  uint64_t added_ = 0, done_ = 0;
  bool stops_ = false;
  std::thread thread_;
};

Queue& TheQueue() {
  static Queue queue;
  return queue;
}

cudaError_t Allocate(void** pointer, size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  *pointer = std::aligned_alloc(kAlignment, rounded);
  if (*pointer == nullptr) return cudaErrorMemoryAllocation;
  // Nothing may hang on what is there before it is written.
  constexpr size_t kMostFilled = 1 << 20;
  std::memset(*pointer, 0xa5, std::min(rounded, kMostFilled));
  return cudaSuccess;
}

}  // namespace

cudaError_t Enqueue(const Launch& launch, cudaStream_t stream) {
  if (stream != nullptr && stream->capture != nullptr) {
    stream->capture->launches.push_back(launch);
  } else {
    TheQueue().Add([launch] { RunLaunch(launch); });
  }
  return cudaSuccess;
}

}  // namespace mkvm::emulation

using mkvm::emulation::TheQueue;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
  }
  return "unknown";
}
const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = mkvm::emulation::IsThere() ? 1 : 0;
  return *count == 1 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidValue;
  *properties = {.name = "emulated GPU",
                 .totalGlobalMem = mkvm::emulation::kMemoryBytes,
                 .sharedMemPerBlockOptin = mkvm::emulation::kSharedBytes,
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = mkvm::emulation::kMultiprocessors};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  // An H200's, in kHz and bits.
  switch (attribute) {
    case cudaDevAttrMemoryClockRate:
      *value = 3'201'000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 6144;
      break;
    case cudaDevAttrClockRate:
      *value = 1'980'000;
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int bytes, int) {
  std::snprintf(id, static_cast<size_t>(bytes), "%s", "");
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return mkvm::emulation::Allocate(pointer, bytes);
}
cudaError_t cudaFree(void* pointer) {
  TheQueue().WaitForAll();
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return mkvm::emulation::Allocate(pointer, bytes);
}
cudaError_t cudaFreeHost(void* pointer) { return cudaFree(pointer); }
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = *total_bytes = mkvm::emulation::kMemoryBytes;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                       cudaMemcpyKind) {
  TheQueue().WaitForAll();
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                            cudaMemcpyKind, cudaStream_t) {
  TheQueue().Add([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  TheQueue().Add([=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  TheQueue().WaitForAll();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  return TheQueue().IsEmpty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  TheQueue().WaitForAll();
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  cudaEventSynchronize(event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->task = TheQueue().Add(
      [event] { event->time = std::chrono::steady_clock::now(); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  TheQueue().WaitFor(event->task);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin,
                                 cudaEvent_t end) {
  const std::chrono::duration<float, std::milli> elapsed =
      end->time - begin->time;
  *milliseconds = elapsed.count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->capture != nullptr) {
    return cudaErrorInvalidValue;
  }
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->launches};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  TheQueue().Add([launches = executable->launches] {
    for (const mkvm::emulation::Launch& launch : launches) RunLaunch(launch);
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  TheQueue().WaitForAll();
  delete executable;
  return cudaSuccess;
}
