// advance: chooses the next token, says whether to stop, tells the host.
#ifndef MKVM_OPS_ADVANCE_CUH_
#define MKVM_OPS_ADVANCE_CUH_

#include "ops/device_context.cuh"
#include "ops/fault.h"

namespace mkvm::ops {

// A word of the token ring: the token and whether it was generated (bit 0) or
// taken from the prompt (bit 1). Never 0, which is what the host waits to see
// change.
__device__ inline uint64_t RingWord(int32_t token, bool generated) {
  return static_cast<uint64_t>(static_cast<uint32_t>(token)) << 32 |
         (generated ? 1u : 2u);
}

// The tokens that end a text. The first few are read when it is made.
class EosTokens {
 public:
  __device__ EosTokens(const int32_t* tokens, uint32_t count)
      : tokens_(tokens), count_(count) {
#pragma unroll
    for (uint32_t i = 0; i < kEarly; ++i)
      early_[i] = i < count ? tokens[i] : -1;
  }
  __device__ bool Contain(int32_t token) const {
    bool found = false;
#pragma unroll
    for (uint32_t i = 0; i < kEarly; ++i) {
      found |= i < count_ && early_[i] == token;
    }
    for (uint32_t i = kEarly; i < count_; ++i) found |= tokens_[i] == token;
    return found;
  }

 private:
  static constexpr uint32_t kEarly = 2;
  const int32_t* tokens_;
  uint32_t count_;
  int32_t early_[kEarly];
};

__device__ inline void DeviceAdvance(const isa::AdvanceOperands& op,
                                     const AdvanceAddresses& at,
                                     DeviceContext& context) {
  if (context.thread() != 0) return;
  const int32_t* run = static_cast<const int32_t*>(at.run);
  int32_t* tokens = static_cast<int32_t*>(at.tokens);
  const int64_t next = context.position() + 1;
  const uint32_t capacity = context.slot()->dims[AdvanceIndex::tokens].x;
  const bool room = next < static_cast<int64_t>(capacity);
  // What doesn't hang on the choice is asked for before it, since everybody
  // waits for this instruction.
  const int32_t first = run[0], last = run[1];
  const int32_t given = room ? tokens[next] : 0;
  const EosTokens eos(static_cast<const int32_t*>(at.eos),
                      context.slot()->dims[AdvanceIndex::eos].x);
  const uint64_t best =
      context.LoadRanked(static_cast<const uint64_t*>(at.best),
                         context.IsPolled(AdvanceIndex::best), op.best);
  if (!room) {
    context.Raise(FaultKind::kPastTokens, op.tokens, next, capacity);
    return;
  }
  const bool generated = next >= first;
  if (isnan(isa::ScoreOfRanked(best))) {
    context.Raise(FaultKind::kNanScore, op.best, context.position(), 0);
    return;
  }
  const int32_t token =
      generated ? static_cast<int32_t>(isa::IndexOfRanked(best)) : given;
  if (generated) tokens[next] = token;
  const bool ended = generated && eos.Contain(token);
  *static_cast<int32_t*>(at.stop) = (next >= last || ended) ? 1 : 0;
  ptx::StoreRelaxedSystem(&context.shared->token_ring[context.pass()],
                          RingWord(token, generated));
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_ADVANCE_CUH_
