// sample: the token of this pass, from what the slices found.
#ifndef MKVM_OPS_SAMPLE_CUH_
#define MKVM_OPS_SAMPLE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sample_all.cuh"
#include "ops/sample_sort.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// Calls visit(value, token) for the candidates of the slices in the list; a
// warp has a slice at a time, and all its words on their way at once.
template <typename Visit>
__device__ inline void VisitCandidates(const SampleTask& task,
                                       const uint32_t* list, uint32_t listed,
                                       DeviceContext& context, Visit&& visit) {
  constexpr uint32_t kWords = kMaxSliceCandidates / 32;
  const uint32_t columns = context.slot->dims[SampleIndex::candidates].y;
  const bool polled = context.IsPolled(SampleIndex::candidates);
#pragma unroll 2
  for (uint32_t i = context.warp(); i < listed; i += kComputeWarps) {
    const uint64_t* row = static_cast<const uint64_t*>(task.at->candidates) +
                          uint64_t{list[i]} * columns;
    uint64_t words[kWords];
#pragma unroll
    for (uint32_t j = 0; j < kWords; ++j) {
      words[j] =
          ptx::LoadRelaxedGpu(row + min(context.lane() + 32 * j, columns - 2));
    }
#pragma unroll
    for (uint32_t j = 0; j < kWords; ++j) {
      const uint32_t column = context.lane() + 32 * j;
      if (column >= columns - 1) continue;
      if (polled && isa::TagOfRanked(words[j]) != context.tag) {
        words[j] = context.LoadRanked(row + column, true, task.op->candidates);
      }
      const float value = isa::ScoreOfRanked(words[j]);
      if (value != -INFINITY) visit(value, isa::IndexOfRanked(words[j]));
    }
  }
}

// Slices in shared memory: those that have a value of `cut` or more.
struct SliceList {
  uint32_t* slices;
  uint32_t count;
};
__device__ inline SliceList ListSlices(float cut, DeviceContext& context) {
  float* scratch = context.shared->scratch;
  const float* maxima = scratch + kMaximaOffset;
  uint32_t* count = reinterpret_cast<uint32_t*>(scratch);
  SliceList list = {reinterpret_cast<uint32_t*>(scratch + kSliceListOffset), 0};
  if (context.thread() == 0) *count = 0;
  // The count is 0 before anybody adds to it; the list before has been read.
  context.Barrier();
  const uint32_t i = context.thread();
  if (i < context.slot->dims[SampleIndex::sums].x && maxima[i] >= cut &&
      maxima[i] != -INFINITY) {
    list.slices[atomicAdd(count, 1)] = i;
  }
  // All have added before the sum and the list are read.
  context.Barrier();
  list.count = *count;
  // All have read it before scratch is used again.
  context.Barrier();
  return list;
}

// The `wanted`-th highest of the slices' maxima: so many tokens at least are
// not below. -inf if there are fewer slices.
__device__ inline float CutByMaxima(uint32_t wanted, DeviceContext& context) {
  const uint32_t slices = context.slot->dims[SampleIndex::sums].x;
  if (wanted > slices) return -INFINITY;
  const float* maxima = context.shared->scratch + kMaximaOffset;
  const uint32_t i = context.thread();
  // The lowest of those that less than `wanted` others exceed.
  float lowest = INFINITY;
  if (i < slices) {
    const float mine = maxima[i];
    uint32_t higher = 0;
#pragma unroll 8
    for (uint32_t j = 0; j < slices; ++j) higher += maxima[j] > mine ? 1 : 0;
    if (higher < wanted) lowest = mine;
  }
  return -BlockMax(context, -lowest);
}

// How far below the highest value to look for the mass that top_p keeps: the
// least of a few depths whose candidates have it.
__device__ inline float CutByMass(const SampleTask& task,
                                  DeviceContext& context) {
  constexpr uint32_t kDepths = 7;
  const SliceList list = ListSlices(task.max - (1 << (kDepths - 1)), context);
  float sums[2 * kDepths] = {};
  VisitCandidates(
      task, list.slices, list.count, context, [&](float value, uint32_t) {
        const float mass = TemperedMass(task.s, value, task.max);
#pragma unroll
        for (uint32_t i = 0; i < kDepths; ++i) {
          const bool in = value >= task.max - static_cast<float>(1u << i);
          sums[2 * i] += in ? 1.0f : 0.0f;
          sums[2 * i + 1] += in ? mass : 0.0f;
        }
      });
  BlockSums(context, SampleSums(context), sums);
  float cut = task.max;
#pragma unroll
  for (int i = kDepths - 1; i >= 0; --i) {
    if (sums[2 * i] <= kMaxSorted &&
        (cut == task.max || sums[2 * i + 1] >= task.s.top_p * task.tempered)) {
      cut = task.max - static_cast<float>(1u << i);
    }
  }
  return cut;
}

