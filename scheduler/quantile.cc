#include "scheduler/quantile.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace mkvm::scheduler {

double Quantile(std::vector<double>& values, double level) {
  const ptrdiff_t i =
      std::lround(level * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + i, values.end());
  return values[static_cast<size_t>(i)];
}

double TrimmedMean(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const size_t cut = values.size() / 20;
  double sum = 0;
  for (size_t i = cut; i < values.size() - cut; ++i) sum += values[i];
  return sum / static_cast<double>(values.size() - 2 * cut);
}

}  // namespace mkvm::scheduler
