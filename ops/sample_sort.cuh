// What all ways of sampling share: what is known of the pass, and some of the
// tokens sorted by value.
#ifndef MKVM_OPS_SAMPLE_SORT_CUH_
#define MKVM_OPS_SAMPLE_SORT_CUH_

#include "ops/cold_reduce.cuh"
#include "ops/device_context.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// How the scratch is used: two counts, the warps' highest values, where the
// slices begin, the list of what to look at, 16 bits each (or a sum for every
// thread, when nobody looks at the list any more), the sorted values; the
// block's reductions have the end.
inline constexpr uint32_t kListedOffset = 0;
inline constexpr uint32_t kAddedOffset = 1;
inline constexpr uint32_t kTopsOffset = 4;
inline constexpr uint32_t kBeginsOffset = kTopsOffset + kComputeThreads;
inline constexpr uint32_t kListOffset = kBeginsOffset + 192;
inline constexpr uint32_t kMaxSorted = 1024;
inline constexpr uint32_t kSortedOffset = kColdOffset - 2 * kMaxSorted;
inline constexpr uint32_t kMaxListed = 2 * (kSortedOffset - kListOffset);
static_assert(kListOffset + 2 * kComputeThreads <= kSortedOffset &&
              kTopsOffset % 4 == 0 && kSortedOffset % 2 == 0);

struct SampleTask {
  const isa::SampleOperands* op;
  const SampleAddresses* at;
  SamplingValues s;
  uint32_t prompt_tokens;
  float max;
  float mass;      // of all tokens, relative to the highest
  float tempered;  // the same at the temperature

  __device__ uint32_t Seen(uint32_t token) const {
    return ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at->counts) +
                               token);
  }
  // REQUIRES: token < the limit.
  __device__ float ValueOf(uint32_t token) const {
    const uint32_t word =
        ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at->logits) + token);
    return ColdPenalized(s, isa::FloatOfBits(word),
                         s.Penalizes() ? Seen(token) : 0);
  }
};

// Some tokens in shared memory; once sorted, best first in the order of argmax.
struct SortedValues {
  uint64_t* words;  // OrderOf(value), then the complement of the token
  uint32_t* added;  // how many there would be if all did fit
  uint32_t count;

  __device__ float value(uint32_t i) const {
    return FloatOfOrder(static_cast<uint32_t>(words[i] >> 32));
  }
  __device__ uint32_t token(uint32_t i) const {
    return ~static_cast<uint32_t>(words[i]);
  }
  // More than fit are left out.
  __device__ void Add(float value, uint32_t token) const {
    const uint32_t i = ptx::IncrementShared(added);
    if (i < kMaxSorted) {
      words[i] = uint64_t{OrderOf(value + 0.0f)} << 32 | ~token;
    }
  }
};
__device__ inline SortedValues NoValues(const DeviceContext& context) {
  float* scratch = context.shared->scratch.floats;
  return {reinterpret_cast<uint64_t*>(scratch + kSortedOffset),
          reinterpret_cast<uint32_t*>(scratch) + kAddedOffset, 0};
}

// Up to two values for a lane.
inline constexpr uint32_t kFewSorted = 64;

// Sorts them. By one warp. REQUIRES: 0 < count <= kFewSorted.
__device__ inline void SortFew(const SortedValues& sorted, uint32_t lane) {
  const uint32_t last = sorted.count - 1;
  const uint64_t a = sorted.words[min(lane, last)];
  const uint64_t b = sorted.words[min(lane + 32, last)];
  // A word's place is the number of higher ones.
  uint32_t place_a = 0;
  uint32_t place_b = 0;
#pragma unroll 2
  for (uint32_t i = 0; i < sorted.count; ++i) {
    const uint64_t other = sorted.words[i];
    place_a += other > a ? 1 : 0;
    place_b += other > b ? 1 : 0;
  }
  // All lanes have read the words before one is moved.
  __syncwarp();
  if (lane <= last) sorted.words[place_a] = a;
  if (lane + 32 <= last) sorted.words[place_b] = b;
  // All are in their places before any is read.
  __syncwarp();
}

// The same for any number, by all compute threads: the bitonic sort (Batcher
// 1968), descending. The words are there before it is called, for all.
static __device__ __noinline__ void SortMany(uint64_t* words, uint32_t count,
                                             uint32_t thread) {
  uint32_t size = 2;
  while (size < count) size *= 2;
  for (uint32_t i = count + thread; i < size; i += kComputeThreads) {
    words[i] = 0;  // behind every value
  }
  // Those behind are there, too, before they are sorted.
  ptx::SyncNamed(1, kComputeThreads);
#pragma unroll 1
  for (uint32_t run = 2; run <= size; run *= 2) {
#pragma unroll 1
    for (uint32_t stride = run / 2; stride > 0; stride /= 2) {
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
      // A step sees the one before; all see the last.
      ptx::SyncNamed(1, kComputeThreads);
    }
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_SORT_CUH_
