#include "isa/traffic.h"

namespace mkvm::isa {
namespace {

uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Bytes of `rows` rows of a weight as it is stored.
uint64_t MatrixBytes(const Buffer& w, uint64_t rows, uint64_t k) {
  if (w.layout == Layout::kPanels) {
    rows = RoundUp(rows, kPanelRows);
    k = RoundUp(k, kPanelTileColumns);
  }
  return rows * k * SizeOf(w.dtype);
}

}  // namespace

uint64_t StreamedBytes(const std::vector<Buffer>& buffers,
                       const Instruction& instruction) {
  if (instruction.opcode == static_cast<uint16_t>(Opcode::kGemv)) {
    const auto op = DecodeOperands<GemvOperands>(instruction);
    uint64_t bytes = MatrixBytes(buffers[op.w], op.rows, op.k);
    if (op.w2 != kNoBuffer) {
      bytes += MatrixBytes(buffers[op.w2], op.rows, op.k);
    }
    return bytes;
  }
  return 0;
}

uint64_t KvBytes(const Instruction& instruction, uint64_t position) {
  if (instruction.opcode != static_cast<uint16_t>(Opcode::kAttention)) {
    return 0;
  }
  const auto op = DecodeOperands<AttentionOperands>(instruction);
  // Block b belongs to split b % splits; the last may be partly filled.
  const uint64_t filled = (position + 1) / op.block;
  uint64_t positions =
      (filled / op.splits + (op.split < filled % op.splits ? 1 : 0)) * op.block;
  if (filled % op.splits == op.split) positions += (position + 1) % op.block;
  return positions * 2 * op.head_dim * SizeOf(DType::kBf16);
}

}  // namespace mkvm::isa
