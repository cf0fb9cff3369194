#include <cmath>
#include <cstddef>

#include "model/parallel.h"
#include "model/weights.h"

namespace mkvm::model {

std::vector<float> RopeTable(const Config& config, uint64_t positions) {
  const uint64_t dim = config.head_dim;
  const uint64_t half = dim / 2;
  std::vector<double> frequencies(half);
  for (uint64_t i = 0; i < half; ++i) {
    frequencies[i] = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) /
                                                     static_cast<double>(dim));
  }
  std::vector<float> table(positions * dim);
  constexpr uint64_t kGrainPositions = 512;
  ParallelFor(positions, kGrainPositions, [&](uint64_t begin, uint64_t end) {
    for (uint64_t p = begin; p < end; ++p) {
      float* row = table.data() + p * dim;
      for (uint64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(p) * frequencies[i];
        row[i] = static_cast<float>(std::cos(angle));
        row[half + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
  return table;
}

}  // namespace mkvm::model
