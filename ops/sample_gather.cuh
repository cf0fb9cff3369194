// The first half of sample: what the groups say together, and the tokens that
// can matter.
#ifndef MKVM_OPS_SAMPLE_GATHER_CUH_
#define MKVM_OPS_SAMPLE_GATHER_CUH_

#include <cfloat>

#include "ops/cold_reduce.cuh"
#include "ops/device_context.cuh"
#include "ops/sample_sort.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

// The groups that a thread holds. Of more than all threads hold, the best and
// the masses are found in turns; what is cut is then found over all logits.
inline constexpr uint32_t kThreadGroups = 5;
inline constexpr uint32_t kHeldGroups = kThreadGroups * kComputeThreads;
static_assert(kBeginsOffset + kHeldGroups / kSliceGroups < kListOffset);

// What a thread knows of its groups.
struct ThreadGroups {
  float maxima[kThreadGroups];  // -inf where there is no group
  float max;
  float mass;      // relative to that
  float tempered;  // likewise
};

// A thread's first group; the others are kComputeThreads further each. Runs of
// four are 64 bytes of `groups`; neighbouring ones are of different warps, so
// that each warp has some of the highest.
__device__ inline uint32_t FirstGroup(const DeviceContext& context) {
  return context.lane() / 4 * (4 * kComputeWarps) + context.warp() * 4 +
         context.lane() % 4;
}
__device__ inline uint32_t NumGroups(const DeviceContext& context) {
  return context.slot()->dims[SampleIndex::groups].x * kSliceGroups;
}

// How many of its highest threads a warp publishes, so that the `wanted`
// highest of the block are among them, or nearly.
__device__ inline uint32_t TopsOfWarp(uint32_t wanted) {
  return wanted == 0 ? 1 : min(wanted / kComputeWarps + 2, 32u);
}

// Counts a group in: its masses, and its maximum if that is not yet.
__device__ inline void AddGroup(const SampleTask& task, const uint4& group,
                                ThreadGroups& mine) {
  const float below = isa::FloatOfBits(group.x);
  const float max = ptx::MaxOrNan(mine.max, below);
  mine.mass = mine.mass * RelativeMass(mine.max, max) +
              isa::FloatOfBits(group.y) * RelativeMass(below, max);
  mine.tempered = mine.tempered * ColdMass(task.s, mine.max, max) +
                  isa::FloatOfBits(group.z) * ColdMass(task.s, below, max);
  mine.max = max;
}

// Loads the groups, in one trip to memory with the options.
__device__ inline void LoadGroups(SampleTask& task, ThreadGroups& mine,
                                  const DeviceContext& context) {
  const uint32_t num_groups = NumGroups(context);
  const uint32_t* groups = static_cast<const uint32_t*>(task.at->groups);
  const uint32_t first = FirstGroup(context);
  uint4 numbers[kThreadGroups];
  // Past the end the last one: no load hangs on a condition.
#pragma unroll
  for (uint32_t j = 0; j < kThreadGroups; ++j) {
    const uint32_t i = min(first + j * kComputeThreads, num_groups - 1);
    numbers[j] = ptx::LoadRelaxedGpu4(groups + i * kGroupNumbers);
  }
  task.prompt_tokens =
      ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(task.at->run));
  task.s = LoadOptions(task.at->numbers, task.at->ints);
  mine.max = -INFINITY;
  mine.mass = 0;
  mine.tempered = 0;
#pragma unroll
  for (uint32_t j = 0; j < kThreadGroups; ++j) {
    if (first + j * kComputeThreads >= num_groups) {
      numbers[j].x = isa::BitsOfFloat(-INFINITY);
    }
    mine.maxima[j] = isa::FloatOfBits(numbers[j].x);
  }
  if (first % kSliceGroups == 0) {
    float* begins = context.shared->scratch.floats + kBeginsOffset;
#pragma unroll
    for (uint32_t j = 0; j < kThreadGroups; ++j) {
      begins[(first + j * kComputeThreads) / kSliceGroups] =
          isa::FloatOfBits(numbers[j].w);
    }
  }
  if (!task.s.Weighs()) {
#pragma unroll
    for (uint32_t j = 0; j < kThreadGroups; ++j) {
      mine.max = ptx::MaxOrNan(mine.max, mine.maxima[j]);
    }
  } else {
#pragma unroll 1
    for (uint32_t j = 0; j < kThreadGroups; ++j) {
      AddGroup(task, numbers[0], mine);
      // An array in registers has no index that is not constant.
#pragma unroll
      for (uint32_t i = 1; i < kThreadGroups; ++i) numbers[i - 1] = numbers[i];
    }
  }
  // More than are held.
#pragma unroll 1
  for (uint32_t i = first + kHeldGroups; i < num_groups; i += kComputeThreads) {
    AddGroup(task, ptx::LoadRelaxedGpu4(groups + i * kGroupNumbers), mine);
  }
}