// The highest candidates, sorted: down to where top_k, top_p or min_p end, and
// `top` of them to record.
__device__ inline SortedValues SortCandidates(const SampleTask& task,
                                              uint32_t top,
                                              DeviceContext& context) {
  const SamplingValues& s = task.s;
  if (context.slot->dims[SampleIndex::sums].x > kMaxSliceList) {
    return BeginSort(context);
  }
  float cut = task.max;
  if (s.Filters()) {
    cut = s.top_k > 0   ? CutByMaxima(static_cast<uint32_t>(s.top_k), context)
          : s.top_p < 1 ? CutByMass(task, context)
                        : MinPThreshold(s, task.max);
  }
  if (top > 0) cut = fminf(cut, CutByMaxima(top, context));
  const SliceList list = ListSlices(cut, context);
  SortedValues sorted = BeginSort(context);
  VisitCandidates(task, list.slices, list.count, context,
                  [&](float value, uint32_t token) {
                    if (value >= cut) AddToSort(context, sorted, value, token);
                  });
  if (EndSort(context, sorted)) sorted.cut = cut;
  return sorted;
}

// The lowest value kept, of the sorted ones. True if it is that of all tokens.
__device__ inline bool FindThreshold(const SampleTask& task,
                                     const SortedValues& sorted,
                                     DeviceContext& context, float& threshold) {
  const SamplingValues& s = task.s;
  threshold = MinPThreshold(s, task.max);
  uint32_t count = sorted.count;
  float total = task.tempered;
  if (s.top_k > 0) {
    const auto k = static_cast<uint32_t>(s.top_k);
    if (count < k) return false;
    const float kth = sorted.value(k - 1);
    threshold = fmaxf(threshold, kth);
    count = k;
    while (count < sorted.count && sorted.value(count) == kth) ++count;
    if (s.top_p < 1) {
      float mass[1] = {};
#pragma unroll 1
      for (uint32_t i = context.thread(); i < count; i += kComputeThreads) {
        mass[0] += TemperedMass(s, sorted.value(i), task.max);
      }
      BlockSums(context, SampleSums(context), mass);
      total = mass[0];
    }
  }
  if (s.top_p < 1) {
    const uint32_t last =
        CountUntil(task, sorted, count, 0, 0, 0, s.top_p * total, context);
    // Rounding may leave all that top_k keeps a hair below what is wanted.
    if (last >= count && s.top_k <= 0) return false;
    threshold = fmaxf(threshold, sorted.value(min(last, count - 1)));
  }
  return threshold >= sorted.cut && threshold > task.hidden;
}

// The token drawn from the sorted values from `threshold` up, in thread 0.
__device__ inline uint32_t DrawFromSorted(const SampleTask& task,
                                          const SortedValues& sorted,
                                          float threshold,
                                          DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
  for (uint32_t i = context.thread(); i < sorted.count; i += kComputeThreads) {
    const float value = sorted.value(i);
    if (value < threshold) break;
    const uint32_t token = sorted.token(i);
    best = BetterOf(
        best, {DrawScore(task.s, value, context.position(), token), token});
  }
  return BlockBest(context, best).row;
}

// Records the log-probabilities of the chosen token (known to thread 0) and of
// the `top` best.
__device__ inline void Record(const SampleTask& task,
                              const SortedValues& sorted, uint32_t token,
                              uint32_t top, DeviceContext& context) {
  const uint2 dims = context.slot->dims[SampleIndex::logprobs];
  const int64_t next = context.position() + 1;
  if (next >= static_cast<int64_t>(dims.x)) return;  // advance says so
  uint64_t* record = static_cast<uint64_t*>(task.at->logprobs) + next * dims.y;
  const float log_mass = logf(task.mass);
  const auto store = [&](uint32_t i, float value, uint32_t which) {
    ptx::StoreRelaxedGpu(
        record + i, isa::PackRanked(value - task.max - log_mass, which, 0));
  };
  if (context.thread() == 0) store(0, task.ValueOf(token), token);
  if (top == 0) return;
  if (sorted.count >= top && sorted.cut != INFINITY &&
      sorted.value(top - 1) > task.hidden) {
    for (uint32_t i = context.thread(); i < top; i += kComputeThreads) {
      store(1 + i, sorted.value(i), sorted.token(i));
    }
    return;
  }
  Best last = {INFINITY, 0};
#pragma unroll 1
  for (uint32_t i = 0; i < top; ++i) {
    last = NextOfAll(task, last, context);
    if (context.thread() == 0) store(1 + i, last.score, last.row);
  }
}

