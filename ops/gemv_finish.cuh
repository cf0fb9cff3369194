// The end of a gemv, by warps of its own: the compute warps leave their sums in
// shared memory and go on.
#ifndef MKVM_OPS_GEMV_FINISH_CUH_
#define MKVM_OPS_GEMV_FINISH_CUH_

#include "ops/device_context.cuh"
#include "ops/gemv_stages.cuh"
#include "ops/ptx/registers.cuh"
#include "ops/reduce.cuh"
#include "ops/silu_mul.cuh"

namespace mkvm::ops {

// The end of a gemv, by the finishing warps: sums over the warps, the norm's
// scale, the epilogue. context.thread() counts the finishing threads.
class GemvFinish {
 public:
  __device__ __forceinline__ GemvFinish(const isa::GemvOperands& op,
                                        const GemvAddresses& at,
                                        DeviceContext& context)
      : op_(op), at_(at), context_(context) {}

  // Asks for the first group's residual, which may be too early.
  __device__ __forceinline__ void AskResidual() {
    if (at_.r != nullptr && context_.thread() < min(op_.rows, kFinishThreads)) {
      early_ = ptx::LoadRelaxedGpu(
          static_cast<const uint32_t*>(at_.r) +
          ActivationWord(op_.row_begin + context_.thread()));
    }
  }

  // This thread's row of the group that begins at panel `p0` and has `panels`,
  // and what its end needs: while others are still summing.
  __device__ __forceinline__ void Prepare(uint32_t p0, uint32_t panels,
                                          uint32_t copy) {
    panel_ = context_.thread() / isa::kPanelRows;
    const uint32_t local = p0 * isa::kPanelRows + context_.thread();
    mine_ = panel_ < panels && local < op_.rows;
    row_ = op_.row_begin + local;
    epilogue_ = op_.epilogue;
    y_is_f24_ = context_.IsF24(GemvIndex::y);
    y_ = at_.y == nullptr ? nullptr
                          : static_cast<uint32_t*>(at_.y) +
                                (y_is_f24_ ? ActivationWord(row_) : row_);
    norm_ = at_.g != nullptr;
    first_ = p0 == 0;
    if (first_) {
      mean_ = context_.slot()->gemv.mean;
      eps_ = op_.eps;
    } else {
      early_ = 0;
    }
    const bool add = epilogue_ == isa::Epilogue::kAdd;
    const bool doubled = epilogue_ == isa::Epilogue::kSiluMul;
    // (Threads without a row go along with the last panel, whose sums are
    // there: beyond it may be what the compute warps are writing.)
    const uint32_t slot = min(panel_, panels - 1) * (doubled ? 2 : 1);
    sums_ = ptx::Kept(
        PartialsBegin(context_.slot()->gemv.chunk, copy) * sizeof(float) +
        (slot * isa::kPanelRows + context_.thread() % isa::kPanelRows) *
            sizeof(float2));
    more_ = __any_sync(0xffffffffu,
                       (epilogue_ != isa::Epilogue::kStore && !add) ||
                           (add && mine_ && (early_ & 0xffu) != context_.tag) ||
                           !y_is_f24_);
  }

  // The row, after all sums are there.
  __device__ __forceinline__ void Finish(uint32_t copy) {
    float value = Sum(0);
    const float scale = Scale(copy);
    if (first_) scale_ = norm_ ? scale : 1.0f;
    value *= scale_;
    if (more_) {
      if (epilogue_ == isa::Epilogue::kSiluMul) {
        value = Silu(value) * (Sum(1) * scale_);
      } else if (epilogue_ == isa::Epilogue::kAdd) {
        if (mine_) value += Residual();
      } else if (epilogue_ == isa::Epilogue::kArgmax) {
        if (mine_) best_ = BetterOf(best_, {value, row_});
        if (y_ == nullptr) return;
      }
      if (!y_is_f24_) {
        if (mine_) *reinterpret_cast<float*>(y_) = value;
        return;
      }
    } else {
      const float sum = value + isa::FloatOfF24Bits(early_);
      value = epilogue_ == isa::Epilogue::kAdd ? sum : value;
    }
    Publish(value);
  }

  __device__ const Best& best() const { return best_; }

 private:
  __device__ __forceinline__ void Publish(float value) const {
    if (mine_) ptx::StoreRelaxedGpu(y_, context_.WordOf(value));
  }

  // The norm's scale, from the warps' sums of squares.
  __device__ __forceinline__ float Scale(uint32_t copy) const {
    const auto* squares =
        reinterpret_cast<const float4*>(context_.shared->gemv_squares[copy]);
    static_assert(kComputeWarps == 8);
    const float4 a = squares[0], b = squares[1];
    const float total =
        ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
    return ptx::ReciprocalSqrtApproximate(total * mean_ + eps_);
  }

  // A row's sum over the warps, of slot `ahead` from the panel's first on;
  // upper and lower halves apart.
  __device__ __forceinline__ float Sum(uint32_t ahead) const {
    float2 part[kComputeWarps];
#pragma unroll
    for (uint32_t w = 0; w < kComputeWarps; ++w) {
      part[w] = *reinterpret_cast<const float2*>(
          reinterpret_cast<const char*>(
              context_.shared->scratch.warps[w].sums.partials[0][ahead]) +
          sums_);
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
    const bool polled = context_.IsPolled(GemvIndex::r);
    const uint32_t* address =
        static_cast<const uint32_t*>(at_.r) + ActivationWord(row_);
    const uint32_t tag = context_.tag;
    uint32_t word = early_;
    // In line, faults too: these warps have few registers, and a function that
    // they call would have no more anywhere.
    if ((word & 0xffu) != tag) {
      Spin spin(context_.shared);
      while (true) {
        word = ptx::LoadRelaxedGpu(address);
        if (!polled || (word & 0xffu) == tag) break;
        if (!spin.Expired()) continue;
        if (spin.timed_out()) {
          RaiseFaultInLine(context_.shared, context_.place(),
                           FaultKind::kTagTimeout, op_.r, word & 0xffu, tag);
        }
        break;
      }
    }
    return isa::FloatOfF24Bits(word);
  }

  const isa::GemvOperands& op_;
  const GemvAddresses& at_;
  DeviceContext& context_;
  uint32_t early_ = 0;
  uint32_t panel_, row_;
  bool mine_, y_is_f24_, norm_, first_, more_;
  float mean_, eps_;
  isa::Epilogue epilogue_;
  uint32_t* y_;
  uint32_t sums_;  // of the row, from the first copy's first
  float scale_ = 1.0f;
  Best best_ = {-INFINITY, 0xffffffffu};
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_GEMV_FINISH_CUH_
