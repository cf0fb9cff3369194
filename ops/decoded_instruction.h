// An instruction as the GPU's interpreter reads it: with everything that
// depends on neither pass nor position looked up beforehand, by the host
// (vm/decode.h). Host and device; no CUDA headers.
#ifndef MKVM_OPS_DECODED_INSTRUCTION_H_
#define MKVM_OPS_DECODED_INSTRUCTION_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "isa/instruction.h"
#include "ops/gemv_shape.h"

namespace mkvm::ops {

// Operand indices by name, e.g. GemvIndex::x.
#define MKVM_OP(code, Name, name, synopsis) \
  struct Name##Index {                      \
    enum : uint32_t {
#define MKVM_READ(f, d, s, b, c) f,
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_U32(f, d) f,
#define MKVM_F32(f, d) f,
#define MKVM_ENUM(f, T, d) f,
#define MKVM_END(Name) \
  kCount               \
  }                    \
  ;                    \
  }                    \
  ;
#include "isa/opcodes.def"

// What the compute warps need of an instruction before its body.
struct alignas(16) SlotHead {
  uint32_t code;      // the body and flags, see below
  uint32_t untagged;  // bit i: wait i is for a counter
  uint32_t tag;       // of the pass; 0 before the fetcher has seen it
  uint32_t pass;      // likewise
  uint32_t pc;
  uint32_t f24_operands;    // bit i: operand i is an f24 buffer
  uint32_t panel_operands;  // bit i: operand i is stored in panels
  // At positions below it, it neither reads nor writes: attention's splits that
  // have none yet, and merges where split 0 works alone.
  uint32_t idle_below;
};
// The body: an opcode; with kCodeAny that for operands which the hot one
// doesn't do.
inline constexpr uint32_t kCodeMask = 0xffff;
inline constexpr uint32_t kCodeAny = 0x8000;
// The queue's instruction before must be done; a counter is to be released, or
// only ticked.
inline constexpr uint32_t kCodeAfter = 0x10000;
inline constexpr uint32_t kCodeReleases = 0x20000;
inline constexpr uint32_t kCodeTicks = 0x80000;
// Ablated kernel: the last one of this launch's part of the queue.
inline constexpr uint32_t kCodeLast = 0x40000;
// Neither reads nor writes in this pass.
inline constexpr uint32_t kCodeIdle = 0x100000;
// The rest of the code: which body made for the hot path, which needs none of
// the loop's precautions: all that it reads is polled, nothing is to be
// released. Gemvs of one chunk, by its slabs and panels.
enum class Direct : uint32_t {
  kNo,
  kGemv1x6,
  kGemv1x4,
  kGemv2x2,
  kGemv3x2,
  kAttention,
  kMerge,
  kIdle,
};
inline constexpr uint32_t kCodeDirectShift = 24;
// Of a merge, a warp does so many elements at a time.
inline constexpr uint32_t kMergeWarpElements = 16;
MKVM_HOST_DEVICE constexpr uint32_t WithDirect(uint32_t code, Direct direct) {
  return (code & ((1u << kCodeDirectShift) - 1)) | static_cast<uint32_t>(direct)
                                                       << kCodeDirectShift;
}

// What an attention instruction does in its pass: the positions of its split,
// and where this pass's goes if it is the split's.
struct alignas(16) AttentionPlace {
  uint32_t positions;
  uint32_t append;  // 0: it is another split's
  uint32_t slot;
  uint32_t alone;  // 1: no other split has positions, the result is whole
  // Rows that come through the stages: those that were there before this pass.
  uint32_t streamed;
};

// What a merge does in its pass.
struct MergePlace {
  uint32_t parts;  // those of the first splits
};

// Of a buffer.
struct FirstDims {
  uint32_t x, y;
};

// Buffer operands have indices below this.
inline constexpr uint32_t kMaxBuffers = 16;
#define MKVM_OP(code, Name, name, synopsis) \
  struct Name##Buffers : Name##Index {      \
    static constexpr uint32_t kMask = 0
#define MKVM_READ(f, d, s, b, c) | 1u << f
#define MKVM_OPT_READ MKVM_READ
#define MKVM_WEIGHT MKVM_READ
#define MKVM_OPT_WEIGHT MKVM_READ
#define MKVM_WRITE MKVM_READ
#define MKVM_OPT_WRITE MKVM_READ
#define MKVM_UPDATE MKVM_READ
#define MKVM_END(Name) \
  ;                    \
  }                    \
  ;                    \
  static_assert(Name##Buffers::kMask < 1u << kMaxBuffers);
#include "isa/opcodes.def"

struct alignas(128) DecodedInstruction {
  isa::Instruction instruction;
  SlotHead head;
  GemvShape gemv;  // of a gemv; of attention the fetcher fills it in
  // Of buffer operands, by operand index: nullptr and zeros where there is
  // none.
  void* addresses[kMaxBuffers];
  FirstDims dims[kMaxBuffers];
  // The fetcher fills in what follows.
  union {
    AttentionPlace attention;  // of an attention
    MergePlace merge;          // of an attention_merge
  };
  // Of untagged waits: the counter values that they want in this pass; 0: none.
  uint32_t wanted[isa::kMaxWaits];
};
// The fetch warp brings it in 16 bytes per lane.
static_assert(sizeof(DecodedInstruction) == 32 * 16);
static_assert(std::is_trivially_copyable_v<DecodedInstruction>);

}  // namespace mkvm::ops

#endif  // MKVM_OPS_DECODED_INSTRUCTION_H_
