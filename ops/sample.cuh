// sample: the token of this pass, from what the slices found.
#ifndef MKVM_OPS_SAMPLE_CUH_
#define MKVM_OPS_SAMPLE_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sample_all.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// How the scratch is used: BlockBest has the first floats, then the sorted
// values, then a sum for every thread.
inline constexpr uint32_t kSortedOffset = 32;
inline constexpr uint32_t kMaxSorted = 2048;
inline constexpr uint32_t kThreadSumsOffset = kSortedOffset + 2 * kMaxSorted;
static_assert(kThreadSumsOffset + kComputeThreads <= kScratchFloats);
// Values are looked at down to so far below the highest, in logits.
inline constexpr uint32_t kDepths = 7;
__device__ inline float DepthOf(uint32_t i) {
  return static_cast<float>(1u << i);
}

// The highest candidates in shared memory, best first.
struct SortedValues {
  uint64_t* words;  // OrderOf(value), then the complement of the token
  uint32_t count;
  float cut;  // all candidates from there up are among them

  __device__ float value(uint32_t i) const {
    return FloatOfOrder(static_cast<uint32_t>(words[i] >> 32));
  }
  __device__ uint32_t token(uint32_t i) const {
    return ~static_cast<uint32_t>(words[i]);
  }
};

// Calls visit(value, token) for every candidate.
template <typename Visit>
__device__ inline void VisitCandidates(const SampleTask& task,
                                       DeviceContext& context, Visit&& visit) {
  const uint2 dims = context.slot->dims[SampleIndex::candidates];
  const uint64_t* words = static_cast<const uint64_t*>(task.at->candidates);
  const bool polled = context.IsPolled(SampleIndex::candidates);
#pragma unroll 8
  for (uint32_t i = context.thread(); i < dims.x * dims.y;
       i += kComputeThreads) {
    const uint64_t word =
        context.LoadRanked(words + i, polled, task.op->candidates);
    const float value = isa::ScoreOfRanked(word);
    if (i % dims.y == dims.y - 1 || value == -INFINITY) continue;
    visit(value, isa::IndexOfRanked(word));
  }
}

// How far below the highest value to look: the least depth with `wanted`
// candidates, and the mass that top_p asks for where top_k doesn't bound it;
// but no more candidates than can be sorted.
__device__ inline float ChooseCut(const SampleTask& task, uint32_t wanted,
                                  DeviceContext& context) {
  const SamplingValues& s = task.s;
  float counts[kDepths] = {};
  float masses[kDepths] = {};
  VisitCandidates(task, context, [&](float value, uint32_t) {
    const float mass = TemperedMass(s, value, task.max);
#pragma unroll
    for (uint32_t i = 0; i < kDepths; ++i) {
      const bool in = value >= task.max - DepthOf(i);
      counts[i] += in ? 1.0f : 0.0f;
      masses[i] += in ? mass : 0.0f;
    }
  });
  const bool by_mass = s.Filters() && s.top_k <= 0 && s.top_p < 1;
  float cut = task.max - DepthOf(0);
  for (uint32_t i = 0; i < kDepths; ++i) {
    const float count = BlockSum(context, counts[i]);
    const float mass = BlockSum(context, masses[i]);
    if (count > kMaxSorted) break;
    cut = task.max - DepthOf(i);
    const bool by_min_p = s.Filters() && s.top_k <= 0 && s.top_p >= 1;
    if (count >= static_cast<float>(wanted) &&
        (!by_mass || mass >= s.top_p * task.tempered) &&
        (!by_min_p || cut <= MinPThreshold(s, task.max))) {
      break;
    }
  }
  return cut;
}

