// gemv: a range of rows of a packed matrix times an activation vector.
//
// The weights come first: as many stages as registers hold (a chunk,
// ops/gemv_stages.cuh) are taken before the vector is there. Then every warp
// reads its columns of the vector, multiplies, and leaves its sums in shared
// memory. A block barrier later the first warps add them up in a fixed order,
// finish the rows and publish them, while the others go on to the next
// instruction.
#ifndef MKVM_OPS_GEMV_CUH_
#define MKVM_OPS_GEMV_CUH_

#include <type_traits>

#include "ops/device_context.cuh"
#include "ops/gemv_stages.cuh"
#include "ops/ptx/copy.cuh"
#include "ops/reduce.cuh"
#include "ops/silu_mul.cuh"

namespace mkvm::ops {

// The end of a gemv, by the first warps: sums over the warps, the norm's scale,
// the epilogue.
class GemvFinish {
 public:
  __device__ __forceinline__ GemvFinish(const isa::GemvOperands& op,
                                        const GemvAddresses& at,
                                        DeviceContext& context)
      : op_(op), at_(at), context_(context) {}

  // Asks for the first group's residual, which may be too early.
  __device__ __forceinline__ void AskResidual() {
    if (at_.r != nullptr && context_.thread() < min(op_.rows, kFinishThreads)) {
      early_ = ptx::LoadRelaxedGpu(static_cast<const uint32_t*>(at_.r) +
                                   op_.row_begin + context_.thread());
    }
  }

  // This thread's row of the group that begins at panel `p0` and has `panels`,
  // and what its end needs: while others are still summing.
  __device__ __forceinline__ void Prepare(uint32_t p0, uint32_t panels) {
    panel_ = context_.thread() / isa::kPanelRows;
    const uint32_t local = p0 * isa::kPanelRows + context_.thread();
    mine_ = panel_ < panels && local < op_.rows;
    row_ = op_.row_begin + local;
    quad_ = panel_ < panels && local / 4 * 4 + 3 < op_.rows &&
            op_.row_begin % 4 == 0;
    epilogue_ = op_.epilogue;
    y_ = at_.y == nullptr ? nullptr : static_cast<uint32_t*>(at_.y) + row_;
    y_is_f24_ = context_.IsF24(GemvIndex::y);
    norm_ = at_.g != nullptr;
    first_ = p0 == 0;
    if (first_) {
      mean_ = context_.slot->gemv.mean;
      eps_ = op_.eps;
    } else {
      early_ = 0;
    }
  }

  // The row, after all sums are there. Threads below kFinishThreads.
  __device__ __forceinline__ void Finish(uint32_t copy) {
    // One way for each epilogue, without branches: the others wait for this.
    if (epilogue_ == isa::Epilogue::kSiluMul) {
      FinishAs<isa::Epilogue::kSiluMul>(copy);
    } else if (epilogue_ == isa::Epilogue::kAdd) {
      FinishAs<isa::Epilogue::kAdd>(copy);
    } else if (epilogue_ == isa::Epilogue::kStore) {
      FinishAs<isa::Epilogue::kStore>(copy);
    } else {
      FinishAs<isa::Epilogue::kArgmax>(copy);
    }
  }

  __device__ const Best& best() const { return best_; }

 private:
  template <isa::Epilogue kEpilogue>
  __device__ __forceinline__ void FinishAs(uint32_t copy) {
    constexpr bool kDoubled = kEpilogue == isa::Epilogue::kSiluMul;
    const uint32_t r = context_.thread() % isa::kPanelRows;
    // Threads without a row go along, for the shuffles.
    const uint32_t panel = min(panel_, kGroupSlots / (kDoubled ? 2 : 1) - 1);
    const uint32_t slot = kDoubled ? 2 * panel : panel;
    float value = Sum(copy, slot, r);
    float up = 0;
    if constexpr (kDoubled) up = Sum(copy, slot + 1, r);
    const float scale = Scale(copy);
    if (first_) scale_ = norm_ ? scale : 1.0f;
    value *= scale_;
    if constexpr (kDoubled) value = Silu(value) * (up * scale_);
    if constexpr (kEpilogue == isa::Epilogue::kAdd) {
      if (mine_) value += Residual();
    }
    if constexpr (kEpilogue == isa::Epilogue::kArgmax) {
      if (mine_) best_ = BetterOf(best_, {value, row_});
      if (y_ == nullptr) return;
    }
    if (y_is_f24_) {
      Publish(value);
    } else if (mine_) {
      *reinterpret_cast<float*>(y_) = value;
    }
  }

  // Four rows in one store, as far as there are four: words on their own take
  // longer to arrive.
  __device__ __forceinline__ void Publish(float value) const {
    const uint32_t word = isa::F24BitsOfFloat(value) | context_.tag;
    uint4 quad = {word, 0, 0, 0};
    quad.y = __shfl_down_sync(0xffffffffu, word, 1);
    quad.z = __shfl_down_sync(0xffffffffu, word, 2);
    quad.w = __shfl_down_sync(0xffffffffu, word, 3);
    if (quad_ && context_.lane() % 4 == 0) ptx::StoreRelaxedGpu4(y_, quad);
    if (mine_ && !quad_) ptx::StoreRelaxedGpu(y_, word);
  }

