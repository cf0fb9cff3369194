#include "vm/host_threads.h"

#include <algorithm>

namespace mkvm::vm {

HostThreads::HostThreads(int threads)
    : num_threads_(static_cast<uint64_t>(threads)) {
  for (uint64_t number = 1; number < num_threads_; ++number) {
    threads_.emplace_back([this, number] { Work(number); });
  }
}

HostThreads::~HostThreads() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void HostThreads::Split(
    uint64_t count, uint64_t step,
    const std::function<void(uint64_t begin, uint64_t end)>& piece) {
  const uint64_t steps = (count + step - 1) / step;
  if (steps <= 1) {
    // Not worth waking anyone.
    if (count != 0) piece(0, count);
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    count_ = count;
    piece_count_ = (steps + num_threads_ - 1) / num_threads_ * step;
    piece_ = &piece;
    left_ = num_threads_ - 1;
    ++calls_;
  }
  called_.notify_all();
  DoPiece(0);
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return left_ == 0; });
}

void HostThreads::DoPiece(uint64_t number) const {
  const uint64_t begin = std::min(count_, number * piece_count_);
  const uint64_t end = std::min(count_, begin + piece_count_);
  if (begin < end) (*piece_)(begin, end);
}

void HostThreads::Work(uint64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (uint64_t call = 1;; ++call) {
    called_.wait(lock, [&] { return ends_ || calls_ == call; });
    if (ends_) return;
    lock.unlock();
    DoPiece(number);
    lock.lock();
    if (--left_ == 0) done_.notify_one();
  }
}

}  // namespace mkvm::vm