// The candidates from `cut` up, best first. More than fit are left out, and
// the cut says so.
__device__ inline SortedValues Sort(const SampleTask& task, float cut,
                                    DeviceContext& context) {
  SortedValues sorted;
  sorted.words =
      reinterpret_cast<uint64_t*>(context.shared->scratch + kSortedOffset);
  uint32_t* count = reinterpret_cast<uint32_t*>(context.shared->scratch);
  if (context.thread() == 0) *count = 0;
  // The count is 0 before anybody adds to it.
  context.Barrier();
  VisitCandidates(task, context, [&](float value, uint32_t token) {
    if (value < cut) return;
    const uint32_t i = atomicAdd(count, 1);
    if (i >= kMaxSorted) return;
    sorted.words[i] = uint64_t{OrderOf(value)} << 32 | ~token;
  });
  // All have added before the sum is read.
  context.Barrier();
  sorted.count = min(*count, kMaxSorted);
  sorted.cut = *count > kMaxSorted ? INFINITY : cut;
  uint32_t size = 2;
  while (size < sorted.count) size *= 2;
  for (uint32_t i = sorted.count + context.thread(); i < size;
       i += kComputeThreads) {
    sorted.words[i] = 0;  // behind every value
  }
  // Bitonic (Batcher 1968), descending; a barrier between steps, so that each
  // sees the one before.
  for (uint32_t run = 2; run <= size; run *= 2) {
    for (uint32_t stride = run / 2; stride > 0; stride /= 2) {
      context.Barrier();
      for (uint32_t p = context.thread(); p < size / 2; p += kComputeThreads) {
        const uint32_t i = 2 * p - p % stride;
        const uint64_t a = sorted.words[i];
        const uint64_t b = sorted.words[i + stride];
        if ((a < b) == ((i & run) == 0)) {
          sorted.words[i] = b;
          sorted.words[i + stride] = a;
        }
      }
    }
  }
  // The last step is seen by all.
  context.Barrier();
  return sorted;
}

// How many of the sorted values from the first on hold `share` of the mass
// `total` (of the first `count` of them where total is 0), in every thread.
__device__ inline uint32_t CountOfMass(const SampleTask& task,
                                       const SortedValues& sorted,
                                       uint32_t count, float total, float share,
                                       DeviceContext& context) {
  // A thread has neighbouring values, so that sums go in order.
  const uint32_t each = (count + kComputeThreads - 1) / kComputeThreads;
  const uint32_t begin = min(context.thread() * each, count);
  const uint32_t end = min(begin + each, count);
  float sum = 0;
  for (uint32_t i = begin; i < end; ++i) {
    sum += TemperedMass(task.s, sorted.value(i), task.max);
  }
  const uint32_t threads = (count + each - 1) / each;  // that have some
  float* sums = context.shared->scratch + kThreadSumsOffset;
  sums[context.thread()] = sum;
  // Every thread's sum is there before it is added.
  context.Barrier();
  float before = 0;
  float all = 0;
  for (uint32_t t = 0; t < threads; ++t) {
    if (t == context.thread()) before = all;
    all += sums[t];
  }
  if (total == 0) total = all;
  uint32_t in = 0;
  for (uint32_t i = begin; i < end; ++i) {
    if (before < share * total) ++in;
    before += TemperedMass(task.s, sorted.value(i), task.max);
  }
  return static_cast<uint32_t>(BlockSum(context, static_cast<float>(in)));
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
    total = 0;
  }
  if (s.top_p < 1) {
    const uint32_t kept =
        CountOfMass(task, sorted, count, total, s.top_p, context);
    // All of them may not be enough, or just be.
    if (kept == count && s.top_k <= 0) return false;
    threshold = fmaxf(threshold, sorted.value(kept - 1));
  }
  return threshold >= sorted.cut && threshold > task.hidden;
}

// The token drawn from the sorted values from `threshold` up, in thread 0.
__device__ inline uint32_t DrawFromSorted(const SampleTask& task,
                                          const SortedValues& sorted,
                                          float threshold,
                                          DeviceContext& context) {
  Best best = {-INFINITY, isa::kMaxRankedIndex};
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
  if (sorted.count >= top && sorted.value(top - 1) > task.hidden) {
    for (uint32_t i = context.thread(); i < top; i += kComputeThreads) {
      store(1 + i, sorted.value(i), sorted.token(i));
    }
    return;
  }
  Best last = {INFINITY, 0};
  for (uint32_t i = 0; i < top; ++i) {
    last = NextOfAll(task, last, context);
    if (context.thread() == 0) store(1 + i, last.score, last.row);
  }
}