// What all groups say together: task.max, a NaN if there is one. Leaves the
// warps' highest values and the slices' begins in shared memory, and an empty
// list. Returns how many of the highest tokens will be asked for.
__device__ inline uint32_t GatherGroups(SampleTask& task, ThreadGroups& mine,
                                        const DeviceContext& context) {
  uint32_t* scratch =
      reinterpret_cast<uint32_t*>(context.shared->scratch.floats);
  uint32_t* tops = scratch + kTopsOffset;
  LoadGroups(task, mine, context);
  const SamplingValues& s = task.s;
  uint32_t wanted =
      s.Filters() && s.top_k > 0 ? static_cast<uint32_t>(s.top_k) : 0;
  if (s.logprobs > 0) wanted = max(wanted, static_cast<uint32_t>(s.logprobs));
  uint32_t rank = RankOf(mine.max);
#pragma unroll 1
  for (uint32_t i = 0; i < TopsOfWarp(wanted); ++i) {
    const uint32_t top = __reduce_max_sync(0xffffffffu, rank);
    if (context.lane() == 0) tops[i * kComputeWarps + context.warp()] = top;
    const uint32_t lanes = __ballot_sync(0xffffffffu, rank == top);
    if (context.lane() + 1 == static_cast<uint32_t>(__ffs(lanes))) {
      rank = OrderOf(-INFINITY);
    }
  }
  if (context.thread() == 0) {
    scratch[kListedOffset] = 0;
    scratch[kAddedOffset] = 0;
  }
  // The warps' highest values, the slices' begins and the empty list are there
  // before any is read.
  context.Barrier();
  task.max = FloatOfOrder(
      __reduce_max_sync(0xffffffffu, tops[context.lane() % kComputeWarps]));
  return wanted;
}

// The best of the groups' bests, in every thread.
__device__ inline Best BestOfGroups(const SampleTask& task,
                                    DeviceContext& context) {
  constexpr uint32_t kAtOnce = 4;
  const uint32_t num_groups = NumGroups(context);
  const uint64_t* bests = static_cast<const uint64_t*>(task.at->best);
  Best best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
  for (uint32_t base = context.thread(); base < num_groups;
       base += kAtOnce * kComputeThreads) {
    uint64_t words[kAtOnce];
#pragma unroll
    for (uint32_t j = 0; j < kAtOnce; ++j) {
      // Past the end the last one: twice the same is no harm.
      words[j] = ptx::LoadRelaxedGpu(
          bests + min(base + j * kComputeThreads, num_groups - 1));
    }
#pragma unroll
    for (uint32_t j = 0; j < kAtOnce; ++j) {
      best = BetterOf(
          best, {isa::ScoreOfRanked(words[j]), isa::IndexOfRanked(words[j])});
    }
  }
  return ColdBest(context, best);
}

// A value that so many tokens at least are not below: the highest of as many
// threads are not. -inf if there are not as many. By every warp for itself.
__device__ inline float CutByCount(uint32_t wanted,
                                   const DeviceContext& context) {
  const uint32_t* tops =
      reinterpret_cast<const uint32_t*>(context.shared->scratch.floats) +
      kTopsOffset;
  const uint32_t count = TopsOfWarp(wanted) * kComputeWarps;
  if (count < wanted) return -INFINITY;
  uint32_t lowest = 0xffffffffu;
#pragma unroll 1
  for (uint32_t i = context.lane(); i < count; i += 32) {
    uint32_t higher = 0;
#pragma unroll 1
    for (uint32_t j = 0; j < count; j += 4) {
      const uint4 others = *reinterpret_cast<const uint4*>(tops + j);
      higher += others.x > tops[i] ? 1 : 0;
      higher += others.y > tops[i] ? 1 : 0;
      higher += others.z > tops[i] ? 1 : 0;
      higher += others.w > tops[i] ? 1 : 0;
    }
    if (higher < wanted) lowest = min(lowest, tops[i]);
  }
  return FloatOfOrder(__reduce_min_sync(0xffffffffu, lowest));
}

// What is listed: 32 members of a group, the first of which is `first` steps on
// in the group's slice.
inline constexpr uint32_t kStep = 32 * kSliceGroups;
inline constexpr uint32_t kGroupBits = 11;
static_assert(kHeldGroups <= 1u << kGroupBits);
static_assert(kMaxSliceRows / kStep < 1u << (16 - kGroupBits));
__device__ inline uint16_t* ListOf(const DeviceContext& context) {
  return reinterpret_cast<uint16_t*>(context.shared->scratch.floats +
                                     kListOffset);
}

// The tokens of a group: the first, and where its slice ends.
struct GroupTokens {
  uint32_t begin, end;
};
__device__ inline GroupTokens TokensOf(const SampleTask& task, uint32_t group,
                                       const DeviceContext& context) {
  const float* begins = context.shared->scratch.floats + kBeginsOffset;
  const uint32_t slice = group / kSliceGroups;
  const uint32_t next = slice + 1 < NumGroups(context) / kSliceGroups
                            ? static_cast<uint32_t>(begins[slice + 1])
                            : task.op->n;
  return {static_cast<uint32_t>(begins[slice]) +
              OffsetInSlice(group % kSliceGroups, 0),
          min(next, task.s.token_limit)};
}

