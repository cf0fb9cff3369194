#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "ops/op_context.h"
#include "ops/sampling.h"

namespace mkvm::ops {
namespace {

using Value = std::pair<float, uint32_t>;

bool Before(const Value& a, const Value& b) {
  return isa::RanksBefore(a.first, a.second, b.first, b.second);
}

class Sampler {
 public:
  Sampler(const isa::SampleOperands& op, OpContext& context)
      : op_(op),
        context_(context),
        s_(LoadSampling(context.f32(op.numbers), context.i32(op.ints))) {
    const uint64_t groups = context.buffer(op.groups).shape[0] * kSliceGroups;
    const float* numbers = context.f32(op.groups);
    for (uint64_t i = 0; i < groups; ++i) {
      max_ = std::max(max_, numbers[i * kGroupNumbers + kGroupMax]);
      const uint64_t word = context.ranked(op.best)[i];
      best_ = std::min(
          best_, {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)}, Before);
    }
    for (uint64_t i = 0; i < groups; ++i) {
      const float* group = numbers + i * kGroupNumbers;
      const float below = group[kGroupMax];
      mass_ += group[kGroupMass] * RelativeMass(below, max_);
      tempered_ += group[kGroupTemperedMass] * TemperedMass(s_, below, max_);
    }
  }

  void Run() {
    const bool generated = context_.position + 1 >= context_.i32(op_.run)[0];
    uint32_t token = best_.second;
    if (std::isnan(best_.first) || !generated) {
      *context_.ranked(op_.y) = isa::PackRanked(best_.first, token, 0);
      return;
    }
    if (std::isfinite(max_)) {
      const size_t top = s_.logprobs > 0 ? static_cast<size_t>(s_.logprobs) : 0;
      if (s_.Filters() || top > 0) SortHighest(top);
      if (s_.Filters()) token = Draw();
      Record(token, top);
    }
    // The score says no more than whether it is a NaN.
    *context_.ranked(op_.y) = isa::PackRanked(best_.first, token, 0);
    context_.i32(op_.counts)[token] += kCountGenerated;
  }

 private:
  float ValueOf(uint32_t token) const {
    return Penalized(s_, context_.f32(op_.logits)[token], token,
                     context_.i32(op_.counts)[token]);
  }

  // The highest values, sorted, down to where nothing below can be kept:
  // sorting all would take longer than the rest of the pass.
  void SortHighest(size_t top) {
    for (const float depth : {2.0f, 8.0f, 32.0f, INFINITY}) {
      const float cut = max_ - depth;
      highest_.clear();
      for (uint32_t token = 0; token < op_.n; ++token) {
        const float value = ValueOf(token);
        if (value != -INFINITY && value >= cut) {
          highest_.emplace_back(value, token);
        }
      }
      if (highest_.size() >= top && (!s_.Filters() || Suffices(cut))) break;
    }
    std::sort(highest_.begin(), highest_.end(), Before);
  }

  // Whether no value below `cut` can be kept, given those from there on.
  bool Suffices(float cut) const {
    if (s_.top_k > 0) return highest_.size() >= static_cast<size_t>(s_.top_k);
    if (cut <= MinPThreshold(s_, max_)) return true;
    return s_.top_p < 1 && MassFrom(cut) >= s_.top_p * tempered_;
  }

  // The lowest value that is kept. Equal values are kept or cut together.
  float Threshold() const {
    float threshold = MinPThreshold(s_, max_);
    double total = tempered_;
    if (s_.top_k > 0) {
      const size_t k = std::min(highest_.size(), static_cast<size_t>(s_.top_k));
      const float kth = highest_[k - 1].first;
      threshold = std::max(threshold, kth);
      total = MassFrom(kth);
    }
    if (s_.top_p < 1) {
      double mass = 0;
      float lowest = max_;
      for (const auto& [value, token] : highest_) {
        if (mass >= s_.top_p * total) break;
        lowest = value;
        mass += TemperedMass(s_, value, max_);
      }
      threshold = std::max(threshold, lowest);
    }
    return threshold;
  }

  // Of the highest values, from `lowest` up.
  double MassFrom(float lowest) const {
    double mass = 0;
    for (const auto& [value, token] : highest_) {
      if (value < lowest) continue;
      mass += TemperedMass(s_, value, max_);
    }
    return mass;
  }

  uint32_t Draw() const {
    const float threshold = Threshold();
    Value best = {-INFINITY, isa::kMaxRankedIndex};
    for (const auto& [value, token] : highest_) {
      if (value < threshold) break;
      best = std::min(best,
                      {DrawScore(s_, value, context_.position, token), token},
                      Before);
    }
    return best.second;
  }

  void Record(uint32_t token, size_t top) {
    if (s_.logprobs < 0) return;
    const HostBuffer& logprobs = context_.buffer(op_.logprobs);
    const auto next = static_cast<uint64_t>(context_.position + 1);
    if (next >= logprobs.shape[0]) return;  // advance says so
    uint64_t* record = context_.ranked(op_.logprobs) + next * logprobs.shape[1];
    const float log_mass = std::log(static_cast<float>(mass_));
    record[0] = isa::PackRanked(ValueOf(token) - max_ - log_mass, token, 0);
    for (size_t i = 0; i < top; ++i) {
      record[1 + i] = i < highest_.size()
                          ? isa::PackRanked(highest_[i].first - max_ - log_mass,
                                            highest_[i].second, 0)
                          : isa::PackRanked(-INFINITY, isa::kMaxRankedIndex, 0);
    }
  }

  const isa::SampleOperands& op_;
  OpContext& context_;
  const SamplingValues s_;
  Value best_ = {-INFINITY, isa::kMaxRankedIndex};  // of the groups' bests
  float max_ = -INFINITY;
  double mass_ = 0;      // of all tokens, relative to the highest
  double tempered_ = 0;  // the same at the temperature
  std::vector<Value> highest_;
};

}  // namespace

absl::Status RunSample(const isa::SampleOperands& op, OpContext& context) {
  Sampler(op, context).Run();
  return absl::OkStatus();
}

}  // namespace mkvm::ops
