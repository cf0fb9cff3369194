#include <algorithm>
#include <utility>
#include <vector>

#include "ops/op_context.h"
#include "ops/sampling.h"

namespace mkvm::ops {

absl::Status RunSampleSlice(const isa::SampleSliceOperands& op,
                            OpContext& context) {
  const SamplingValues s =
      LoadSampling(context.f32(op.numbers), context.i32(op.ints));
  const float* logits = context.f32(op.logits);
  const int32_t* counts = context.i32(op.counts);
  const bool draws = s.temperature > 0 && !s.Filters();
  const auto before = [](const auto& a, const auto& b) {
    return isa::RanksBefore(a.first, a.second, b.first, b.second);
  };

  std::vector<std::pair<float, uint32_t>> values;
  std::pair<float, uint32_t> best = {-INFINITY, isa::kMaxRankedIndex};
  for (uint32_t token = op.begin; token < op.begin + op.count; ++token) {
    const float value = Penalized(s, logits[token], token, counts[token]);
    values.emplace_back(value, token);
    const std::pair<float, uint32_t> score = {
        draws ? DrawScore(s, value, context.position, token) : value, token};
    if (before(score, best)) best = score;
  }
  float max = -INFINITY;
  for (const auto& [value, token] : values) max = std::max(max, value);
  double mass = 0;
  double tempered = 0;
  for (const auto& [value, token] : values) {
    mass += RelativeMass(value, max);
    tempered += TemperedMass(s, value, max);
  }

  const bool wanted = s.Filters() || s.logprobs > 0;
  const size_t kept = wanted ? std::min<size_t>(op.kept, values.size()) : 0;
  std::partial_sort(values.begin(),
                    values.begin() + static_cast<ptrdiff_t>(
                                         std::min(kept + 1, values.size())),
                    values.end(), before);
  uint64_t* candidates =
      context.ranked(op.candidates) + uint64_t{op.slice} * (op.kept + 1);
  for (uint32_t i = 0; i < op.kept; ++i) {
    const bool is_one = i < kept && values[i].first != -INFINITY;
    candidates[i] = is_one
                        ? isa::PackRanked(values[i].first, values[i].second, 0)
                        : isa::PackRanked(-INFINITY, isa::kMaxRankedIndex, 0);
  }
  candidates[op.kept] = isa::PackRanked(best.first, best.second, 0);
  float* sums = context.f32(op.sums) + uint64_t{op.slice} * kSliceSums;
  sums[kSliceMax] = max;
  sums[kSliceMass] = static_cast<float>(mass);
  sums[kSliceTemperedMass] = static_cast<float>(tempered);
  sums[kSliceHidden] = kept < values.size() ? values[kept].first : -INFINITY;
  return absl::OkStatus();
}

}  // namespace mkvm::ops