// Lists what may hold values not below `cut`: of each such group of this
// thread, every 32 members.
__device__ inline void ListGroups(const SampleTask& task,
                                  const ThreadGroups& mine, float cut,
                                  const DeviceContext& context) {
  uint32_t* scratch =
      reinterpret_cast<uint32_t*>(context.shared->scratch.floats);
  uint16_t* list = ListOf(context);
  uint32_t hits = 0;
#pragma unroll
  for (uint32_t j = 0; j < kThreadGroups; ++j) {
    if (mine.maxima[j] >= cut) hits |= 1u << j;
  }
#pragma unroll 1
  for (; hits != 0; hits &= hits - 1) {
    const uint32_t group =
        FirstGroup(context) +
        (static_cast<uint32_t>(__ffs(hits)) - 1) * kComputeThreads;
    const GroupTokens tokens = TokensOf(task, group, context);
    const uint32_t count = tokens.begin < tokens.end
                               ? (tokens.end - tokens.begin + kStep - 1) / kStep
                               : 0;
    const uint32_t at = atomicAdd(scratch + kListedOffset, count);
    for (uint32_t k = 0; k < count && at + k < kMaxListed; ++k) {
      list[at + k] = static_cast<uint16_t>(group | k << kGroupBits);
    }
  }
}

// Adds the values not below `cut`, and above -inf, to `sorted`. False if they
// are too many, or their groups are. REQUIRES: the list is empty.
__device__ inline bool Collect(const SampleTask& task, const ThreadGroups& mine,
                               float cut, SortedValues& sorted,
                               const DeviceContext& context) {
  constexpr uint32_t kAtOnce = 8;
  cut = fmaxf(cut, -FLT_MAX);
  ListGroups(task, mine, cut, context);
  // The list is there before it is read.
  context.Barrier();
  const uint32_t* scratch =
      reinterpret_cast<const uint32_t*>(context.shared->scratch.floats);
  const uint16_t* list = ListOf(context);
  const uint32_t listed = scratch[kListedOffset];
  if (listed > kMaxListed) return false;
  const uint32_t* logits = static_cast<const uint32_t*>(task.at->logits);
  const uint32_t offset = OffsetInSlice(0, context.lane());
  // This lane's token of an item; past the end of its slice if there is none.
  const auto token_of = [&](uint32_t i, uint32_t& end) {
    const uint32_t item = list[i];
    const GroupTokens group =
        TokensOf(task, item & ((1u << kGroupBits) - 1), context);
    end = group.end;
    return group.begin + (item >> kGroupBits) * kStep + offset;
  };
#pragma unroll 1
  for (uint32_t base = context.warp(); base < listed;
       base += kAtOnce * kComputeWarps) {
    uint32_t tokens[kAtOnce];
    float values[kAtOnce];
    bool has[kAtOnce];
#pragma unroll
    for (uint32_t j = 0; j < kAtOnce; ++j) {
      const uint32_t i = base + j * kComputeWarps;
      uint32_t end;
      const uint32_t token = token_of(min(i, listed - 1), end);
      // Where there is none, the first logit: no load hangs on a condition.
      has[j] = i < listed && token < end;
      tokens[j] = has[j] ? token : 0;
      values[j] = isa::FloatOfBits(ptx::LoadRelaxedGpu(logits + tokens[j]));
    }
#pragma unroll
    for (uint32_t j = 0; j < kAtOnce; ++j) {
      if (!has[j]) values[j] = -INFINITY;
    }
    if (task.s.Penalizes()) {
      uint32_t seen[kAtOnce];
#pragma unroll
      for (uint32_t j = 0; j < kAtOnce; ++j) {
        seen[j] = task.Seen(tokens[j]);
      }
#pragma unroll 1
      for (uint32_t j = 0; j < kAtOnce; ++j) {
        const float value = ColdPenalized(task.s, values[0], seen[0]);
#pragma unroll
        for (uint32_t i = 1; i < kAtOnce; ++i) {
          values[i - 1] = values[i];
          seen[i - 1] = seen[i];
        }
        values[kAtOnce - 1] = value;
      }
    }
    uint32_t hits = 0;
#pragma unroll
    for (uint32_t j = 0; j < kAtOnce; ++j) {
      if (values[j] >= cut) hits |= 1u << j;
    }
#pragma unroll 1
    for (; hits != 0; hits &= hits - 1) {
      const uint32_t which = static_cast<uint32_t>(__ffs(hits)) - 1;
      float value = values[0];
#pragma unroll
      for (uint32_t j = 1; j < kAtOnce; ++j) {
        if (which == j) value = values[j];
      }
      uint32_t end;
      sorted.Add(value, token_of(base + which * kComputeWarps, end));
    }
  }
  // All have added before the sum and the values are read.
  context.Barrier();
  const uint32_t added = *sorted.added;
  sorted.count = min(added, kMaxSorted);
  return added <= kMaxSorted;
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_GATHER_CUH_
