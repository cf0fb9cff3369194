// Statistics of measured times.
#ifndef MKVM_SCHEDULER_QUANTILE_H_
#define MKVM_SCHEDULER_QUANTILE_H_

#include <vector>

namespace mkvm::scheduler {

// The value below which a part `level` of the values lies, level in [0, 1].
// Reorders them. REQUIRES: not empty.
double Quantile(std::vector<double>& values, double level);

// The mean without the largest and the smallest twentieth. Reorders the
// values. REQUIRES: not empty.
double TrimmedMean(std::vector<double>& values);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_QUANTILE_H_
