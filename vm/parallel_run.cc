// How workers share threads. Every thread owns a range of the workers and
// sweeps over it: each worker runs until a wait holds it, then the next one's
// turn comes. A thread that finds nothing to do in its own range for a while
// sweeps over everybody's. Nobody ever blocks on a counter, so any number of
// workers makes progress on any number of threads.
#include "vm/parallel_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "vm/fault_status.h"

namespace mkvm::vm {
namespace {

using Clock = std::chrono::steady_clock;

// Own cache lines throughout: these are what threads meet on.
constexpr size_t kCacheLine = 64;

struct alignas(kCacheLine) SharedCounter {
  std::atomic<uint64_t> value{0};
};

struct alignas(kCacheLine) Worker {
  // Held by the thread that runs the worker, acquired and released with it.
  std::atomic<bool> claimed{false};
  std::atomic<bool> left{false};
  // Hints for those who look without a claim: what the worker waits for.
  std::atomic<uint32_t> waits_for{isa::kNoCounter};
  std::atomic<uint64_t> wanted{0};
  // Of whoever holds the claim.
  WorkerPlace place;
};

struct alignas(kCacheLine) ThreadState {
  // Odd while an op runs; changes with every instruction.
  std::atomic<uint64_t> steps{0};
};

// What an idle thread does: it expects work within a microsecond, but gives
// its core away when that turns out wrong.
class Backoff {
 public:
  void Reset() { rounds_ = 0; }
  int rounds() const { return rounds_; }

