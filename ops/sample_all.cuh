// sample over all logits: exact whatever the candidates, and slow. For the
// pass whose kept tokens reach below the candidates.
#ifndef MKVM_OPS_SAMPLE_ALL_CUH_
#define MKVM_OPS_SAMPLE_ALL_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sample_sort.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// Calls visit(value, token) for every token that can be chosen. Eight logits
// of a thread are on their way at a time.
template <typename Visit>
__device__ inline void VisitAll(const SampleTask& task,
                                const DeviceContext& context, Visit&& visit) {
  constexpr uint32_t kAtOnce = 8;
  const uint32_t* logits = static_cast<const uint32_t*>(task.at->logits);
  const uint32_t* counts = static_cast<const uint32_t*>(task.at->counts);
  const uint32_t last = task.op->n - 1;
#pragma unroll 1
  for (uint32_t base = context.thread(); base <= last;
       base += kAtOnce * kComputeThreads) {
    uint32_t words[kAtOnce];
    uint32_t seen[kAtOnce];
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      const uint32_t token = min(base + i * kComputeThreads, last);
      words[i] = ptx::LoadRelaxedGpu(logits + token);
      seen[i] = task.penalizes ? ptx::LoadRelaxedGpu(counts + token) : 0;
    }
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      const uint32_t token = base + i * kComputeThreads;
      if (token > last) break;
      const float value = Penalized(task.s, isa::FloatOfBits(words[i]), token,
                                    static_cast<int32_t>(seen[i]));
      if (value != -INFINITY) visit(value, token);
    }
  }
}

struct Weight {
  float count;
  float mass;
};

// Of the tokens with values from `lowest` up.
__device__ inline Weight WeightFrom(const SampleTask& task, float lowest,
                                    DeviceContext& context) {
  float sums[2] = {};
  VisitAll(task, context, [&](float value, uint32_t) {
    if (value < lowest) return;
    sums[0] += 1;
    sums[1] += TemperedMass(task.s, value, task.max);
  });
  BlockSums(context, SampleSums(context), sums);
  return {sums[0], sums[1]};
}

// What is asked for: so many tokens, or so much mass.
struct Wanted {
  float count;
  float mass;
  __device__ bool Satisfies(const Weight& weight) const {
    return weight.count >= count && weight.mass >= mass;
  }
};

// The highest value such that the tokens from there up satisfy `wanted`, -inf
// if all of them don't. Bisected until what is left can be sorted.
__device__ inline float HighestFrom(const SampleTask& task,
                                    const Wanted& wanted,
                                    DeviceContext& context) {
  float high = INFINITY;  // the tokens from there up don't satisfy
  Weight above = {0, 0};
  float low = task.max;
  Weight below = {0, 0};
  for (float depth = 4;; depth *= 4) {
    low = depth > 256 ? -INFINITY : task.max - depth;
    below = WeightFrom(task, low, context);
    if (wanted.Satisfies(below)) break;
    if (low == -INFINITY) return low;
    high = low;
    above = below;
  }
  while (below.count - above.count > kMaxSorted) {
    const float top = fminf(high, nextafterf(task.max, INFINITY));
    const float middle = low == -INFINITY ? top - 2 * (task.max - top) - 1
                                          : low + (top - low) * 0.5f;
    if (middle <= low || middle >= top) return low;  // equal values
    const Weight weight = WeightFrom(task, middle, context);
    if (wanted.Satisfies(weight)) {
      low = middle;
      below = weight;
    } else {
      high = middle;
      above = weight;
    }
  }
  SortedValues sorted = BeginSort(context);
  VisitAll(task, context, [&](float value, uint32_t token) {
    if (value >= low && value < high) AddToSort(context, sorted, value, token);
  });
  EndSort(context, sorted);
  const uint32_t in =
      CountUntil(task, sorted, sorted.count, above.count, above.mass,
                 wanted.count, wanted.mass, context);
  // Rounding may leave the sum of all of them a hair below what is wanted.
  return sorted.value(min(in, sorted.count - 1));
}

__device__ inline float ThresholdOfAll(const SampleTask& task,
                                       DeviceContext& context) {
  const SamplingValues& s = task.s;
  float threshold = MinPThreshold(s, task.max);
  float total = task.tempered;
  if (s.top_k > 0) {
    const float kth =
        HighestFrom(task, {static_cast<float>(s.top_k), 0}, context);
    threshold = fmaxf(threshold, kth);
    if (s.top_p < 1) total = WeightFrom(task, kth, context).mass;
  }
  if (s.top_p < 1) {
    threshold =
        fmaxf(threshold, HighestFrom(task, {0, s.top_p * total}, context));
  }
  return threshold;
}

// The token drawn from those with values from `threshold` up, in thread 0.
__device__ inline uint32_t DrawFromAll(const SampleTask& task, float threshold,
                                       DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  VisitAll(task, context, [&](float value, uint32_t token) {
    if (value < threshold) return;
    best = BetterOf(
        best, {DrawScore(task.s, value, context.position(), token), token});
  });
  return BlockBest(context, best).row;
}

// The first of all tokens in the order of argmax that ranks behind `last`, in
// every thread.
__device__ inline Best NextOfAll(const SampleTask& task, const Best& last,
                                 DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  VisitAll(task, context, [&](float value, uint32_t token) {
    if (isa::RanksBefore(last.score, last.row, value, token)) {
      best = BetterOf(best, {value, token});
    }
  });
  return BlockTop(context, {best, best.score}).best;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_ALL_CUH_
