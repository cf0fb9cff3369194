// Host threads for short pieces of work, e.g. for converting weights.
#ifndef MKVM_VM_HOST_THREADS_H_
#define MKVM_VM_HOST_THREADS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mkvm::vm {

class HostThreads {
 public:
  // The caller is one of them. REQUIRES: threads >= 1.
  explicit HostThreads(int threads);
  ~HostThreads();
  HostThreads(const HostThreads&) = delete;
  HostThreads& operator=(const HostThreads&) = delete;

  // Calls piece(begin, end) for ranges that together are [0, count), each but
  // the last of a multiple of `step` elements; returns when all are done. One
  // call at a time. REQUIRES: step >= 1.
  void Split(uint64_t count, uint64_t step,
             const std::function<void(uint64_t begin, uint64_t end)>& piece);

 private:
  void Work(uint64_t number);
  void DoPiece(uint64_t number) const;

  const uint64_t num_threads_;
  std::mutex mutex_;
  std::condition_variable called_, done_;
  // Guarded by mutex_; what is called is set before calls_ is raised, and stays
  // until left_ is 0.
  uint64_t calls_ = 0;
  uint64_t left_ = 0;  // threads that have not done their piece
  bool ends_ = false;
  uint64_t count_ = 0, piece_count_ = 0;
  const std::function<void(uint64_t, uint64_t)>* piece_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_HOST_THREADS_H_
