#include "scheduler/least_squares.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mkvm::scheduler {
namespace {

// The unknowns of the model
//   us = fixed + fixed[class] + sum over units of (unit + unit[class]) * work.
// A class's own part is what its penalty holds small: data that say something
// about it outweigh the penalty, without them it is 0. In squares of
// microseconds, for observations of weight 1.
constexpr double kFixedPenalty = 1e-4;
constexpr double kUnitPenalty = 2e-3;    // over the range of the class's work
constexpr double kSharedPenalty = 1e-7;  // keeps the system solvable

struct Column {
  int class_index = -1;  // -1: of all classes
  int unit = -1;         // -1: the fixed time
  double scale = 1;      // what the unknown is multiplied by
  double penalty = kSharedPenalty;
};

using Matrix = std::vector<std::vector<double>>;

// Solves a * x = b by elimination; a is symmetric and positive definite.
std::vector<double> Solve(Matrix a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) {
      const double factor = a[j][i] / a[i][i];
      for (size_t k = i; k < n; ++k) a[j][k] -= factor * a[i][k];
      b[j] -= factor * b[i];
    }
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  return b;
}

class Fitter {
 public:
  Fitter(absl::Span<const Observation> observations, size_t num_classes)
      : observations_(observations),
        num_classes_(num_classes),
        has_fixed_(num_classes, true),
        has_unit_(num_classes) {
    for (PerUnit<bool>& units : has_unit_) units.fill(true);
    MakeColumns();
  }

  // Leaves out what comes out negative, until nothing does.
  std::vector<OpCost> Run() {
    while (true) {
      std::vector<OpCost> costs = FitOnce();
      bool negative = false;
      for (size_t c = 0; c < num_classes_; ++c) {
        if (costs[c].fixed_us < 0) {
          negative = true;
          has_fixed_[c] = false;
        }
        for (size_t u = 0; u < kNumUnits; ++u) {
          if (costs[c].unit_us[u] >= 0) continue;
          negative = true;
          has_unit_[c][u] = false;
        }
      }
      if (!negative) return costs;
    }
  }

 private:
  // Largest minus smallest work of that unit; class -1: of all.
  double Range(int class_index, size_t unit) const {
    double low = HUGE_VAL;
    double high = 0;
    for (const Observation& o : observations_) {
      if (class_index >= 0 && o.class_index != size_t(class_index)) continue;
      low = std::min<double>(low, o.work[unit]);
      high = std::max<double>(high, o.work[unit]);
    }
    return std::max(0.0, high - low);
  }

  // Of the class's observations; 1 when there is none.
  double MeanWeight(int class_index) const {
    double sum = 0;
    double count = 0;
    for (const Observation& o : observations_) {
      if (o.class_index != size_t(class_index)) continue;
      sum += o.weight;
      ++count;
    }
    return count > 0 ? sum / count : 1;
  }

  void MakeColumns() {
    columns_.push_back({});
    for (size_t c = 0; c < num_classes_; ++c) {
      columns_.push_back({static_cast<int>(c), -1, 1,
                          kFixedPenalty * MeanWeight(static_cast<int>(c))});
    }
    for (size_t u = 0; u < kNumUnits; ++u) {
      const double range = Range(-1, u);
      if (range == 0) continue;
      columns_.push_back({-1, static_cast<int>(u), 1 / range, kSharedPenalty});
      for (size_t c = 0; c < num_classes_; ++c) {
        const double own = Range(static_cast<int>(c), u);
        if (own == 0) continue;
        columns_.push_back({static_cast<int>(c), static_cast<int>(u), 1 / own,
                            kUnitPenalty * MeanWeight(static_cast<int>(c))});
      }
    }
  }

  // How much of the column's unknown is in an instruction's time.
  double Share(const Column& column, size_t c,
               const PerUnit<double>& work) const {
    if (column.class_index >= 0 && size_t(column.class_index) != c) return 0;
    if (column.unit < 0) return has_fixed_[c] ? 1 : 0;
    return has_unit_[c][column.unit] ? work[column.unit] * column.scale : 0;
  }

  std::vector<OpCost> FitOnce() const {
    const size_t n = columns_.size();
    Matrix a(n, std::vector<double>(n, 0));
    std::vector<double> b(n, 0);
    for (size_t i = 0; i < n; ++i) a[i][i] = columns_[i].penalty;
    std::vector<double> row(n);
    for (const Observation& o : observations_) {
      PerUnit<double> work;
      std::copy(o.work.begin(), o.work.end(), work.begin());
      for (size_t i = 0; i < n; ++i) {
        row[i] = Share(columns_[i], o.class_index, work);
      }
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) a[i][j] += o.weight * row[i] * row[j];
        b[i] += o.weight * row[i] * o.us;
      }
    }
    const std::vector<double> x = Solve(std::move(a), std::move(b));
    std::vector<OpCost> costs(num_classes_);
    PerUnit<double> one;
    one.fill(1);
    for (size_t c = 0; c < num_classes_; ++c) {
      for (size_t i = 0; i < n; ++i) {
        const double us = x[i] * Share(columns_[i], c, one);
        (columns_[i].unit < 0 ? costs[c].fixed_us
                              : costs[c].unit_us[columns_[i].unit]) += us;
      }
    }
    return costs;
  }

  absl::Span<const Observation> observations_;
  size_t num_classes_;
  std::vector<Column> columns_;
  std::vector<bool> has_fixed_;  // by class
  std::vector<PerUnit<bool>> has_unit_;
};

}  // namespace

std::vector<OpCost> FitCosts(absl::Span<const Observation> observations,
                             size_t num_classes) {
  return Fitter(observations, num_classes).Run();
}

}  // namespace mkvm::scheduler
