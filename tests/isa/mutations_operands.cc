// Mutations of tiles, operands and buffers.
#include <algorithm>
#include <initializer_list>
#include <vector>

#include "isa/opcode_table.h"
#include "tests/isa/mutation_tools.h"

namespace mkvm::isa {
namespace {

// ---- tiles ------------------------------------------------------------------

// Index of the first operand with one of the names, or -1.
int OperandNamed(const Instruction& i,
                 std::initializer_list<absl::string_view> names) {
  const auto operands = FindOpcode(i.opcode)->operands;
  for (size_t k = 0; k < operands.size(); ++k) {
    for (absl::string_view name : names) {
      if (operands[k].name == name) return static_cast<int>(k);
    }
  }
  return -1;
}

constexpr std::initializer_list<absl::string_view> kTileBegins = {
    "begin", "row_begin", "split", "kv_head"};
constexpr std::initializer_list<absl::string_view> kTileSizes = {"count",
                                                                 "rows"};

// State may be written in part: another tile of it is another program.
bool WritesState(const Program& program, const Instruction& i) {
  std::vector<Access> accesses;
  AppendAccesses(program, i, accesses);
  return std::any_of(accesses.begin(), accesses.end(), [&](const Access& a) {
    return a.kind == AccessKind::kWrite &&
           program.buffers[a.buffer].kind == BufferKind::kState;
  });
}

bool ShiftTile(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) {
            return OperandNamed(i, kTileBegins) >= 0;
          },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  if (WritesState(program, i)) return false;
  uint32_t& begin = i.operands[OperandNamed(i, kTileBegins)];
  const uint32_t by = 1u << random.Below(5);
  begin = random.Below(2) != 0 && begin >= by ? begin - by : begin + by;
  return true;
}

bool ChangeTileSize(Program& program, Random& random, bool grow) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) { return OperandNamed(i, kTileSizes) >= 0; },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  if (WritesState(program, i)) return false;
  uint32_t& size = i.operands[OperandNamed(i, kTileSizes)];
  const uint32_t by = 1u << random.Below(4);
  if (!grow && size < by) return false;
  size = grow ? size + by : size - by;
  return true;
}

bool ShrinkTile(Program& program, Random& random) {
  return ChangeTileSize(program, random, false);
}

bool GrowTile(Program& program, Random& random) {
  return ChangeTileSize(program, random, true);
}

bool ShiftSlot(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) {
            return i.opcode == static_cast<uint16_t>(Opcode::kGemv) &&
                   DecodeOperands<GemvOperands>(i).epilogue ==
                       Epilogue::kArgmax;
          },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  i.operands[OperandNamed(i, {"slot"})] ^= 1u << random.Below(3);
  return true;
}

// ---- buffers ----------------------------------------------------------------

// A random buffer for which `fits` holds.
template <typename Fits>
bool PickBuffer(Program& program, Random& random, Fits fits, uint32_t& picked) {
  std::vector<uint32_t> fitting;
  for (uint32_t b = 0; b < program.buffers.size(); ++b) {
    if (fits(program.buffers[b])) fitting.push_back(b);
  }
  if (fitting.empty()) return false;
  picked = fitting[random.Below(fitting.size())];
  return true;
}

// nullptr where there is none.
Buffer* AnyBuffer(Program& program, Random& random) {
  uint32_t picked;
  return PickBuffer(
             program, random, [](const Buffer&) { return true; }, picked)
             ? &program.buffers[picked]
             : nullptr;
}

// Every use of one buffer becomes a use of another of its kind.
bool AliasBuffers(Program& program, Random& random, BufferKind kind) {
  uint32_t from, to;
  if (!PickBuffer(
          program, random, [&](const Buffer& b) { return b.kind == kind; },
          from)) {
    return false;
  }
  if (!PickBuffer(
          program, random,
          [&](const Buffer& b) {
            return b.kind == kind && b.dtype == program.buffers[from].dtype &&
                   &b != &program.buffers[from];
          },
          to)) {
    return false;
  }
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) {
      const auto operands = FindOpcode(i.opcode)->operands;
      for (size_t k = 0; k < operands.size(); ++k) {
        if (operands[k].kind == OperandKind::kBuffer && i.operands[k] == from) {
          i.operands[k] = to;
        }
      }
    }
  }
  return true;
}

bool AliasActivations(Program& program, Random& random) {
  return AliasBuffers(program, random, BufferKind::kActivation);
}

bool AliasState(Program& program, Random& random) {
  return AliasBuffers(program, random, BufferKind::kState);
}

// One operand that `fits` names another buffer.
template <typename Fits>
bool RedirectOperand(Program& program, Random& random, Fits fits) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  Instruction& i = At(program, spot);
  const auto operands = FindOpcode(i.opcode)->operands;
  if (operands.empty()) return false;
  const size_t k = random.Below(operands.size());
  if (operands[k].kind != OperandKind::kBuffer || i.operands[k] == kNoBuffer ||
      !fits(operands[k].access, program.buffers[i.operands[k]].kind)) {
    return false;
  }
  // Mostly one that could be meant.
  const uint32_t old = i.operands[k];
  const bool alike = random.Below(4) != 0;
  return PickBuffer(
      program, random,
      [&](const Buffer& b) {
        return &b != &program.buffers[old] &&
               (!alike || b.dtype == program.buffers[old].dtype);
      },
      i.operands[k]);
}

