// embed: one row of the table, from either layout.
#ifndef MKVM_OPS_EMBED_CUH_
#define MKVM_OPS_EMBED_CUH_

#include "ops/device_context.cuh"
#include "ops/panel.h"

namespace mkvm::ops {

__device__ inline void DeviceEmbed(const isa::EmbedOperands& op,
                                   const EmbedAddresses& at,
                                   DeviceContext& context) {
  const int64_t positions = context.slot()->dims[EmbedIndex::tokens].x;
  const uint64_t rows = context.slot()->dims[EmbedIndex::table].x;
  const uint64_t columns = context.slot()->dims[EmbedIndex::table].y;
  const bool panels = context.IsPanels(EmbedIndex::table);
  if (context.position() >= positions) {
    if (context.thread() == 0) {
      context.Raise(FaultKind::kPastTokens, op.tokens, context.position(),
                    positions);
    }
    return;
  }
  const int32_t token =
      static_cast<const volatile int32_t*>(at.tokens)[context.position()];
  if (token < 0 || static_cast<uint64_t>(token) >= rows) {
    if (context.thread() == 0) {
      context.Raise(FaultKind::kBadToken, op.table,
                    static_cast<uint32_t>(token), rows);
    }
    return;
  }
  const uint16_t* weights = static_cast<const uint16_t*>(at.table);
  for (uint32_t i = context.thread(); i < op.count; i += kComputeThreads) {
    const uint64_t column = op.begin + i;
    const uint64_t index =
        panels ? PackedIndex(token, column, columns) : token * columns + column;
    context.Store(at.y, column, isa::FloatOfBf16Bits(weights[index]));
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_EMBED_CUH_
