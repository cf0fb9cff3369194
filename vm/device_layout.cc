#include "vm/device_layout.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "isa/opcode_table.h"
#include "ops/activation_layout.h"
#include "ops/kv_layout.h"

namespace mkvm::vm {
namespace {

// The buffer operands of all instructions, as (buffer, operand's name).
template <typename Visit>
void ForEachOperand(const isa::Program& program, Visit&& visit) {
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
      for (size_t i = 0; i < info->operands.size(); ++i) {
        const uint32_t id = instruction.operands[i];
        if (info->operands[i].kind == isa::OperandKind::kBuffer &&
            id != isa::kNoBuffer) {
          visit(id, info->operands[i].name);
        }
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<DeviceLayout>> LayoutsOf(
    const isa::Program& program) {
  const size_t count = program.buffers.size();
  std::vector<DeviceLayout> layouts(count, DeviceLayout::kPlain);
  std::vector<bool> has_parts(count, false);
  ForEachOperand(program, [&](uint32_t id, absl::string_view operand) {
    const isa::Buffer& buffer = program.buffers[id];
    if (operand == "part") {
      has_parts[id] = true;
    } else if (buffer.dtype == isa::DType::kF24) {
      layouts[id] = DeviceLayout::kSpread;
    } else if ((operand == "k_cache" || operand == "v_cache") &&
               buffer.shape.back() == ops::kPermutedHeadDim) {
      layouts[id] = DeviceLayout::kPermuted;
    }
  });
  for (size_t id = 0; id < count; ++id) {
    if (has_parts[id] && layouts[id] == DeviceLayout::kSpread) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "buffer %s holds parts of attention and is an operand of another "
          "kind, too, which a GPU keeps in another layout; use two buffers",
          program.buffers[id].name));
    }
  }
  return layouts;
}

void PermuteRows(char* rows, uint64_t row, uint64_t count, uint64_t capacity) {
  constexpr uint64_t kElements = ops::kPermutedHeadDim;
  uint16_t permuted[kElements];
  for (uint64_t i = 0; i < count; ++i) {
    char* const at = rows + i * sizeof(permuted);
    const auto of_split = static_cast<uint32_t>((row + i) % capacity);
    for (uint32_t e = 0; e < kElements; ++e) {
      std::memcpy(&permuted[ops::PermutedElement(of_split, e)],
                  at + e * sizeof(uint16_t), sizeof(uint16_t));
    }
    std::memcpy(at, permuted, sizeof(permuted));
  }
}

std::vector<uint32_t> SpreadWords(absl::Span<const uint32_t> words) {
  std::vector<uint32_t> spread(ops::ActivationWords(words.size()), 0);
  for (size_t i = 0; i < words.size(); ++i) {
    spread[ops::ActivationWord(i)] = words[i];
  }
  return spread;
}

void GatherWords(absl::Span<const uint32_t> spread,
                 absl::Span<uint32_t> words) {
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = spread[ops::ActivationWord(i)];
  }
}

}  // namespace mkvm::vm
