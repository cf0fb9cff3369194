// sample over all logits: exact whatever they are, and slow. For the pass whose
// kept tokens are more than can be sorted.
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
  const bool penalizes = task.s.Penalizes();
  const uint32_t end = min(task.op->n, task.s.token_limit);
#pragma unroll 1
  for (uint32_t base = context.thread(); base < end;
       base += kAtOnce * kComputeThreads) {
    float values[kAtOnce];
    uint32_t seen[kAtOnce];
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      const uint32_t token = min(base + i * kComputeThreads, end - 1);
      values[i] = isa::FloatOfBits(ptx::LoadRelaxedGpu(logits + token));
      seen[i] = penalizes ? task.Seen(token) : 0;
    }
#pragma unroll 1
    for (uint32_t token = base;
         token < end && token < base + kAtOnce * kComputeThreads;
         token += kComputeThreads) {
      const float value = ColdPenalized(task.s, values[0], seen[0]);
      if (value != -INFINITY) visit(value, token);
        // An array in registers has no index that is not constant.
#pragma unroll
      for (uint32_t i = 1; i < kAtOnce; ++i) {
        values[i - 1] = values[i];
        seen[i - 1] = seen[i];
      }
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
  Weight mine = {0, 0};
  VisitAll(task, context, [&](float value, uint32_t) {
    if (value < lowest) return;
    mine.count += 1;
    mine.mass += TemperedMass(task.s, value, task.max);
  });
  const float2 all = ColdSums(context, mine.count, mine.mass);
  return {all.x, all.y};
}

// What is asked for: so many tokens, or so much mass.
struct Wanted {
  float count;
  float mass;
  __device__ bool Satisfies(const Weight& weight) const {
    return weight.count >= count && weight.mass >= mass;
  }
};

// How many of the sorted values it takes beside those in `above`, one after the
// other, until `wanted` is satisfied: the index of the last of them, `count` if
// all don't do. In every thread.
__device__ inline uint32_t CountUntil(const SampleTask& task,
                                      const SortedValues& sorted,
                                      const Weight& above, const Wanted& wanted,
                                      DeviceContext& context) {
  // A thread has neighbouring values, so that sums go in order.
  const uint32_t each = (sorted.count + kComputeThreads - 1) / kComputeThreads;
  const uint32_t begin = min(context.thread() * each, sorted.count);
  const uint32_t end = min(begin + each, sorted.count);
  float sum = 0;
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    sum += TemperedMass(task.s, sorted.value(i), task.max);
  }
  float* sums = context.shared->scratch.floats + kListOffset +
                context.NextPartials() * kComputeThreads;
  sums[context.thread()] = sum;
  // Every thread's sum is there before it is added.
  context.Barrier();
  Weight weight = {above.count + static_cast<float>(begin), above.mass};
#pragma unroll 4
  for (uint32_t t = 0; t < context.thread(); ++t) weight.mass += sums[t];
  float unsatisfied = 0;
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    weight.count += 1;
    weight.mass += TemperedMass(task.s, sorted.value(i), task.max);
    if (!wanted.Satisfies(weight)) unsatisfied += 1;
  }
  return static_cast<uint32_t>(ColdSums(context, unsatisfied, 0).x);
}

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
  SortedValues sorted = NoValues(context);
  // All have read how many values were sorted before.
  context.Barrier();
  if (context.thread() == 0) *sorted.added = 0;
  // It is 0 before anybody adds to it.
  context.Barrier();
  VisitAll(task, context, [&](float value, uint32_t token) {
    if (value >= low && value < high) sorted.Add(value, token);
  });
  // All have added before the sum is read.
  context.Barrier();
  sorted.count = min(*sorted.added, kMaxSorted);
  SortMany(sorted.words, sorted.count, context.thread());
  const uint32_t in = CountUntil(task, sorted, above, wanted, context);
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

// The token drawn from those with values from `threshold` up.
__device__ inline uint32_t DrawFromAll(const SampleTask& task, float threshold,
                                       DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  VisitAll(task, context, [&](float value, uint32_t token) {
    if (value < threshold) return;
    best = BetterOf(
        best, {ColdDrawScore(task.s, value, context.position(), token), token});
  });
  return ColdBest(context, best).row;
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
  return ColdBest(context, best);
}

// Where the log-probabilities of the pass go; nullptr if they don't.
__device__ inline uint64_t* RecordOfPass(const SampleTask& task,
                                         const DeviceContext& context) {
  const FirstDims dims = context.slot()->dims[SampleIndex::logprobs];
  const int64_t next = context.position() + 1;
  // Past the end: advance says so.
  if (task.s.logprobs < 0 || next >= static_cast<int64_t>(dims.x)) {
    return nullptr;
  }
  return static_cast<uint64_t*>(task.at->logprobs) + next * dims.y;
}
__device__ inline void StoreLogprob(const SampleTask& task, uint64_t* at,
                                    float value, uint32_t token) {
  ptx::StoreRelaxedGpu(
      at, isa::PackRanked(value - task.max - logf(task.mass), token, 0));
}

// What follows returns the context, whose address nobody takes. Two functions:
// as one they take registers that the interpreter's loop needs.
//
// The token, when those that matter can't be sorted.
struct OverAll {
  uint32_t token;
  DeviceContext context;
};
static __device__ __noinline__ OverAll SampleOverAll(SampleTask task,
                                                     DeviceContext context) {
  const SamplingValues& s = task.s;
  const float threshold = s.top_k > 0 || s.top_p < 1
                              ? ThresholdOfAll(task, context)
                              : MinPThreshold(s, task.max);
  const uint32_t token = DrawFromAll(task, threshold, context);
  return {token, context};
}

// Records the log-probabilities of the token and of the highest of all.
static __device__ __noinline__ DeviceContext RecordOverAll(
    SampleTask task, uint32_t token, uint64_t* record, DeviceContext context) {
  if (context.thread() == 0) {
    StoreLogprob(task, record, task.ValueOf(token), token);
  }
  Best last = {INFINITY, 0};
#pragma unroll 1
  for (int32_t i = 1; i <= task.s.logprobs; ++i) {
    last = NextOfAll(task, last, context);
    if (context.thread() == 0) {
      StoreLogprob(task, record + i, last.score, last.row);
    }
  }
  return context;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_ALL_CUH_