  // The norm's scale, from the warps' sums of squares.
  __device__ __forceinline__ float Scale(uint32_t copy) const {
    const auto* squares =
        reinterpret_cast<const float4*>(context_.shared->squares[copy]);
    static_assert(kComputeWarps == 8);
    const float4 a = squares[0], b = squares[1];
    const float total =
        ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
    return ptx::ReciprocalSqrtApproximate(total * mean_ + eps_);
  }

  // A row's sum over the warps; upper and lower halves apart.
  __device__ __forceinline__ float Sum(uint32_t copy, uint32_t slot,
                                       uint32_t r) const {
    float2 part[kComputeWarps];
#pragma unroll
    for (uint32_t w = 0; w < kComputeWarps; ++w) {
      part[w] = *reinterpret_cast<const float2*>(
          context_.shared->partials[copy][w][slot][r]);
    }
    static_assert(kComputeWarps == 8);
    const auto tree = [](float a, float b, float c, float d, float e, float f,
                         float g, float h) {
      return ((a + b) + (c + d)) + ((e + f) + (g + h));
    };
    return tree(part[0].x, part[1].x, part[2].x, part[3].x, part[4].x,
                part[5].x, part[6].x, part[7].x) +
           tree(part[0].y, part[1].y, part[2].y, part[3].y, part[4].y,
                part[5].y, part[6].y, part[7].y);
  }

  // (An early word with this pass's tag is good whether the operand is polled
  // or not; without one it is read again, which for an unpolled operand is
  // after its wait.)
  __device__ __forceinline__ float Residual() {
    if ((early_ & 0xffu) == context_.tag) return isa::FloatOfF24Bits(early_);
    return context_.Load(at_.r, row_, context_.IsPolled(GemvIndex::r), op_.r);
  }

  const isa::GemvOperands& op_;
  const GemvAddresses& at_;
  DeviceContext& context_;
  uint32_t early_ = 0;
  uint32_t panel_, row_;
  bool mine_, quad_, y_is_f24_, norm_, first_;
  float mean_, eps_;
  isa::Epilogue epilogue_;
  uint32_t* y_;
  float scale_ = 1.0f;
  Best best_ = {-INFINITY, 0xffffffffu};
};

// Gains of four columns: the norm's, or ones.
__device__ __forceinline__ uint2 LoadGains(const void* g, uint32_t column) {
  if (g == nullptr) return make_uint2(0x3f803f80u, 0x3f803f80u);
  return ptx::LoadConstant2(reinterpret_cast<const uint32_t*>(
      static_cast<const uint16_t*>(g) + column));
}

// One chunk of a group, kSlots panels (of both matrices) of kSlabs slabs from
// `first_slab` on: their sums go to, or with later chunks are added to, the
// partial sums. With `load`, the vector's slabs are not in scratch yet; with a
// norm, returns the sum of the warp's columns' squares. With kWhole all slabs
// are whole ones.
template <uint32_t kSlabs, uint32_t kSlots, bool kWhole>
__device__ __forceinline__ float SumChunk(const isa::GemvOperands& op,
                                          const GemvAddresses& at,
                                          const GemvShape& shape,
                                          uint32_t first_slab, bool load,
                                          uint32_t copy,
                                          DeviceContext& context) {
  constexpr uint32_t kStages = kSlabs * kSlots;
  static_assert(kSlabs <= kChunkSlabs && kStages <= kStagesAtOnce);
  const uint32_t column = LaneColumn(first_slab, context);
  const bool norm = load && at.g != nullptr;
  const auto there = [&](uint32_t s, uint32_t e) {
    return kWhole || column + s * isa::kStageColumns + e < op.k;
  };
  // The vector is asked for first: by the time that the weights are in
  // registers it is often there.
  const uint32_t tag = context.tag;
  const uint32_t* x = static_cast<const uint32_t*>(at.x) + column;
  uint32_t words[4 * kSlabs];
  const auto ask = [&](uint32_t s) {
    uint4 v = make_uint4(tag, tag, tag, tag);
    if (there(s, 0)) v = ptx::LoadRelaxedGpu4(x + s * isa::kStageColumns);
    words[4 * s] = v.x;
    words[4 * s + 1] = there(s, 1) ? v.y : tag;
    words[4 * s + 2] = there(s, 2) ? v.z : tag;
    words[4 * s + 3] = there(s, 3) ? v.w : tag;
  };
  const bool polled = context.IsPolled(GemvIndex::x);
  uint2 gains[kSlabs];
#pragma unroll
  for (uint32_t i = 0; i < 4 * kSlabs; ++i) words[i] = tag ^ 1;
  if (load) {
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) ask(s);
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) {
      // Buffers are padded, so that a load of the last elements is in bounds.
      gains[s] = LoadGains(norm && there(s, 0) ? at.g : nullptr,
                           column + s * isa::kStageColumns);
    }
  }
  const StageTiles<kStages> tiles = TakeStages<kStages, kWhole>(
      context,
      [&](uint32_t i) { return SlabTiles(shape, first_slab + i % kSlabs); });
  float squares = 0;
  if (load) {
    // What is there already is not asked for again: the fewer polls, the sooner
    // the others' words arrive. (Unpolled words are whatever they are.)
    context.LoadTogether(words, polled, op.x, [&](uint32_t(&to)[4 * kSlabs]) {
#pragma unroll
      for (uint32_t s = 0; s < kSlabs; ++s) {
        const uint32_t wrong = (to[4 * s] ^ tag) | (to[4 * s + 1] ^ tag) |
                               (to[4 * s + 2] ^ tag) | (to[4 * s + 3] ^ tag);
        if ((wrong & 0xffu) != 0 && polled) ask(s);
      }
    });
#pragma unroll
    for (uint32_t s = 0; s < kSlabs; ++s) {
      squares += WriteFragments(first_slab + s,
                                make_uint4(words[4 * s], words[4 * s + 1],
                                           words[4 * s + 2], words[4 * s + 3]),
                                gains[s], context);
    }
    // The warp's fragments are written before any lane reads them.
    __syncwarp();
  }
  Fragments fragments[kSlabs];
