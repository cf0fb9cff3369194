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

// What decides beside the candidates, in every lane: the host's alone to write,
// so asked for before they are there. (Read after them, one after the other, it
// took a microsecond of a token.)
struct Turn {
  int64_t next;  // the position that gets a token
  bool room;     // there is one
  uint32_t num_eos;
  int32_t prompt_tokens;
  int32_t end;
  int32_t given;  // the prompt's token there, if it has one
  int32_t eos;    // of the ids that end the text the lane's; -1: none
};
__device__ inline Turn AskTurn(const AdvanceAddresses& at,
                               const DeviceContext& context) {
  const auto& dims = context.slot()->dims;
  const auto* run = static_cast<const int32_t*>(at.run);
  Turn turn;
  turn.next = context.position() + 1;
  turn.room = turn.next < static_cast<int64_t>(dims[AdvanceIndex::tokens].x);
  turn.num_eos = dims[AdvanceIndex::eos].x;
  turn.prompt_tokens = run[0];
  turn.end = run[1];
  turn.given =
      turn.room ? static_cast<const int32_t*>(at.tokens)[turn.next] : 0;
  turn.eos = context.lane() < turn.num_eos
                 ? static_cast<const int32_t*>(at.eos)[context.lane()]
                 : -1;
  return turn;
}

// Whether the token is one that ends the text. Whole warp.
__device__ inline bool IsEos(const Turn& turn, const int32_t* eos,
                             int32_t token, const DeviceContext& context) {
  bool is = turn.eos == token;
  for (uint32_t i = 32 + context.lane(); i < turn.num_eos; i += 32) {
    is |= eos[i] == token;
  }
  return __any_sync(0xffffffffu, is);
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
  const Turn turn = AskTurn(at, context);
  const Best best = BestCandidate(op, at, context);
  const bool generated = turn.next >= turn.prompt_tokens;
  const int32_t token = generated ? static_cast<int32_t>(best.row) : turn.given;
  const bool ended =
      IsEos(turn, static_cast<const int32_t*>(at.eos), token, context) &&
      generated;
  // All lanes have read the prompt's token, or what is written in its place.
  __syncwarp();
  // What never came must not be shown as a token.
  if (context.thread() != 0 || context.faulty()) return;
  if (!turn.room) {
    context.Raise(FaultKind::kPastTokens, op.tokens, turn.next,
                  context.slot()->dims[AdvanceIndex::tokens].x);
    return;
  }
  if (isnan(best.score)) {
    context.Raise(FaultKind::kNanScore, op.best, context.position(), 0);
    return;
  }
  if (generated) static_cast<int32_t*>(at.tokens)[turn.next] = token;
  *static_cast<int32_t*>(at.stop) = (turn.next >= turn.end || ended) ? 1 : 0;
  ptx::StoreRelaxedSystem(&context.shared->token_ring[context.pass()],
                          RingWord(token, generated));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ADVANCE_CUH_
