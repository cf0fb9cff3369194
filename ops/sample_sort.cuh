// What both ways of sampling share: what is known of the pass, and a few of
// the tokens sorted by value.
#ifndef MKVM_OPS_SAMPLE_SORT_CUH_
#define MKVM_OPS_SAMPLE_SORT_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// How the scratch is used: BlockBest has the first floats, then sums, the
// slices' maxima and a list of them, the sorted values, a sum for every thread,
// and BlockTop has the last.
inline constexpr uint32_t kMaxSorted = 1024;
inline constexpr uint32_t kSampleSumsOffset = 32;
inline constexpr uint32_t kMaximaOffset =
    kSampleSumsOffset + 2 * kMaxSums * kComputeWarps;
// More slices than this and all logits are looked at.
inline constexpr uint32_t kMaxSliceList = 256;
inline constexpr uint32_t kSliceListOffset = kMaximaOffset + kMaxSliceList;
inline constexpr uint32_t kSortedOffset = kSliceListOffset + kMaxSliceList;
inline constexpr uint32_t kThreadSumsOffset = kSortedOffset + 2 * kMaxSorted;
static_assert(kThreadSumsOffset + 2 * kComputeThreads <= kTopOffset);

__device__ inline float* SampleSums(const DeviceContext& context) {
  return context.shared->scratch + kSampleSumsOffset;
}

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
    const uint32_t word =
        ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at->logits) + token);
    const uint32_t count =
        penalizes ? ptx::LoadRelaxedGpu(
                        static_cast<const uint32_t*>(at->counts) + token)
                  : 0;
    return Penalized(s, isa::FloatOfBits(word), token,
                     static_cast<int32_t>(count));
  }
};

// Some tokens in shared memory, best first in the order of argmax.
struct SortedValues {
  uint64_t* words;  // OrderOf(value), then the complement of the token
  uint32_t* added;
  uint32_t count;
  float cut;  // all candidates from there up are among them

  __device__ float value(uint32_t i) const {
    return FloatOfOrder(static_cast<uint32_t>(words[i] >> 32));
  }
  __device__ uint32_t token(uint32_t i) const {
    return ~static_cast<uint32_t>(words[i]);
  }
};

__device__ inline SortedValues BeginSort(DeviceContext& context) {
  float* scratch = context.shared->scratch;
  SortedValues sorted = {reinterpret_cast<uint64_t*>(scratch + kSortedOffset),
                         reinterpret_cast<uint32_t*>(scratch), 0, INFINITY};
  if (context.thread() == 0) *sorted.added = 0;
  // It is 0 before anybody adds to it; what was sorted before has been read.
  context.Barrier();
  return sorted;
}

// More than fit are left out.
__device__ inline void AddToSort(const DeviceContext&,
                                 const SortedValues& sorted, float value,
                                 uint32_t token) {
  const uint32_t i = atomicAdd(sorted.added, 1);
  if (i < kMaxSorted) {
    sorted.words[i] = uint64_t{OrderOf(value)} << 32 | ~token;
  }
}

// One step of the bitonic sort (Batcher 1968), descending, over `size` words.
__device__ inline void SortStep(uint64_t* words, uint32_t size, uint32_t run,
                                uint32_t stride, uint32_t thread) {
#pragma unroll 1
  for (uint32_t p = thread; p < size / 2; p += kComputeThreads) {
    const uint32_t i = 2 * p - (p & (stride - 1));
    const uint64_t a = words[i];
    const uint64_t b = words[i + stride];
    if ((a < b) == ((i & run) == 0)) {
      words[i] = b;
      words[i + stride] = a;
    }
  }
}

// True if all that was added fits.
__device__ inline bool EndSort(DeviceContext& context, SortedValues& sorted) {
  // All have added before the sum is read.
  context.Barrier();
  const uint32_t added = *sorted.added;
  sorted.count = min(added, kMaxSorted);
  uint32_t size = 2;
  while (size < sorted.count) size *= 2;
  for (uint32_t i = sorted.count + context.thread(); i < size;
       i += kComputeThreads) {
    sorted.words[i] = 0;  // behind every value
  }
  // The words are there before they are sorted.
  context.Barrier();
  if (size <= kComputeThreads) {
    // Few: each word's place is the number of higher ones.
    const uint64_t mine = sorted.words[min(context.thread(), size - 1)];
    uint32_t place = 0;
#pragma unroll 4
    for (uint32_t i = 0; i < sorted.count; ++i) {
      place += sorted.words[i] > mine ? 1 : 0;
    }
    // All have read the words before one is moved.
    context.Barrier();
    if (context.thread() < sorted.count) sorted.words[place] = mine;
  } else {
#pragma unroll 1
    for (uint32_t run = 2; run <= size; run *= 2) {
#pragma unroll 1
      for (uint32_t stride = run / 2; stride > 0; stride /= 2) {
        SortStep(sorted.words, size, run, stride, context.thread());
        // A step sees the one before.
        context.Barrier();
      }
    }
  }
  // All see the last step.
  context.Barrier();
  return added <= kMaxSorted;
}

// How many of the first `count` sorted values it takes, one after the other,
// until `begin_count` and they are `wanted_count` and `begin_mass` and their
// mass is `wanted_mass`: the index of the last of them, `count` if all don't
// do. In every thread.
__device__ inline uint32_t CountUntil(const SampleTask& task,
                                      const SortedValues& sorted,
                                      uint32_t count, float begin_count,
                                      float begin_mass, float wanted_count,
                                      float wanted_mass,
                                      DeviceContext& context) {
  // A thread has neighbouring values, so that sums go in order.
  const uint32_t each = (count + kComputeThreads - 1) / kComputeThreads;
  const uint32_t threads = each == 0 ? 0 : (count + each - 1) / each;
  const uint32_t begin = min(context.thread() * each, count);
  const uint32_t end = min(begin + each, count);
  float sum = 0;
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    sum += TemperedMass(task.s, sorted.value(i), task.max);
  }
  float* sums = context.shared->scratch + kThreadSumsOffset +
                context.NextPartials() * kComputeThreads;
  sums[context.thread()] = sum;
  // Every thread's sum is there before it is added.
  context.Barrier();
  float mass = begin_mass;
  const uint32_t before = min(context.thread(), threads);
#pragma unroll 4
  for (uint32_t t = 0; t < before; ++t) mass += sums[t];
  float unsatisfied[1] = {};
#pragma unroll 1
  for (uint32_t i = begin; i < end; ++i) {
    mass += TemperedMass(task.s, sorted.value(i), task.max);
    if (mass < wanted_mass ||
        begin_count + static_cast<float>(i + 1) < wanted_count) {
      unsatisfied[0] += 1;
    }
  }
  BlockSums(context, SampleSums(context), unsatisfied);
  return static_cast<uint32_t>(unsatisfied[0]);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_SORT_CUH_
