// sample over all logits: exact whatever the candidates, and slow. For the
// rare pass whose kept tokens reach below them.
#ifndef MKVM_OPS_SAMPLE_ALL_CUH_
#define MKVM_OPS_SAMPLE_ALL_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// What both ways of sampling know of their pass.
struct SampleTask {
  const isa::SampleOperands* op;
  const SampleAddresses* at;
  SamplingValues s;
  bool penalizes;
  float max;
  float mass;      // of all tokens, relative to the highest
  float tempered;  // the same at the temperature
  float hidden;    // the highest value that is no candidate

  __device__ float ValueOf(uint32_t token) const {
    const float logit = isa::FloatOfBits(
        ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at->logits) + token));
    const int32_t count =
        penalizes ? static_cast<int32_t>(ptx::LoadRelaxedGpu(
                        static_cast<const uint32_t*>(at->counts) + token))
                  : 0;
    return Penalized(s, logit, token, count);
  }
};

// 32-bit integers in the order of the floats that they stand for.
__device__ inline uint32_t OrderOf(float value) {
  const uint32_t bits = isa::BitsOfFloat(value);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ inline float FloatOfOrder(uint32_t order) {
  return isa::FloatOfBits(order ^
                          ((order >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

// The sum over all tokens with values from `lowest` up of `weight(value)`.
template <typename Weight>
__device__ inline float SumFrom(const SampleTask& task, float lowest,
                                DeviceContext& context, Weight&& weight) {
  float sum = 0;
#pragma unroll 4
  for (uint32_t token = context.thread(); token < task.op->n;
       token += kComputeThreads) {
    const float value = task.ValueOf(token);
    if (value != -INFINITY && value >= lowest) sum += weight(value);
  }
  return BlockSum(context, sum);
}

// The highest value v such that the tokens from v up weigh at least `wanted`;
// -inf if all of them don't.
template <typename Weight>
__device__ inline float HighestFrom(const SampleTask& task, float wanted,
                                    DeviceContext& context, Weight&& weight) {
  uint32_t low = OrderOf(-INFINITY);
  uint32_t high = OrderOf(task.max) + 1;  // no value is there
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (SumFrom(task, FloatOfOrder(middle), context, weight) >= wanted) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return FloatOfOrder(low);
}

__device__ inline float ThresholdOfAll(const SampleTask& task,
                                       DeviceContext& context) {
  const SamplingValues& s = task.s;
  float threshold = MinPThreshold(s, task.max);
  float total = task.tempered;
  const auto mass = [&task, &s](float value) {
    return TemperedMass(s, value, task.max);
  };
  if (s.top_k > 0) {
    const float kth = HighestFrom(task, static_cast<float>(s.top_k), context,
                                  [](float) { return 1.0f; });
    threshold = fmaxf(threshold, kth);
    if (s.top_p < 1) total = SumFrom(task, kth, context, mass);
  }
  if (s.top_p < 1) {
    threshold =
        fmaxf(threshold, HighestFrom(task, s.top_p * total, context, mass));
  }
  return threshold;
}

// The token drawn from those with values from `threshold` up, in thread 0.
__device__ inline uint32_t DrawFromAll(const SampleTask& task, float threshold,
                                       DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  for (uint32_t token = context.thread(); token < task.op->n;
       token += kComputeThreads) {
    const float value = task.ValueOf(token);
    if (value == -INFINITY || value < threshold) continue;
    best = BetterOf(
        best, {DrawScore(task.s, value, context.position(), token), token});
  }
  return BlockBest(context, best).row;
}

// The first of all tokens in the order of argmax that ranks behind `last`, in
// every thread.
__device__ inline Best NextOfAll(const SampleTask& task, const Best& last,
                                 DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  for (uint32_t token = context.thread(); token < task.op->n;
       token += kComputeThreads) {
    const float value = task.ValueOf(token);
    if (value == -INFINITY ||
        !isa::RanksBefore(last.score, last.row, value, token)) {
      continue;
    }
    best = BetterOf(best, {value, token});
  }
  best = BlockBest(context, best);
  Best* shared = reinterpret_cast<Best*>(context.shared->scratch);
  // Thread 0 has read the warps' bests, which this overwrites.
  if (context.thread() == 0) *shared = best;
  // Thread 0's best is written before the others read it.
  context.Barrier();
  best = *shared;
  // All have read it before the next call overwrites it.
  context.Barrier();
  return best;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_ALL_CUH_
