#include "scheduler/tune.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/quantile.h"

namespace mkvm::scheduler {
namespace {

using Shape = std::vector<uint32_t>;

constexpr size_t kSamplesBeforeMove = 3;

uint32_t Get(const Target& target, const TuneKey& key) {
  return std::visit(
      [&](auto field) { return static_cast<uint32_t>(target.*field); },
      key.field);
}

void Set(const TuneKey& key, uint32_t value, Target& target) {
  if (const auto* flag = std::get_if<bool Target::*>(&key.field)) {
    target.** flag = value != 0;
  } else {
    target.**std::get_if<uint32_t Target::*>(&key.field) = value;
  }
}

void SortUnique(std::vector<uint32_t>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// All processors, the multiples of 8 (rows of projections divide by such) in
// their last quarter, fewer, and two workers on each.
std::vector<uint32_t> WorkerCounts(uint32_t processors) {
  constexpr uint32_t kStep = 8;
  std::vector<uint32_t> counts = {std::max(1u, processors), 2 * processors};
  for (const uint32_t part : {processors / 2, processors / 4 * 3}) {
    const uint32_t whole = part / kStep * kStep;
    counts.push_back(std::max(1u, whole > 0 ? whole : part));
  }
  const uint32_t first = processors / 4 * 3 / kStep * kStep;
  for (uint32_t count = first + kStep; count <= processors; count += kStep) {
    counts.push_back(count);
  }
  SortUnique(counts);
  return counts;
}

absl::Status CheckMeasured(const std::vector<double>& us) {
  if (us.empty()) return absl::InternalError("nothing was measured");
  for (const double value : us) {
    if (!std::isfinite(value) || value <= 0) {
      return absl::InternalError(
          absl::StrCat("measured ", value, " us: no time"));
    }
  }
  return absl::OkStatus();
}

double GeometricMean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

// Adds a measurement, or takes the candidate out.
void Record(absl::StatusOr<std::vector<double>> us, TuneCandidate& candidate) {
  absl::Status status = us.ok() ? CheckMeasured(*us) : us.status();
  if (status.ok() && !candidate.samples.empty() &&
      us->size() != candidate.samples.front().size()) {
    status = absl::InternalError("another number of positions than before");
  }
  if (!status.ok()) {
    candidate.status = std::move(status);
    candidate.mean_us = std::numeric_limits<double>::infinity();
    return;
  }
  candidate.samples.push_back(*std::move(us));
  candidate.us.clear();
  for (size_t i = 0; i < candidate.samples.front().size(); ++i) {
    std::vector<double> values;
    for (const std::vector<double>& sample : candidate.samples) {
      values.push_back(sample[i]);
    }
    candidate.us.push_back(Quantile(values, 0.5));
  }
  candidate.mean_us = GeometricMean(candidate.us);
}

class Search {
 public:
  Search(const Target& base, std::vector<TuneKey> keys,
         const TuneMeasure& measure, const TuneOptions& options)
      : keys_(std::move(keys)), measure_(measure), options_(options) {
    for (TuneKey& key : keys_) {
      key.values.push_back(Get(base, key));
      SortUnique(key.values);
    }
    Add(base, IdentityOf(base));
  }

  absl::StatusOr<TuneResult> Run() {
    Measure(incumbent_);
    Descend();
    std::vector<size_t> finalists = Finalists();
    if (finalists.empty()) {
      const absl::Status& first = candidates_.front().status;
      return absl::Status(first.code(), absl::StrCat("no shape could be "
                                                     "measured; the first: ",
                                                     first.message()));
    }
    if (finalists.size() > 1) RunFinals(finalists);
    const std::optional<size_t> best = SmallestOfTheBest(finalists);
    if (!best) {
      return absl::InternalError(
          absl::StrCat("no candidate of the finals could be measured again; "
                       "the first: ",
                       candidates_[finalists.front()].status.message()));
    }
    return TuneResult{.candidates = std::move(candidates_),
                      .best = *best,
                      .out_of_budget = out_of_budget_};
  }

 private:
  double Cost(size_t index) const { return candidates_[index].mean_us; }
  // The same or better, as far as can be told.
  bool Ties(size_t index, double cost) const {
    return std::isfinite(Cost(index)) &&
           Cost(index) <= cost * (1 + options_.tolerance);
  }

  Shape ShapeOf(const Target& target) const {
    Shape shape;
    for (const TuneKey& key : keys_) shape.push_back(Get(target, key));
    return shape;
  }

  std::string IdentityOf(const Target& target) const {
    return options_.identity ? options_.identity(target) : "";
  }

  // `identity` is the target's.
  size_t Add(const Target& target, std::string identity) {
    const size_t index = candidates_.size();
    TuneCandidate& candidate = candidates_.emplace_back();
    candidate.target = target;
    candidate.shape = ShapeOf(target);
    index_of_shape_[candidate.shape] = index;
    if (!identity.empty()) index_of_identity_[std::move(identity)] = index;
    return index;
  }

  void Measure(size_t index) {
    TuneCandidate& candidate = candidates_[index];
    Record(measure_(candidate.target), candidate);
    if (options_.on_measured) options_.on_measured(candidate);
  }

  bool BudgetLeft() {
    if (options_.elapsed_seconds &&
        options_.elapsed_seconds() >= options_.budget_seconds) {
      out_of_budget_ = true;
    }
    return !out_of_budget_;
  }

  // The candidate that differs from the incumbent in this value, measured if
  // it is new; nothing when that is out of budget.
  std::optional<size_t> Visit(const TuneKey& key, uint32_t value) {
    Target target = candidates_[incumbent_].target;
    Set(key, value, target);
    const auto same_shape = index_of_shape_.find(ShapeOf(target));
    if (same_shape != index_of_shape_.end()) return same_shape->second;
    std::string identity = IdentityOf(target);
    const auto same = index_of_identity_.find(identity);
    if (same != index_of_identity_.end()) return same->second;
    if (!BudgetLeft()) return std::nullopt;
    const size_t index = Add(target, std::move(identity));
    Measure(index);
    return index;
  }

  // The smallest shape of those that tie with the best.
  std::optional<size_t> SmallestOfTheBest(
      const std::vector<size_t>& indices) const {
    double best = std::numeric_limits<double>::infinity();
    for (const size_t i : indices) best = std::min(best, Cost(i));
    std::optional<size_t> chosen;
    for (const size_t i : indices) {
      if (Ties(i, best) &&
          (!chosen || candidates_[i].shape < candidates_[*chosen].shape)) {
        chosen = i;
      }
    }
    return chosen;
  }

  // Whether the incumbent has moved. It does for something better by more
  // than the tolerance only, so that the descent ends, and only if that is so
  // in the median of three measurements of each: the one may have been lucky,
  // the other's machine still cold.
  bool SearchLine(const TuneKey& key) {
    std::vector<size_t> line;
    for (const uint32_t value : key.values) {
      const std::optional<size_t> index = Visit(key, value);
      if (!index) break;
      line.push_back(*index);
    }
    std::optional<size_t> chosen = BetterThanIncumbent(line);
    if (!chosen) return false;
    for (size_t samples = 1; samples < kSamplesBeforeMove; ++samples) {
      for (const size_t index : {incumbent_, *chosen}) {
        const TuneCandidate& candidate = candidates_[index];
        if (candidate.status.ok() && candidate.samples.size() <= samples &&
            BudgetLeft()) {
          Measure(index);
        }
      }
    }
    chosen = BetterThanIncumbent(line);
    if (!chosen) return false;
    incumbent_ = *chosen;
    return true;
  }

  std::optional<size_t> BetterThanIncumbent(
      const std::vector<size_t>& line) const {
    const std::optional<size_t> chosen = SmallestOfTheBest(line);
    if (!chosen) return std::nullopt;
    double best = std::numeric_limits<double>::infinity();
    for (const size_t i : line) best = std::min(best, Cost(i));
    return Ties(incumbent_, best) ? std::nullopt : chosen;
  }

  void Descend() {
    bool moved = true;
    while (moved && !out_of_budget_) {
      moved = false;
      for (const TuneKey& key : keys_) {
        if (!out_of_budget_ && SearchLine(key)) moved = true;
      }
    }
  }

  // The best, and the smallest ones of those that nearly tie with it.
  std::vector<size_t> Finalists() const {
    double best = std::numeric_limits<double>::infinity();
    for (const TuneCandidate& c : candidates_) best = std::min(best, c.mean_us);
    std::vector<size_t> chosen;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      if (std::isfinite(Cost(i)) &&
          Cost(i) <= best * (1 + 2 * options_.tolerance)) {
        chosen.push_back(i);
      }
    }
    std::sort(chosen.begin(), chosen.end(), [&](size_t a, size_t b) {
      const bool a_is_best = Cost(a) == best;
      const bool b_is_best = Cost(b) == best;
      if (a_is_best != b_is_best) return a_is_best;
      return candidates_[a].shape < candidates_[b].shape;
    });
    if (chosen.size() > options_.finalists) {
      chosen.resize(std::max<size_t>(1, options_.finalists));
    }
    return chosen;
  }

  // Taking turns, so that a machine that becomes slower does so for all.
  void RunFinals(const std::vector<size_t>& finalists) {
    for (int round = 0; round < options_.final_rounds; ++round) {
      for (const size_t index : finalists) {
        if (!candidates_[index].status.ok()) continue;
        if (!BudgetLeft()) return;
        Measure(index);
      }
    }
  }

  std::vector<TuneKey> keys_;
  const TuneMeasure& measure_;
  const TuneOptions& options_;
  std::vector<TuneCandidate> candidates_;
  std::map<Shape, size_t> index_of_shape_;
  std::map<std::string, size_t> index_of_identity_;
  size_t incumbent_ = 0;
  bool out_of_budget_ = false;
};

}  // namespace

std::vector<TuneKey> TuneKeys(const Target& base, uint32_t processors) {
  using Values = std::vector<uint32_t>;
  // Without panels there is no weight stream, hence nothing to stage.
  const Values stages =
      base.panels ? Values{2, 3, 4, 5, 6, 8, 10, 12, 13} : Values{};
  const Values gemv_rows = base.panels ? Values{1, 16, 24, 32} : Values{};
  return {
      {"workers", &Target::workers, WorkerCounts(processors)},
      {"tagged", &Target::tagged, {0, 1}},
      {"max_kv_splits", &Target::max_kv_splits, {1, 2, 4, 8, 16, 32}},
      {"stages", &Target::stages, stages},
      {"min_gemv_rows", &Target::min_gemv_rows, gemv_rows},
  };
}

std::string DescribeShape(const Target& target,
                          absl::Span<const TuneKey> keys) {
  std::string text;
  for (const TuneKey& key : keys) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", key.name, " ",
                    Get(target, key));
  }
  return text;
}

absl::StatusOr<TuneResult> Tune(const Target& base,
                                absl::Span<const TuneKey> keys,
                                const TuneMeasure& measure,
                                const TuneOptions& options) {
  if (!(options.tolerance >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tune: the tolerance is ", options.tolerance, ", not 0 or above"));
  }
  return Search(base, {keys.begin(), keys.end()}, measure, options).Run();
}

}  // namespace mkvm::scheduler