// What the slices say together, and the best of their bests; their maxima go to
// shared memory. All loads at once.
__device__ inline Best GatherSlices(SampleTask& task, DeviceContext& context) {
  const uint2 dims = context.slot->dims[SampleIndex::candidates];
  const uint32_t* sums = static_cast<const uint32_t*>(task.at->sums);
  const uint64_t* candidates =
      static_cast<const uint64_t*>(task.at->candidates);
  const bool polled = context.IsPolled(SampleIndex::candidates);
  float* maxima = context.shared->scratch + kMaximaOffset;
  Top top = {{-INFINITY, isa::kMaxRankedIndex}, -INFINITY};
  float hidden = -INFINITY;
  uint4 mine = make_uint4(isa::BitsOfFloat(-INFINITY), 0, 0, 0);
#pragma unroll 1
  for (uint32_t i = context.thread(); i < dims.x; i += kComputeThreads) {
    const uint4 loaded = ptx::LoadRelaxedGpu4(sums + i * kSliceSums);
    const uint64_t word =
        context.LoadRanked(candidates + uint64_t{i} * dims.y + dims.y - 1,
                           polled, task.op->candidates);
    if (i < kMaxSliceList) maxima[i] = isa::FloatOfBits(loaded.x);
    if (i < kComputeThreads) mine = loaded;
    top.max = fmaxf(top.max, isa::FloatOfBits(loaded.x));
    hidden = fmaxf(hidden, isa::FloatOfBits(loaded.w));
    top.best = BetterOf(top.best,
                        {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)});
  }
  task.s = LoadSampling(static_cast<const float*>(task.at->numbers),
                        static_cast<const int32_t*>(task.at->ints));
  task.penalizes = task.s.Penalizes();
  top = BlockTop(context, top);
  task.max = top.max;
  float masses[2] = {};
#pragma unroll 1
  for (uint32_t i = context.thread(); i < dims.x; i += kComputeThreads) {
    if (i >= kComputeThreads) {
      mine = ptx::LoadRelaxedGpu4(sums + i * kSliceSums);
    }
    const float below = isa::FloatOfBits(mine.x);
    masses[0] += isa::FloatOfBits(mine.y) * RelativeMass(below, task.max);
    masses[1] +=
        isa::FloatOfBits(mine.z) * TemperedMass(task.s, below, task.max);
  }
  BlockSums(context, SampleSums(context), masses);
  task.mass = masses[0];
  task.tempered = masses[1];
  task.hidden = BlockMax(context, hidden);
  return top.best;
}

__device__ inline void DeviceSample(const isa::SampleOperands& op,
                                    const SampleAddresses& at,
                                    DeviceContext& context) {
  SampleTask task;
  task.op = &op;
  task.at = &at;
  const Best best = GatherSlices(task, context);
  const SamplingValues& s = task.s;
  const bool generated =
      context.position() + 1 >= static_cast<const int32_t*>(at.run)[0];
  uint32_t token = best.row;
  if (generated && !isnan(best.score) && (s.Filters() || s.logprobs >= 0)) {
    if (isfinite(task.max)) {
      const uint32_t top =
          s.logprobs > 0 ? static_cast<uint32_t>(s.logprobs) : 0;
      SortedValues sorted = {nullptr, nullptr, 0, INFINITY};
      if (s.Filters() || top > 0) sorted = SortCandidates(task, top, context);
      if (s.Filters()) {
        float threshold;
        if (FindThreshold(task, sorted, context, threshold)) {
          token = DrawFromSorted(task, sorted, threshold, context);
        } else {
          threshold = s.top_k > 0 || s.top_p < 1 ? ThresholdOfAll(task, context)
                                                 : MinPThreshold(s, task.max);
          token = DrawFromAll(task, threshold, context);
          // The slow way has sorted others.
          sorted.cut = INFINITY;
        }
      }
      if (s.logprobs >= 0) Record(task, sorted, token, top, context);
    }
  }
  if (context.thread() != 0) return;
  // The score says no more than whether it is a NaN.
  context.StoreRanked(at.y, 0, best.score, token);
  if (!generated || isnan(best.score)) return;
  uint32_t* count = static_cast<uint32_t*>(at.counts) + token;
  ptx::StoreRelaxedGpu(count, ptx::LoadRelaxedGpu(count) + kCountGenerated);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_CUH_
