#include "vm/decode.h"

#include <algorithm>
#include <cstddef>

#include "isa/instruction.h"
#include "isa/opcode_table.h"
#include "ops/attention_part.h"
#include "ops/gemv_shape.h"

namespace mkvm::vm {
namespace {

using ops::Direct;

// Whether an untagged wait of some instruction is for that counter.
std::vector<bool> CountedCounters(const isa::Program& program) {
  std::vector<bool> counted(program.counters.size(), false);
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      for (int i = 0; i < instruction.num_waits; ++i) {
        if (!instruction.WaitIsTagged(i)) {
          counted[instruction.waits[i].counter] = true;
        }
      }
    }
  }
  return counted;
}

class Decoder {
 public:
  Decoder(absl::Span<const ops::DeviceBuffer> buffers, uint32_t num_stages)
      : buffers_(buffers), num_stages_(num_stages) {}

  // `may_be_direct`: nothing else in its queue forbids it.
  ops::DecodedInstruction Decode(const isa::Instruction& instruction,
                                 uint32_t pc, bool may_be_direct) const;

 private:
  void LookUpBuffers(ops::DecodedInstruction& decoded) const;
  ops::GemvShape ShapeOf(const isa::Instruction& instruction) const;
  bool NeedsAnyBody(const isa::Instruction& instruction) const;

  const absl::Span<const ops::DeviceBuffer> buffers_;
  const uint32_t num_stages_;
};

isa::Opcode OpcodeOf(const isa::Instruction& instruction) {
  return static_cast<isa::Opcode>(instruction.opcode);
}

void Decoder::LookUpBuffers(ops::DecodedInstruction& decoded) const {
  const isa::OpcodeInfo* info = isa::FindOpcode(decoded.instruction.opcode);
  for (size_t i = 0; i < info->operands.size(); ++i) {
    const uint32_t id = decoded.instruction.operands[i];
    if (info->operands[i].kind != isa::OperandKind::kBuffer ||
        id == isa::kNoBuffer) {
      continue;
    }
    const ops::DeviceBuffer& buffer = buffers_[id];
    decoded.addresses[i] = buffer.data;
    decoded.dims[i] = {static_cast<uint32_t>(buffer.shape[0]),
                       static_cast<uint32_t>(buffer.shape[1])};
    if (buffer.is_f24 != 0) decoded.head.f24_operands |= 1u << i;
    if (buffer.is_panels != 0) decoded.head.panel_operands |= 1u << i;
  }
}

// Whether the opcode's hot body doesn't do these operands.
bool Decoder::NeedsAnyBody(const isa::Instruction& instruction) const {
  switch (OpcodeOf(instruction)) {
    case isa::Opcode::kGemv:
      return isa::DecodeOperands<isa::GemvOperands>(instruction).k %
                 isa::kStageColumns !=
             0;
    case isa::Opcode::kAttention: {
      const auto op = isa::DecodeOperands<isa::AttentionOperands>(instruction);
      return op.head_dim != ops::head128::kDim ||
             op.group > ops::head128::kMaxHeads ||
             num_stages_ < ops::head128::kPartStages;
    }
    case isa::Opcode::kAttentionMerge: {
      const auto op =
          isa::DecodeOperands<isa::AttentionMergeOperands>(instruction);
      return op.splits > 16 || op.count % 16 != 0 || op.begin % 4 != 0 ||
             op.head_dim % 4 != 0;
    }
    default:
      return false;
  }
}

ops::GemvShape Decoder::ShapeOf(const isa::Instruction& instruction) const {
  if (OpcodeOf(instruction) != isa::Opcode::kGemv) return {};
  const auto op = isa::DecodeOperands<isa::GemvOperands>(instruction);
  ops::GemvShape shape = ops::MakeGemvShape(
      op.rows, op.k, op.w2 == isa::kNoBuffer ? 1 : 2, num_stages_);
  shape.x_mask = instruction.OperandIsPolled(ops::GemvIndex::x) ? 0xffu : 0;
  return shape;
}