#pragma unroll
  for (uint32_t s = 0; s < kSlabs; ++s) {
    fragments[s] = ReadFragments(first_slab + s, context);
  }
  const StageSums<kStages> sums = MultiplyStages(
      tiles,
      [&](uint32_t i) -> const Fragments& { return fragments[i % kSlabs]; });
  if (norm) squares = WarpSum(squares);
  if (context.lane() % 4 < 2) {
#pragma unroll
    for (uint32_t p = 0; p < kSlots; ++p) {
      // Slab after slab, so that the rounding hangs on no chunk's size.
      float* partial = PartialOf(copy, p, context);
      float sum = sums.sum[p * kSlabs];
      if (first_slab != 0) sum = *partial + sum;
#pragma unroll
      for (uint32_t s = 1; s < kSlabs; ++s) sum += sums.sum[p * kSlabs + s];
      *partial = sum;
    }
  }
  return squares;
}

// The shapes of chunks, F(slabs, slots).
#define MKVM_CHUNK_SHAPES(F) \
  F(1, 6)                    \
  F(1, 4)                    \
  F(2, 2)                    \
  F(3, 2) F(1, 5) F(1, 3) F(2, 1) F(3, 1) F(2, 3) F(1, 2) F(1, 1)

template <bool kWhole>
__device__ __forceinline__ void GemvOf(const isa::GemvOperands& op,
                                       const GemvAddresses& at,
                                       DeviceContext& context) {
  const GemvShape& shape = context.slot->gemv;
  GemvFinish finish(op, at, context);
  finish.AskResidual();
  // Scratch keeps what it can hold whole; else every group reads the vector.
  const bool keeps = shape.slabs <= kScratchSlabs;
  const bool argmax = op.epilogue == isa::Epilogue::kArgmax;
  uint32_t p0 = 0;
  while (true) {
    const uint32_t copy = context.NextPartials();
    const uint32_t panels = shape.GroupPanels(p0);
    const uint32_t slots = panels * shape.matrices;
    finish.Prepare(p0, panels);
    float squares = 0;
#pragma unroll 1
    for (uint32_t c0 = 0; c0 < shape.slabs; c0 += shape.chunk) {
      const bool load = p0 == 0 || !keeps;
      const uint32_t code = shape.ChunkSlabs(c0) * 8 + slots;
      // Not a switch: its jump table is in memory.
#define MKVM_CHUNK(s, p)                                                       \
  if (code == s * 8 + p) {                                                     \
    squares += SumChunk<s, p, kWhole>(op, at, shape, c0, load, copy, context); \
    continue;                                                                  \
  }
      MKVM_CHUNK_SHAPES(MKVM_CHUNK)
#undef MKVM_CHUNK
    }
    if (p0 == 0 && context.lane() == 0) {
      context.shared->squares[copy][context.warp()] = squares;
    }
    const bool last = p0 + shape.group >= shape.panels;
    // All sums are written before the first warps add them up.
    if (last && !argmax) {
      context.Commit();
    } else {
      context.Barrier();
    }
    if (context.thread() < kFinishThreads) {
      finish.Finish(copy);
    }
    if (last) break;
    p0 += shape.group;
  }
  if (argmax) {
    const Best best = BlockBest(context, finish.best());
    if (context.thread() == 0) {
      context.StoreRanked(at.best, op.slot, best.score, best.row);
    }
  }
}

__device__ __forceinline__ void DeviceGemv(const isa::GemvOperands& op,
                                           const GemvAddresses& at,
                                           DeviceContext& context) {
  GemvOf<true>(op, at, context);
}
// For a k that is not whole slabs.
__device__ __forceinline__ void DeviceAnyGemv(const isa::GemvOperands& op,
                                              const GemvAddresses& at,
                                              DeviceContext& context) {
  GemvOf<false>(op, at, context);
}

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_CUH_