bool RedirectInput(Program& program, Random& random) {
  return RedirectOperand(program, random, [](AccessKind access, BufferKind) {
    return access == AccessKind::kRead || access == AccessKind::kWeight;
  });
}

bool RedirectOutput(Program& program, Random& random) {
  return RedirectOperand(
      program, random, [](AccessKind access, BufferKind kind) {
        return access == AccessKind::kWrite && kind == BufferKind::kActivation;
      });
}

bool RedirectState(Program& program, Random& random) {
  return RedirectOperand(
      program, random, [](AccessKind access, BufferKind kind) {
        return access != AccessKind::kRead && kind == BufferKind::kState;
      });
}

bool ChangeDType(Program& program, Random& random) {
  Buffer* picked = AnyBuffer(program, random);
  if (picked == nullptr) return false;
  Buffer& buffer = *picked;
  const DType old = buffer.dtype;
  buffer.dtype = static_cast<DType>(random.Below(5));
  return buffer.dtype != old;
}

bool ChangeKind(Program& program, Random& random) {
  Buffer* picked = AnyBuffer(program, random);
  if (picked == nullptr) return false;
  Buffer& buffer = *picked;
  const BufferKind old = buffer.kind;
  buffer.kind = static_cast<BufferKind>(random.Below(4));
  return buffer.kind != old;
}

bool ChangeShape(Program& program, Random& random) {
  Buffer* picked = AnyBuffer(program, random);
  if (picked == nullptr) return false;
  Buffer& buffer = *picked;
  uint64_t& size = buffer.shape[random.Below(buffer.shape.size())];
  const uint64_t by = 1 + random.Below(4);
  if (random.Below(2) != 0) {
    size += by;
  } else if (size > by) {
    size -= by;
  } else {
    return false;
  }
  return true;
}

bool ChangeImmediate(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  Instruction& i = At(program, spot);
  const auto operands = FindOpcode(i.opcode)->operands;
  if (operands.empty()) return false;
  const size_t k = random.Below(operands.size());
  if (operands[k].kind == OperandKind::kBuffer) return false;
  i.operands[k] ^= 1u << random.Below(random.Below(2) != 0 ? 6 : 32);
  return true;
}

// One instruction works alone, or idles, in other passes than its fellows.
bool ChangeAlone(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random,
          [](const Instruction& i) { return OperandNamed(i, {"alone"}) >= 0; },
          spot)) {
    return false;
  }
  Instruction& i = At(program, spot);
  uint32_t& alone = i.operands[OperandNamed(i, {"alone"})];
  if (alone == 0) return false;
  alone = random.Below(2) != 0 ? 0 : alone - 1 + 2 * random.Below(2);
  const bool writes_part =
      i.opcode == static_cast<uint16_t>(Opcode::kAttention);
  if (alone == 0 && writes_part) i.operands[OperandNamed(i, {"y"})] = kNoBuffer;
  return true;
}

// A merge takes parts earlier or later than their splits begin.
bool ChangeMergesBlock(Program& program, Random& random) {
  Spot spot;
  const auto grows = [](const Instruction& i) {
    return i.opcode == static_cast<uint16_t>(Opcode::kAttentionMerge) &&
           DecodeOperands<AttentionMergeOperands>(i).block != 0;
  };
  if (!Pick(program, random, grows, spot)) return false;
  Instruction& i = At(program, spot);
  uint32_t& block = i.operands[OperandNamed(i, {"block"})];
  block = random.Below(2) != 0 ? 0 : block - 1 + 2 * random.Below(2);
  return true;
}

constexpr Mutation kMutations[] = {
    {"shift a tile", Promise::kSameResult, ShiftTile},
    {"shrink a tile", Promise::kSameResult, ShrinkTile},
    {"grow a tile", Promise::kSameResult, GrowTile},
    {"shift a slot", Promise::kSameResult, ShiftSlot},
    {"alias two activations", Promise::kSameResult, AliasActivations},
    {"redirect an output", Promise::kSameResult, RedirectOutput},
    {"alias two states", Promise::kAnyOrder, AliasState},
    {"change a kind", Promise::kAnyOrder, ChangeKind},
    {"redirect a state", Promise::kAnyOrder, RedirectState},
    {"redirect an input", Promise::kAnyOrder, RedirectInput},
    {"change a dtype", Promise::kAnyOrder, ChangeDType},
    {"change a shape", Promise::kAnyOrder, ChangeShape},
    {"change an alone", Promise::kSameResult, ChangeAlone},
    {"change a merge's block", Promise::kSameResult, ChangeMergesBlock},
    {"change an immediate", Promise::kAnyOrder, ChangeImmediate},
};

}  // namespace

absl::Span<const Mutation> OperandMutations() { return kMutations; }

}  // namespace mkvm::isa
