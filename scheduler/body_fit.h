// The instructions' own times, from the moment that their operands are there.
#ifndef MKVM_SCHEDULER_BODY_FIT_H_
#define MKVM_SCHEDULER_BODY_FIT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "scheduler/costs.h"
#include "scheduler/least_squares.h"
#include "scheduler/recording.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

class BodyFit {
 public:
  // Takes in the events of one trace; `target` says what its caches hold. All
  // times are differences on one worker's clock, so that it doesn't matter what
  // two clocks are apart.
  void Add(const Recording& recording, size_t number, const Target& target);

  // Replaces the costs of the classes seen.
  void Run(CostTable& costs) const;

 private:
  struct Sample {
    size_t class_index;
    PerUnit<uint32_t> work;
    double us;
  };
  // Instructions that ran side by side: class, trace, pass and phase.
  using Crowd = std::tuple<size_t, size_t, uint32_t, uint32_t>;

  size_t ClassIndex(const std::string& name);
  // One per class and work: the mean over crowds of their medians.
  std::vector<Observation> Observations() const;
  // How far instructions with the same work are from the median of their crowd,
  // as parts of it, by trace; of crowds of `smallest` or more. With crowds too
  // small to have a median (smallest is 1): from the fit.
  std::map<size_t, std::vector<double>> Distances(size_t c, const OpCost& cost,
                                                  size_t smallest) const;
  std::vector<double> Spread(size_t c, const OpCost& cost) const;

  std::vector<std::string> classes_;
  std::map<size_t, std::vector<double>> loads_;  // by class
  std::map<Crowd, std::vector<Sample>> crowds_;
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_BODY_FIT_H_