  void Pause() {
    ++rounds_;
    if (rounds_ < kSpins) {
      for (int i = 0; i < 16; ++i) RelaxCore();
    } else if (rounds_ < kSpins + kYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  static constexpr int kSpins = 128;
  static constexpr int kYields = 1024;

  static void RelaxCore() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  int rounds_ = 0;
};

class ParallelRun {
 public:
  ParallelRun(const isa::Program& program,
              absl::Span<const ops::HostBuffer> buffers,
              const RunOptions& options, int threads, CpuTrace* trace_or_null)
      : program_(program),
        buffers_(buffers),
        options_(options),
        trace_(trace_or_null),
        max_passes_(static_cast<uint32_t>(options.max_passes)),
        counters_(program.counters.size()),
        workers_(program.num_workers()),
        threads_(std::min<size_t>(threads, program.num_workers())),
        workers_in_(program.num_workers()),
        threads_running_(threads_.size()) {}

  absl::StatusOr<LaunchEnd> Run();

 private:
  // On a worker thread.
  void ThreadMain(size_t thread);
  bool Sweep(size_t begin, size_t end, ThreadState& state,
             ops::OpContext& context);
  bool RunWorker(uint32_t w, ThreadState& state, ops::OpContext& context);
  bool HeldByWait(uint32_t w, const isa::Instruction& instruction);
  void Fail(absl::Status status);
  bool Over() const {
    return abort_.load(std::memory_order_relaxed) ||
           workers_in_.load(std::memory_order_relaxed) == 0;
  }
  // False while the worker's last known wait still holds it.
  bool MayRun(const Worker& worker) const;

  // On the caller's thread.
  void DeliverUntilOver();
  bool NobodyCanRun() const;
  uint64_t Steps(bool& busy) const;
  absl::StatusOr<LaunchEnd> End() const;

  const isa::Program& program_;
  const absl::Span<const ops::HostBuffer> buffers_;
  const RunOptions& options_;
  CpuTrace* const trace_;  // or nullptr
  const uint32_t max_passes_;
  std::vector<SharedCounter> counters_;
  std::vector<Worker> workers_;
  std::vector<ThreadState> threads_;
  std::atomic<uint32_t> workers_in_;  // have not left yet
  std::atomic<bool> abort_{false};
  bool timed_out_ = false;  // of the caller's thread

  std::mutex mutex_;
  std::condition_variable news_;  // tokens_ or threads_running_ changed
  // Guarded by mutex_.
  std::vector<std::pair<int64_t, int32_t>> tokens_;
  size_t threads_running_;
  absl::Status status_;
};

bool ParallelRun::HeldByWait(uint32_t w, const isa::Instruction& instruction) {
  Worker& worker = workers_[w];
  for (int i = 0; i < instruction.num_waits; ++i) {
    const uint32_t counter = instruction.waits[i].counter;
    const uint64_t wanted =
        WaitTarget(program_, instruction, i, worker.place.pass);
    // Acquires what all producers released: their additions form one release
    // sequence.
    if (counters_[counter].value.load(std::memory_order_acquire) < wanted) {
      worker.wanted.store(wanted, std::memory_order_relaxed);
      worker.waits_for.store(counter, std::memory_order_relaxed);
      if (trace_ != nullptr) trace_->Hold(w, i);
      return true;
    }
  }
  return false;
}

bool ParallelRun::MayRun(const Worker& worker) const {
  if (worker.left.load(std::memory_order_relaxed)) return false;
  const uint32_t counter = worker.waits_for.load(std::memory_order_relaxed);
  return counter == isa::kNoCounter ||
         counters_[counter].value.load(std::memory_order_relaxed) >=
             worker.wanted.load(std::memory_order_relaxed);
}

// Runs worker `w` until a wait holds it or it leaves. True if it got anywhere.
// REQUIRES: the claim.
bool ParallelRun::RunWorker(uint32_t w, ThreadState& state,
                            ops::OpContext& context) {
  Worker& worker = workers_[w];
  WorkerPlace& place = worker.place;
  const std::vector<isa::Instruction>& queue = program_.queues[w];
  uint64_t steps = state.steps.load(std::memory_order_relaxed);
  bool progress = false;
  while (!place.left && !abort_.load(std::memory_order_relaxed)) {
    const isa::Instruction& instruction = queue[place.pc];
    if (trace_ != nullptr) trace_->Visit(w, place);
    if (HeldByWait(w, instruction)) return progress;
    if (trace_ != nullptr) trace_->Begin(w);
    state.steps.store(++steps, std::memory_order_relaxed);
    context.pass = place.pass;
    context.position = options_.first_position + place.pass;
    const absl::Status status = ops::RunInstruction(instruction, context);
    state.steps.store(++steps, std::memory_order_relaxed);
    if (trace_ != nullptr) trace_->Done(w);
    if (!status.ok()) {
      Fail(AtPlace(program_, w, place, status));
      return progress;
    }
    MovePast(instruction, buffers_, max_passes_, place);
    if (instruction.signal != isa::kNoCounter) {
      counters_[instruction.signal].value.fetch_add(1,
                                                    std::memory_order_release);
    }
    if (trace_ != nullptr) trace_->Signaled(w);
    progress = true;
  }
  if (place.left) {
    worker.left.store(true, std::memory_order_relaxed);
    workers_in_.fetch_sub(1, std::memory_order_relaxed);
  }
  return progress;
}

bool ParallelRun::Sweep(size_t begin, size_t end, ThreadState& state,
                        ops::OpContext& context) {
  bool progress = false;
  for (size_t w = begin; w < end; ++w) {
    Worker& worker = workers_[w];
    // Looking before claiming keeps the line shared among idle threads.
    if (!MayRun(worker) || worker.claimed.load(std::memory_order_relaxed) ||
        worker.claimed.exchange(true, std::memory_order_acquire)) {
      continue;
    }
    if (!worker.place.left) {
      progress |= RunWorker(static_cast<uint32_t>(w), state, context);
    }
    worker.claimed.store(false, std::memory_order_release);
  }
  return progress;
}

void ParallelRun::ThreadMain(size_t thread) {
  ops::OpContext context(buffers_);
  if (options_.on_token != nullptr) {
    context.on_token = [this](int64_t position, int32_t token) {
      const std::lock_guard<std::mutex> lock(mutex_);
      tokens_.emplace_back(position, token);
      news_.notify_one();
    };
  } else {
    context.on_token = [](int64_t, int32_t) {};
  }
  // A worker stays with its thread, and so its data with one core's caches,
  // as long as that thread keeps up.
  constexpr int kRoundsBeforeHelping = 16;
  const size_t begin = thread * workers_.size() / threads_.size();
  const size_t end = (thread + 1) * workers_.size() / threads_.size();
  Backoff backoff;
  while (!Over()) {
    bool progress = Sweep(begin, end, threads_[thread], context);
    if (!progress && backoff.rounds() >= kRoundsBeforeHelping) {
      progress = Sweep(end, workers_.size(), threads_[thread], context);
      progress |= Sweep(0, begin, threads_[thread], context);
    }
    if (progress) {
      backoff.Reset();
    } else {
      backoff.Pause();
    }
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  --threads_running_;
  news_.notify_one();
}

void ParallelRun::Fail(absl::Status status) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (status_.ok()) status_ = std::move(status);
  }
  abort_.store(true, std::memory_order_relaxed);
}

uint64_t ParallelRun::Steps(bool& busy) const {
  uint64_t sum = 0;
  busy = false;
  for (const ThreadState& thread : threads_) {
    const uint64_t steps = thread.steps.load(std::memory_order_relaxed);
    busy |= steps % 2 != 0;
    sum += steps;
  }
  return sum;
}

bool ParallelRun::NobodyCanRun() const {
  return std::none_of(workers_.begin(), workers_.end(),
                      [this](const Worker& worker) { return MayRun(worker); });
}

// Hands out tokens as they come and watches over progress.
void ParallelRun::DeliverUntilOver() {
  constexpr double kMaxPatience = 1e6;  // seconds; more overflows Clock
  const Clock::duration patience =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
          std::clamp(options_.watchdog_seconds, 0.0, kMaxPatience)));
  const Clock::duration nap =
      std::clamp<Clock::duration>(patience / 4, std::chrono::milliseconds(1),
                                  std::chrono::milliseconds(100));
  uint64_t last_steps = 0;
  Clock::time_point last_progress = Clock::now();
  std::vector<std::pair<int64_t, int32_t>> tokens;
  bool over = false;
  while (!over) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      news_.wait_for(lock, nap, [this] {
        return !tokens_.empty() || threads_running_ == 0;
      });
      tokens.swap(tokens_);
      over = threads_running_ == 0;
    }
    for (const auto& [position, token] : tokens) {
      options_.on_token(position, token);
    }
    tokens.clear();
    bool busy = false;
    const uint64_t steps = Steps(busy);
    const Clock::time_point now = Clock::now();
    if (busy || steps != last_steps || !NobodyCanRun()) {
      last_steps = steps;
      last_progress = now;
    } else if (!over && now - last_progress > patience) {
      timed_out_ = true;
      abort_.store(true, std::memory_order_relaxed);
    }
  }
}