// What the slices' sums say together.
__device__ inline SampleTask GatherSums(const isa::SampleOperands& op,
                                        const SampleAddresses& at,
                                        DeviceContext& context) {
  SampleTask task;
  task.op = &op;
  task.at = &at;
  task.s = LoadSampling(static_cast<const float*>(at.numbers),
                        static_cast<const int32_t*>(at.ints));
  task.penalizes = task.s.Penalizes();
  const uint32_t slices = context.slot->dims[SampleIndex::sums].x;
  const uint32_t* words = static_cast<const uint32_t*>(at.sums);
  float max = -INFINITY;
  float hidden = -INFINITY;
  for (uint32_t i = context.thread(); i < slices; i += kComputeThreads) {
    const uint4 sums = ptx::LoadRelaxedGpu4(words + i * kSliceSums);
    max = fmaxf(max, isa::FloatOfBits(sums.x));
    hidden = fmaxf(hidden, isa::FloatOfBits(sums.w));
  }
  task.max = BlockMax(context, max);
  task.hidden = BlockMax(context, hidden);
  float mass = 0;
  float tempered = 0;
  for (uint32_t i = context.thread(); i < slices; i += kComputeThreads) {
    const uint4 sums = ptx::LoadRelaxedGpu4(words + i * kSliceSums);
    const float below = isa::FloatOfBits(sums.x);
    mass += isa::FloatOfBits(sums.y) * RelativeMass(below, task.max);
    tempered +=
        isa::FloatOfBits(sums.z) * TemperedMass(task.s, below, task.max);
  }
  task.mass = BlockSum(context, mass);
  task.tempered = BlockSum(context, tempered);
  return task;
}

// The best of the slices' bests, in every thread.
__device__ inline Best BestOfSlices(const isa::SampleOperands& op,
                                    const SampleAddresses& at,
                                    DeviceContext& context) {
  const uint2 dims = context.slot->dims[SampleIndex::candidates];
  const uint64_t* words = static_cast<const uint64_t*>(at.candidates);
  Best best = {-INFINITY, isa::kMaxRankedIndex};
  for (uint32_t i = context.thread(); i < dims.x; i += kComputeThreads) {
    const uint64_t word = context.LoadRanked(
        words + uint64_t{i} * dims.y + dims.y - 1,
        context.IsPolled(SampleIndex::candidates), op.candidates);
    best = BetterOf(best, {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)});
  }
  best = BlockBest(context, best);
  Best* shared = reinterpret_cast<Best*>(context.shared->scratch);
  // Thread 0 has read the warps' bests, which this overwrites.
  if (context.thread() == 0) *shared = best;
  // Thread 0's best is written before the others read it.
  context.Barrier();
  best = *shared;
  // All have read it before the scratch is used again.
  context.Barrier();
  return best;
}

__device__ inline void DeviceSample(const isa::SampleOperands& op,
                                    const SampleAddresses& at,
                                    DeviceContext& context) {
  const Best best = BestOfSlices(op, at, context);
  const bool generated =
      context.position() + 1 >= static_cast<const int32_t*>(at.run)[0];
  if (!generated || isnan(best.score)) {
    if (context.thread() == 0) {
      context.StoreRanked(at.y, 0, best.score, best.row);
    }
    return;
  }
  const SampleTask task = GatherSums(op, at, context);
  uint32_t token = best.row;
  if (isfinite(task.max)) {
    const uint32_t top =
        task.s.logprobs > 0 ? static_cast<uint32_t>(task.s.logprobs) : 0;
    SortedValues sorted = {nullptr, 0, INFINITY};
    if (task.s.Filters() || top > 0) {
      const uint32_t k = task.s.Filters() && task.s.top_k > 0
                             ? static_cast<uint32_t>(task.s.top_k)
                             : 0;
      sorted = Sort(task, ChooseCut(task, max(k, top), context), context);
    }
    if (task.s.Filters()) {
      float threshold;
      if (FindThreshold(task, sorted, context, threshold)) {
        token = DrawFromSorted(task, sorted, threshold, context);
      } else {
        token = DrawFromAll(task, ThresholdOfAll(task, context), context);
      }
    }
    if (task.s.logprobs >= 0) Record(task, sorted, token, top, context);
  }
  if (context.thread() != 0) return;
  context.StoreRanked(at.y, 0, task.ValueOf(token), token);
  uint32_t* count = static_cast<uint32_t*>(at.counts) + token;
  ptx::StoreRelaxedGpu(count, ptx::LoadRelaxedGpu(count) + kCountGenerated);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_CUH_