// Whether an instruction of a hot body polls all that others write and it
// reads. (Attention without its prologue has no k and v, and counts as not.)
bool PollsAll(const isa::Instruction& instruction) {
  uint32_t read = 0;
  switch (OpcodeOf(instruction)) {
    case isa::Opcode::kGemv:
      read = 1u << ops::GemvIndex::x;
      if (isa::DecodeOperands<isa::GemvOperands>(instruction).r !=
          isa::kNoBuffer) {
        read |= 1u << ops::GemvIndex::r;
      }
      break;
    case isa::Opcode::kAttention:
      read = 1u << ops::AttentionIndex::q | 1u << ops::AttentionIndex::k |
             1u << ops::AttentionIndex::v;
      break;
    case isa::Opcode::kAttentionMerge:
      read = 1u << ops::AttentionMergeIndex::part;
      break;
    default:
      return false;
  }
  return (instruction.polled & read) == read;
}

uint32_t IdleBelow(const isa::Instruction& instruction) {
  if (OpcodeOf(instruction) == isa::Opcode::kAttention) {
    const auto op = isa::DecodeOperands<isa::AttentionOperands>(instruction);
    return op.split != 0 ? op.alone : 0;
  }
  if (OpcodeOf(instruction) == isa::Opcode::kAttentionMerge) {
    return isa::DecodeOperands<isa::AttentionMergeOperands>(instruction).alone;
  }
  return 0;
}

// The direct body of a gemv of that shape, with a norm or without.
Direct DirectGemv(const ops::GemvShape& shape, bool norm) {
  if (shape.panels > shape.group || shape.slabs > shape.chunk) {
    return Direct::kNo;
  }
  const uint32_t slots = shape.panels * shape.matrices;
  if (shape.slabs == 1 && slots == 6) return Direct::kGemv1x6;
  if (shape.slabs == 1 && slots == 4) return Direct::kGemv1x4;
  if (shape.slabs == 2 && slots == 2 && !norm) return Direct::kGemv2x2;
  if (shape.slabs == 3 && slots == 2 && !norm) return Direct::kGemv3x2;
  return Direct::kNo;
}

// Which direct body the instruction takes when it is not idle.
Direct DirectOf(const ops::DecodedInstruction& decoded) {
  const isa::Instruction& instruction = decoded.instruction;
  const uint32_t code = decoded.head.code;
  if (decoded.head.untagged != 0 ||
      (code & (ops::kCodeReleases | ops::kCodeAny)) != 0) {
    return Direct::kNo;
  }
  if (OpcodeOf(instruction) == isa::Opcode::kNop) return Direct::kIdle;
  if (!PollsAll(instruction)) return Direct::kNo;
  switch (OpcodeOf(instruction)) {
    case isa::Opcode::kGemv:
      return DirectGemv(decoded.gemv,
                        isa::DecodeOperands<isa::GemvOperands>(instruction).g !=
                            isa::kNoBuffer);
    case isa::Opcode::kAttention:
      return Direct::kAttention;
    case isa::Opcode::kAttentionMerge:
      return Direct::kMerge;
    default:
      return Direct::kNo;
  }
}

ops::DecodedInstruction Decoder::Decode(const isa::Instruction& instruction,
                                        uint32_t pc, bool may_be_direct) const {
  ops::DecodedInstruction decoded = {};
  decoded.instruction = instruction;
  LookUpBuffers(decoded);
  decoded.gemv = ShapeOf(instruction);
  ops::SlotHead& head = decoded.head;
  head.code = instruction.opcode;
  if (NeedsAnyBody(instruction)) head.code |= ops::kCodeAny;
  // A gemv that polls all it reads may begin while the instruction before is
  // still writing its rows: its own are written after them.
  if (OpcodeOf(instruction) != isa::Opcode::kGemv || !PollsAll(instruction)) {
    head.code |= ops::kCodeAfter;
  }
  if (instruction.signal != isa::kNoCounter) {
    head.code |= (instruction.flags & isa::kFlagRelease) != 0
                     ? ops::kCodeReleases
                     : ops::kCodeTicks;
  }
  head.untagged = ((1u << instruction.num_waits) - 1) & ~instruction.tagged;
  head.pc = pc;
  head.idle_below = IdleBelow(instruction);
  if (may_be_direct) {
    head.code = ops::WithDirect(head.code, DirectOf(decoded));
  }
  return decoded;
}

