#include <vector>

#include "ops/op_context.h"
#include "ops/sampling.h"

namespace mkvm::ops {
namespace {

struct Ranked {
  float score = -INFINITY;
  uint32_t token = isa::kMaxRankedIndex;
};

void KeepBetter(Ranked& best, const Ranked& other) {
  if (isa::RanksBefore(other.score, other.token, best.score, best.token)) {
    best = other;
  }
}

}  // namespace

absl::Status RunSampleSlice(const isa::SampleSliceOperands& op,
                            OpContext& context) {
  const SamplingValues s =
      LoadSampling(context.f32(op.numbers), context.i32(op.ints));
  const float* logits = context.f32(op.logits);
  const int32_t* counts = context.i32(op.counts);
  const bool draws = s.temperature > 0 && !s.Filters();
  std::vector<float> values;
  for (uint32_t group = 0; group < kSliceGroups; ++group) {
    values.clear();
    Ranked highest;
    Ranked best;
    for (uint32_t member = 0; member < kMaxGroupRows; ++member) {
      const uint32_t offset = OffsetInSlice(group, member);
      if (offset >= op.count) break;
      const uint32_t token = op.begin + offset;
      const float value = Penalized(s, logits[token], token, counts[token]);
      values.push_back(value);
      KeepBetter(highest, {value, token});
      KeepBetter(best,
                 {draws ? DrawScore(s, value, context.position, token) : value,
                  token});
    }
    double mass = 0;
    double tempered = 0;
    if (s.Weighs()) {
      for (const float value : values) {
        mass += RelativeMass(value, highest.score);
        tempered += TemperedMass(s, value, highest.score);
      }
    }
    const uint64_t index = uint64_t{op.slice} * kSliceGroups + group;
    context.ranked(op.best)[index] = isa::PackRanked(best.score, best.token, 0);
    float* numbers = context.f32(op.groups) + index * kGroupNumbers;
    numbers[kGroupMax] = highest.score;
    numbers[kGroupMass] = static_cast<float>(mass);
    numbers[kGroupTemperedMass] = static_cast<float>(tempered);
    numbers[kGroupBegin] = static_cast<float>(op.begin);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::ops
