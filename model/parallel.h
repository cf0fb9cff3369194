// A range split over the machine's cores. Private to model/.
#ifndef MKVM_MODEL_PARALLEL_H_
#define MKVM_MODEL_PARALLEL_H_

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

namespace mkvm::model {

// Calls body(begin, end) on disjoint pieces of [0, count), each a multiple of
// `grain` but the last, at once on up to one thread per core. Returns when all
// are done. What `body` writes must depend on the indices alone.
template <typename Body>
void ParallelFor(uint64_t count, uint64_t grain, const Body& body) {
  const uint64_t grains = (count + grain - 1) / grain;
  const uint64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t pieces = std::min(cores, grains);
  const auto bound = [&](uint64_t i) {
    return std::min(count, grains * i / pieces * grain);
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i < pieces; ++i) {
    threads.emplace_back([&, i] { body(bound(i), bound(i + 1)); });
  }
  if (pieces > 0) body(0, bound(1));
  for (std::thread& thread : threads) thread.join();
}

}  // namespace mkvm::model

#endif  // MKVM_MODEL_PARALLEL_H_
