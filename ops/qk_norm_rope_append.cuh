// qk_norm_rope_append: q of one group normalised and rotated, k and v appended.
#ifndef MKVM_OPS_QK_NORM_ROPE_APPEND_CUH_
#define MKVM_OPS_QK_NORM_ROPE_APPEND_CUH_

#include <type_traits>

#include "ops/device_context.cuh"
#include "ops/kv_cache.cuh"
#include "ops/kv_layout.h"

namespace mkvm::ops {

__device__ inline void DeviceQkNormRopeAppend(
    const isa::QkNormRopeAppendOperands& op,
    const QkNormRopeAppendAddresses& at, DeviceContext& context) {
  const uint32_t capacity =
      context.slot()->dims[QkNormRopeAppendIndex::k_cache].y;
  const uint32_t rope_rows =
      context.slot()->dims[QkNormRopeAppendIndex::rope].x;
  if (!CheckRoom(context, op.k_cache, capacity, op.splits, rope_rows)) return;
  const uint64_t kv_begin = uint64_t{op.kv_head} * op.head_dim;
  const uint64_t q_begin = kv_begin * op.group;
  const QkvHeads in = HeadsOf<QkNormRopeAppendIndex>(op, at, context);
  const SplitPlace place = PlaceOf(context.position(), op.block, op.splits);
  const uint64_t slot =
      ((uint64_t{op.kv_head} * op.splits + place.split) * capacity +
       place.slot) *
      op.head_dim;
  uint16_t* k_slot = static_cast<uint16_t*>(at.k_cache) + slot;
  uint16_t* v_slot = static_cast<uint16_t*>(at.v_cache) + slot;
  const auto run = [&](auto max_dim) {
    NormRopeAppend<max_dim>(
        context, in, true,
        [&](uint32_t head, uint32_t i, float value) {
          context.Store(at.q_out, q_begin + uint64_t{head} * op.head_dim + i,
                        value);
        },
        [&](uint32_t i, uint16_t bits) { k_slot[i] = bits; },
        [&](uint32_t i, uint16_t bits) { v_slot[i] = bits; });
  };
  if (op.head_dim == kPermutedHeadDim) {
    NormRopeAppend128(
        context, in, true, AskHead128(in, true, context),
        [&](uint32_t head, uint32_t i, const float4& value) {
          const uint64_t begin = q_begin + uint64_t{head} * op.head_dim + i;
          context.Store(at.q_out, begin, value.x);
          context.Store(at.q_out, begin + 1, value.y);
          context.Store(at.q_out, begin + 2, value.z);
          context.Store(at.q_out, begin + 3, value.w);
        },
        [&](uint32_t i, uint2 bits) {
          *reinterpret_cast<uint2*>(k_slot + PermutedElement(place.slot, i)) =
              bits;
        },
        [&](uint32_t i, uint2 bits) {
          *reinterpret_cast<uint2*>(v_slot + PermutedElement(place.slot, i)) =
              bits;
        });
  } else if (op.head_dim <= 128) {
    run(std::integral_constant<uint32_t, 128>());
  } else {
    run(std::integral_constant<uint32_t, kMaxHeadDim>());
  }
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_QK_NORM_ROPE_APPEND_CUH_