// Which merges of a queue may not be direct: those of which one may follow
// another, with nothing between them that is done in every pass, unless one
// warp does them all. A warp could write its part of the later one while
// another is still at the earlier one (docs/memory_model.md, "Without a
// commit"). The queue begins anew when it ends.
std::vector<bool> MergesThatMeet(const std::vector<isa::Instruction>& queue) {
  std::vector<bool> meets(queue.size(), false);
  const auto separates = [](const isa::Instruction& instruction) {
    const isa::Opcode opcode = OpcodeOf(instruction);
    return opcode != isa::Opcode::kNop &&
           opcode != isa::Opcode::kAttentionMerge &&
           IdleBelow(instruction) == 0;
  };
  const size_t first = static_cast<size_t>(
      std::find_if(queue.begin(), queue.end(), separates) - queue.begin());
  // Merges since the last instruction that separates, and whether one has
  // elements for several warps.
  std::vector<size_t> merges;
  bool wide = false;
  const auto end_run = [&](size_t fewest) {
    if (wide && merges.size() >= fewest) {
      for (const size_t pc : merges) meets[pc] = true;
    }
    merges.clear();
    wide = false;
  };
  for (size_t i = 0; i < queue.size(); ++i) {
    const size_t pc = (first + i) % queue.size();
    if (separates(queue[pc])) end_run(2);
    if (OpcodeOf(queue[pc]) != isa::Opcode::kAttentionMerge) continue;
    merges.push_back(pc);
    wide |= isa::DecodeOperands<isa::AttentionMergeOperands>(queue[pc]).count >
            ops::kMergeWarpElements;
  }
  // Without any that separates, even one meets itself.
  end_run(first == queue.size() ? 1 : 2);
  return meets;
}

}  // namespace

std::vector<ops::DecodedInstruction> DecodeQueues(
    const isa::Program& program, absl::Span<const ops::DeviceBuffer> buffers,
    uint32_t num_stages) {
  const Decoder decoder(buffers, num_stages);
  const std::vector<bool> counted = CountedCounters(program);
  std::vector<ops::DecodedInstruction> code;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    const std::vector<bool> meets = MergesThatMeet(queue);
    for (size_t pc = 0; pc < queue.size(); ++pc) {
      isa::Instruction instruction = queue[pc];
      // A relaxed signal that an untagged wait counts says that the
      // instruction has read its operands. It becomes a release here, which
      // the kernel carries out after all of the block's threads; others tick
      // when the first thread comes by.
      if (instruction.signal != isa::kNoCounter &&
          counted[instruction.signal]) {
        instruction.flags |= isa::kFlagRelease;
      }
      code.push_back(
          decoder.Decode(instruction, static_cast<uint32_t>(pc), !meets[pc]));
    }
  }
  return code;
}

std::vector<QueueRange> QueueRangesOf(
    const isa::Program& program,
    absl::Span<const ops::DecodedInstruction> code) {
  std::vector<QueueRange> ranges;
  uint32_t begin = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    const auto length = static_cast<uint32_t>(queue.size());
    const auto own = code.subspan(begin, length);
    const auto always = std::count_if(own.begin(), own.end(),
                                      [](const ops::DecodedInstruction& i) {
                                        return i.head.idle_below == 0;
                                      });
    ranges.push_back({begin, length, static_cast<uint32_t>(always)});
    begin += length;
  }
  return ranges;
}

}  // namespace mkvm::vm
