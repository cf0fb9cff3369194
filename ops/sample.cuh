// sample: the token of this pass, from what the slices found.
//
// Its instructions come from afar, as sample_slice's do: two or three trips to
// memory, as few barriers, and what is left is done by one warp alone.
#ifndef MKVM_OPS_SAMPLE_CUH_
#define MKVM_OPS_SAMPLE_CUH_

#include "ops/cold_reduce.cuh"
#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sample_all.cuh"
#include "ops/sample_gather.cuh"
#include "ops/sample_sort.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// Whether the masses of the groups with values from `cut` up could be what
// top_p keeps. In every thread; leaves the list and the sorted values empty.
__device__ inline bool MayHold(const SampleTask& task, const ThreadGroups& mine,
                               float cut, DeviceContext& context) {
  uint32_t* scratch =
      reinterpret_cast<uint32_t*>(context.shared->scratch.floats);
  // All have read what a higher cut has left.
  if (context.thread() == 0) {
    scratch[kListedOffset] = 0;
    scratch[kAddedOffset] = 0;
  }
  // The barrier inside has both empty before anybody adds to them.
  return ColdSums(context,
                  mine.max >= cut
                      ? mine.tempered * ColdMass(task.s, mine.max, task.max)
                      : 0,
                  0)
             .x >= task.s.top_p * task.tempered;
}

// Whether the collected values are all that top_p keeps. In every thread.
__device__ inline bool Holds(const SampleTask& task, const SortedValues& sorted,
                             DeviceContext& context) {
  float mass = 0;
#pragma unroll 1
  for (uint32_t i = context.thread(); i < sorted.count; i += kComputeThreads) {
    mass += ColdMass(task.s, sorted.value(i), task.max);
  }
  return ColdSums(context, mass, 0).x >= task.s.top_p * task.tempered;
}

// Collects all tokens that top_k, top_p and min_p may keep and the `wanted`
// highest. False if they are too many.
__device__ inline bool CollectKept(const SampleTask& task,
                                   const ThreadGroups& mine, uint32_t wanted,
                                   SortedValues& sorted,
                                   DeviceContext& context) {
  const SamplingValues& s = task.s;
  if (NumGroups(context) > kHeldGroups) return false;
  const float by_count = wanted > 0 ? CutByCount(wanted, context) : INFINITY;
  float lowest = INFINITY;  // that min_p keeps
  if (s.Filters() && s.top_k <= 0) lowest = MinPThreshold(s, task.max);
  // top_p alone: deeper and deeper below the highest value.
  const bool by_mass = s.Filters() && s.top_k <= 0 && s.top_p < 1;
#pragma unroll 1
  for (float depth = 2; depth <= 16; depth *= 2) {
    float cut = lowest;
    if (by_mass) {
      cut = fmaxf(task.max - depth * s.temperature, lowest);
      if (!MayHold(task, mine, cut, context) && cut > lowest) continue;
    }
    if (!Collect(task, mine, fminf(cut, by_count), sorted, context))
      return false;
    if (cut == lowest || Holds(task, sorted, context)) return true;
  }
  return false;
}

// The lowest value kept, of the sorted ones. By one warp.
__device__ inline float FindThreshold(const SampleTask& task,
                                      const SortedValues& sorted,
                                      uint32_t lane) {
  const SamplingValues& s = task.s;
  float threshold = MinPThreshold(s, task.max);
  uint32_t count = sorted.count;
  if (s.top_k > 0 && static_cast<uint32_t>(s.top_k) < count) {
    count = static_cast<uint32_t>(s.top_k);
    const float kth = sorted.value(count - 1);
    threshold = fmaxf(threshold, kth);
    while (count < sorted.count && sorted.value(count) == kth) ++count;
  }
  if (s.top_p >= 1) return threshold;
  // A lane has neighbouring values, so that sums go in order.
  const uint32_t each = (count + 31) / 32;
  const uint32_t begin = min(lane * each, count);
  const uint32_t end = min(begin + each, count);
  float own = 0;
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    own += ColdMass(s, sorted.value(i), task.max);
  }
  float sum = own;  // of this lane and those before
