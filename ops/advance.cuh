// advance: chooses the next token, says whether to stop, tells the host.
#ifndef MKVM_OPS_ADVANCE_CUH_
#define MKVM_OPS_ADVANCE_CUH_

#include "ops/device_context.cuh"
#include "ops/fault.h"
#include "ops/reduce.cuh"

namespace mkvm::ops {

// A word of the token ring: the token and whether it was generated (bit 0) or
// taken from the prompt (bit 1). Never 0, which is what the host waits to see
// change.
__device__ inline uint64_t RingWord(int32_t token, bool generated) {
  return static_cast<uint64_t>(static_cast<uint32_t>(token)) << 32 |
         (generated ? 1u : 2u);
}

__device__ inline bool IsEos(const int32_t* eos, uint64_t count,
                             int32_t token) {
  for (uint64_t i = 0; i < count; ++i) {
    if (eos[i] == token) return true;
  }
  return false;
}

// The first of the candidates in the order of argmax, by one warp, in every
// lane.
__device__ inline Best BestCandidate(const isa::AdvanceOperands& op,
                                     const AdvanceAddresses& at,
                                     DeviceContext& context) {
  constexpr uint32_t kAtOnce = 4;
  const uint32_t n = context.slot()->dims[AdvanceIndex::best].x;
  const auto* candidates = static_cast<const uint64_t*>(at.best);
  const bool polled = context.IsPolled(AdvanceIndex::best);
  Best best = {-INFINITY, 0xffffffffu};
  // As often in every lane: the lanes poll together.
  for (uint32_t first = context.lane(); first < n + context.lane();
       first += 32 * kAtOnce) {
    // The upper halves, which hold the tags, are what is polled.
    uint32_t upper[kAtOnce] = {}, lower[kAtOnce] = {};
    context.LoadTogether(upper, polled, op.best, [&](uint32_t(&to)[kAtOnce]) {
#pragma unroll
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        to[i] = context.tag;
        if (first + 32 * i >= n) continue;
        const uint64_t word = ptx::LoadRelaxedGpu(candidates + first + 32 * i);
        to[i] = static_cast<uint32_t>(word >> 32);
        lower[i] = static_cast<uint32_t>(word);
      }
    });
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      if (first + 32 * i >= n) continue;
      const uint64_t word = uint64_t{upper[i]} << 32 | lower[i];
      best =
          BetterOf(best, {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)});
    }
  }
  return WarpBest(best);
}

__device__ inline void DeviceAdvance(const isa::AdvanceOperands& op,
                                     const AdvanceAddresses& at,
                                     DeviceContext& context) {
  if (context.warp() != 0) return;
  const Best best = BestCandidate(op, at, context);
  // What never came must not be shown as a token.
  if (context.thread() != 0 || context.faulty()) return;
  const int32_t* run = static_cast<const int32_t*>(at.run);
  int32_t* tokens = static_cast<int32_t*>(at.tokens);
  const int64_t next = context.position() + 1;
  const uint32_t capacity = context.slot()->dims[AdvanceIndex::tokens].x;
  if (next >= static_cast<int64_t>(capacity)) {
    context.Raise(FaultKind::kPastTokens, op.tokens, next, capacity);
    return;
  }
  const bool generated = next >= run[0];
  if (isnan(best.score)) {
    context.Raise(FaultKind::kNanScore, op.best, context.position(), 0);
    return;
  }
  if (generated) tokens[next] = static_cast<int32_t>(best.row);
  const int32_t token = tokens[next];
  const bool ended =
      generated && IsEos(static_cast<const int32_t*>(at.eos),
                         context.slot()->dims[AdvanceIndex::eos].x, token);
  *static_cast<int32_t*>(at.stop) = (next >= run[1] || ended) ? 1 : 0;
  ptx::StoreRelaxedSystem(&context.shared->token_ring[context.pass()],
                          RingWord(token, generated));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ADVANCE_CUH_
