// argmax: the best of the workers' bests.
#ifndef MKVM_OPS_ARGMAX_CUH_
#define MKVM_OPS_ARGMAX_CUH_

#include "ops/device_context.cuh"
#include "ops/reduce.cuh"

namespace mkvm::ops {

__device__ inline void DeviceArgmax(const isa::ArgmaxOperands& op,
                                    const ArgmaxAddresses& at,
                                    DeviceContext& context) {
  const bool polled = context.IsPolled(ArgmaxIndex::x);
  const uint64_t* x = static_cast<const uint64_t*>(at.x);
  Best best = {-INFINITY, 0xffffffffu};
  for (uint32_t i = context.thread(); i < op.n; i += kComputeThreads) {
    const uint64_t word = context.LoadRanked(x + i, polled, op.x);
    best = BetterOf(best, {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)});
  }
  best = BlockBest(context, best);
  if (context.thread() == 0) {
    context.StoreRanked(at.y, 0, best.score, best.row);
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ARGMAX_CUH_
