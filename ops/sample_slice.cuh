// sample_slice: what the choice of a token needs to know of a slice of the
// logits.
//
// A body that runs once per token has its instructions come from afar, and
// every trip to memory and every barrier counts: a warp does a group by itself,
// its loads are one trip, and what few options need is a rolled loop aside.
#ifndef MKVM_OPS_SAMPLE_SLICE_CUH_
#define MKVM_OPS_SAMPLE_SLICE_CUH_

#include "ops/cold_reduce.cuh"
#include "ops/device_context.cuh"
#include "ops/ptx/math.cuh"
#include "ops/reduce.cuh"
#include "ops/sampling.h"

namespace mkvm::ops {

static_assert(kSliceGroups == kComputeWarps);
// A lane's values of its warp's group: members lane, lane + 32, ...
inline constexpr uint32_t kLaneValues = kMaxGroupRows / 32;
inline constexpr uint32_t kLaneStride = 32 * kSliceGroups;  // between them
static_assert(kGroupRun <= 32 && 32 % kGroupRun == 0);

struct LaneValues {
  float values[kLaneValues];  // -inf past the slice's end
  uint32_t offset;            // of the first, in the slice
  uint32_t count;             // how many are not past the end

  __device__ float highest() const {
    float highest = values[0];
#pragma unroll
    for (uint32_t j = 1; j < kLaneValues; ++j) {
      highest = ptx::MaxOrNan(highest, values[j]);
    }
    return highest;
  }
  // Which is the first that is the highest.
  __device__ uint32_t Where(float highest) const {
    uint32_t where = 0;
#pragma unroll
    for (uint32_t j = kLaneValues; j-- > 0;) {
      if (values[j] == highest) where = j;
    }
    if (isnan(highest)) {
#pragma unroll
      for (uint32_t j = kLaneValues; j-- > 0;) {
        if (isnan(values[j])) where = j;
      }
    }
    return where;
  }
  // A loop over all of them takes values[0] and rotates: an array in registers
  // has no index that is not constant.
  __device__ void Rotate() {
    const float first = values[0];
#pragma unroll
    for (uint32_t j = 1; j < kLaneValues; ++j) values[j - 1] = values[j];
    values[kLaneValues - 1] = first;
  }
};

// The options and the logits in one trip to memory.
__device__ inline LaneValues LoadLane(const isa::SampleSliceOperands& op,
                                      const SampleSliceAddresses& at,
                                      const DeviceContext& context,
                                      SamplingValues& s) {
  LaneValues lane;
  lane.offset = OffsetInSlice(context.warp(), context.lane());
  lane.count = lane.offset < op.count
                   ? (op.count - lane.offset + kLaneStride - 1) / kLaneStride
                   : 0;
  const uint32_t* logits = static_cast<const uint32_t*>(at.logits) + op.begin;
  // Past the end the last one: no load hangs on a condition.
#pragma unroll
  for (uint32_t j = 0; j < kLaneValues; ++j) {
    const uint32_t i = min(lane.offset + j * kLaneStride, op.count - 1);
    lane.values[j] = isa::FloatOfBits(ptx::LoadRelaxedGpu(logits + i));
  }
  s = LoadOptions(at.numbers, at.ints);
  if (s.Penalizes()) {
    const uint32_t* counts = static_cast<const uint32_t*>(at.counts) + op.begin;
    uint32_t seen[kLaneValues];
#pragma unroll
    for (uint32_t j = 0; j < kLaneValues; ++j) {
      const uint32_t i = min(lane.offset + j * kLaneStride, op.count - 1);
      seen[j] = ptx::LoadRelaxedGpu(counts + i);
    }
#pragma unroll 1
    for (uint32_t j = 0; j < kLaneValues; ++j) {
      lane.values[0] = ColdPenalized(s, lane.values[0], seen[0]);
      lane.Rotate();
#pragma unroll
      for (uint32_t i = 1; i < kLaneValues; ++i) seen[i - 1] = seen[i];
    }
  }
  const uint32_t end =
      s.token_limit > op.begin ? min(op.count, s.token_limit - op.begin) : 0;
#pragma unroll
  for (uint32_t j = 0; j < kLaneValues; ++j) {
    if (lane.offset + j * kLaneStride >= end) lane.values[j] = -INFINITY;
  }
  return lane;
}

__device__ inline void DeviceSampleSlice(const isa::SampleSliceOperands& op,
                                         const SampleSliceAddresses& at,
                                         DeviceContext& context) {
  SamplingValues s;
  LaneValues lane = LoadLane(op, at, context, s);
  const uint32_t first = op.begin + lane.offset;
  Best best = {lane.highest(), isa::kMaxRankedIndex};
  const float max = WarpHighest(best.score);
  const bool draws = s.temperature > 0 && !s.Filters();
  if (lane.count > 0 && !draws) {
    best.row = first + lane.Where(best.score) * kLaneStride;
  }
  float mass = 0;
  float tempered = 0;
  if (draws || s.Weighs()) {
    if (draws) best = {-INFINITY, isa::kMaxRankedIndex};
#pragma unroll 1
    for (uint32_t j = 0; j < lane.count; ++j) {
      const float value = lane.values[0];
      const uint32_t token = first + j * kLaneStride;
      if (draws) {
        best = BetterOf(
            best, {ColdDrawScore(s, value, context.position(), token), token});
      }
      if (s.Weighs()) {
        mass += RelativeMass(value, max);
        tempered += TemperedMass(s, value, max);
      }
      lane.Rotate();
    }
    mass = WarpSum(mass);
    tempered = WarpSum(tempered);
  }
  best = WarpBest(best);
  if (context.lane() != 0) return;
  const uint32_t group = op.slice * kSliceGroups + context.warp();
  context.StoreRanked(at.best, group, best.score, best.row);
  ptx::StoreRelaxedGpu4(
      static_cast<uint32_t*>(at.groups) + uint64_t{group} * kGroupNumbers,
      make_uint4(isa::BitsOfFloat(max), isa::BitsOfFloat(mass),
                 isa::BitsOfFloat(tempered),
                 isa::BitsOfFloat(static_cast<float>(op.begin))));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_SAMPLE_SLICE_CUH_