// REQUIRES: all threads joined.
absl::StatusOr<LaunchEnd> ParallelRun::End() const {
  if (!status_.ok()) return status_;
  std::vector<WorkerPlace> places;
  for (const Worker& worker : workers_) places.push_back(worker.place);
  if (timed_out_) {
    std::vector<uint64_t> counts;
    for (const SharedCounter& counter : counters_) {
      counts.push_back(counter.value.load(std::memory_order_relaxed));
    }
    const std::vector<Fault> stuck = StuckWorkers(program_, places, counts);
    if (!stuck.empty()) return FaultStatus(program_, stuck.front());
  }
  LaunchEnd end = {.passes = max_passes_, .stopped = places[0].stopped};
  for (const WorkerPlace& place : places) {
    end.passes = std::min<int64_t>(end.passes, place.pass);
  }
  return end;
}

absl::StatusOr<LaunchEnd> ParallelRun::Run() {
  std::vector<std::thread> threads;
  threads.reserve(threads_.size());
  for (size_t t = 0; t < threads_.size(); ++t) {
    threads.emplace_back([this, t] { ThreadMain(t); });
  }
  DeliverUntilOver();
  for (std::thread& thread : threads) thread.join();
  return End();
}

}  // namespace

absl::StatusOr<LaunchEnd> RunParallel(const isa::Program& program,
                                      absl::Span<const ops::HostBuffer> buffers,
                                      const RunOptions& options, int threads,
                                      CpuTrace* trace_or_null) {
  return ParallelRun(program, buffers, options, threads, trace_or_null).Run();
}

}  // namespace mkvm::vm