#pragma unroll
  for (uint32_t offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_up_sync(0xffffffffu, sum, offset);
    if (lane >= offset) sum += other;
  }
  const float total =
      s.top_k > 0 ? __shfl_sync(0xffffffffu, sum, 31) : task.tempered;
  float mass = sum - own;
  uint32_t before = 0;  // that are not yet enough
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    mass += ColdMass(s, sorted.value(i), task.max);
    if (mass < s.top_p * total) ++before;
  }
  before = __reduce_add_sync(0xffffffffu, before);
  // Rounding may leave all that there is a hair below what is wanted.
  return fmaxf(threshold, sorted.value(min(before, count - 1)));
}

// The token drawn from the sorted values. By one warp.
__device__ inline uint32_t DrawFromSorted(const SampleTask& task,
                                          const SortedValues& sorted,
                                          const DeviceContext& context) {
  const float threshold = FindThreshold(task, sorted, context.lane());
  Best best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
  for (uint32_t i = context.lane(); i < sorted.count; i += 32) {
    const float value = sorted.value(i);
    if (value < threshold) break;
    const uint32_t token = sorted.token(i);
    best = BetterOf(
        best, {ColdDrawScore(task.s, value, context.position(), token), token});
  }
  return WarpBest(best).row;
}

// Records the log-probabilities of the chosen token and of the highest. By one
// warp.
__device__ inline void Record(const SampleTask& task,
                              const SortedValues& sorted, uint32_t token,
                              uint64_t* record, const DeviceContext& context) {
  if (context.lane() == 0) {
    StoreLogprob(task, record, task.ValueOf(token), token);
  }
  const auto top = static_cast<uint32_t>(task.s.logprobs);
#pragma unroll 1
  for (uint32_t i = context.lane(); i < top; i += 32) {
    const bool is_one = i < sorted.count;
    StoreLogprob(task, record + 1 + i, is_one ? sorted.value(i) : -INFINITY,
                 is_one ? sorted.token(i) : isa::kMaxRankedIndex);
  }
}

// The token, where some are cut or log-probabilities are wanted; known to the
// first warp. `token`: the one if nothing is cut.
__device__ inline uint32_t Choose(SampleTask& task, const ThreadGroups& mine,
                                  uint32_t wanted, uint32_t token,
                                  DeviceContext& context) {
  const SamplingValues& s = task.s;
  if (s.Weighs()) {
    const float2 all =
        ColdSums(context, mine.mass * RelativeMass(mine.max, task.max),
                 mine.tempered * ColdMass(s, mine.max, task.max));
    task.mass = all.x;
    task.tempered = all.y;
  }
  uint64_t* record = RecordOfPass(task, context);
  SortedValues sorted = NoValues(context);
  if (s.Filters() || wanted > 0) {
    if (!CollectKept(task, mine, wanted, sorted, context)) {
      if (s.Filters()) {
        const OverAll over_all = SampleOverAll(task, context);
        token = over_all.token;
        context = over_all.context;
      }
      if (record != nullptr) {
        context = RecordOverAll(task, token, record, context);
      }
      return token;
    }
    if (sorted.count > kFewSorted) {
      SortMany(sorted.words, sorted.count, context.thread());
    } else if (context.warp() == 0) {
      SortFew(sorted, context.lane());
    }
  }
  // No barrier from here on: the others wait at the instruction's end.
  if (context.warp() != 0) return token;
  if (s.Filters()) token = DrawFromSorted(task, sorted, context);
  if (record != nullptr) Record(task, sorted, token, record, context);
  return token;
}

__device__ inline void DeviceSample(const isa::SampleOperands& op,
                                    const SampleAddresses& at,
                                    DeviceContext& context) {
  SampleTask task;
  task.op = &op;
  task.at = &at;
  task.mass = 1;
  task.tempered = 1;
  ThreadGroups mine;
  const uint32_t wanted = GatherGroups(task, mine, context);
  const bool generated =
      context.position() + 1 >= static_cast<int32_t>(task.prompt_tokens);
  const bool counts = generated && !isnan(task.max);
  const bool cuts = generated && isfinite(task.max) && task.s.Filters();
  uint32_t token = cuts ? 0 : BestOfGroups(task, context).row;
  if (cuts || (counts && isfinite(task.max) && task.s.logprobs >= 0)) {
    token = Choose(task, mine, wanted, token, context);
  }
  if (context.thread() != 0) return;
  // The score says no more than whether it is a NaN.
  context.StoreRanked(at.y, 0, task.max, token);
  // Nobody else adds; and nobody waits for what was there.
  if (counts) {
    ptx::AddRelaxedGpu(static_cast<uint32_t*>(at.counts) + token,
                       kCountGenerated);
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_CUH_
