#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "vm/host_memory.h"
#include "vm/stream_probe.h"

namespace mkvm::vm {
namespace {

using Clock = std::chrono::steady_clock;

// Adds up `count` words, in several streams: from one place at a time a core
// gets two thirds of what memory gives it from four. A line of each stream in
// turn, requested a page ahead (the hardware's own prefetching ends with the
// page).
uint64_t Sum(const uint64_t* data, uint64_t count) {
  constexpr uint64_t kStreams = 4;
  constexpr uint64_t kLineWords = 8;
  constexpr uint64_t kAheadWords = 512;
  const uint64_t part = count / kStreams / kLineWords * kLineWords;
  uint64_t sums[kStreams][kLineWords] = {};
  for (uint64_t i = 0; i < part; i += kLineWords) {
    for (uint64_t s = 0; s < kStreams; ++s) {
      const uint64_t* line = data + s * part + i;
      __builtin_prefetch(line + kAheadWords);
      for (uint64_t j = 0; j < kLineWords; ++j) sums[s][j] += line[j];
    }
  }
  uint64_t sum = 0;
  for (uint64_t i = kStreams * part; i < count; ++i) sum += data[i];
  for (const auto& stream : sums) {
    for (const uint64_t lane : stream) sum += lane;
  }
  return sum;
}

}  // namespace

absl::StatusOr<double> ProbeCpuStream(int threads, uint64_t bytes,
                                      int repeats) {
  const uint64_t words = std::max<uint64_t>(bytes / sizeof(uint64_t), threads);
  std::unique_ptr<uint64_t[]> data;
  if (bytes <= PhysicalMemoryBytes()) {
    data.reset(new (std::nothrow) uint64_t[words]);
  }
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no memory for a stream of %d bytes", bytes));
  }
  std::vector<double> seconds;
  std::atomic<uint64_t> total{0};  // keeps the sums from being left out
  std::barrier sync(threads + 1);
  std::vector<std::thread> pool;
  pool.reserve(threads);
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      const uint64_t begin = words * t / threads;
      const uint64_t count = words * (t + 1) / threads - begin;
      // Each thread writes its share first: its pages lie near its core.
      std::memset(data.get() + begin, t, count * sizeof(uint64_t));
      for (int i = 0; i <= repeats; ++i) {
        sync.arrive_and_wait();
        total += Sum(data.get() + begin, count);
        sync.arrive_and_wait();
      }
    });
  }
  for (int i = 0; i <= repeats; ++i) {
    // Before the threads can begin: this one may come back late from the wait.
    const auto begin = Clock::now();
    sync.arrive_and_wait();
    sync.arrive_and_wait();
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    if (i > 0) seconds.push_back(elapsed.count());  // the first warms up
  }
  for (std::thread& thread : pool) thread.join();
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(words * sizeof(uint64_t)) /
         seconds[seconds.size() / 2] / 1e9;
}

}  // namespace mkvm::vm
