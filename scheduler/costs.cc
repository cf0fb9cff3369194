#include "scheduler/costs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"
#include "isa/traffic.h"

namespace mkvm::scheduler {
namespace {

constexpr absl::string_view kUnitNames[kNumUnits] = {
    "stages", "slabs",  "groups",   "turns",    "cold_turns",
    "heads",  "splits", "elements", "kilobytes"};

// How the GPU's op bodies cut their work.
constexpr uint32_t kPanelsPerGroup = 8;  // of both matrices of a gemv
constexpr uint32_t kPositionsPerTurn = 32;
constexpr uint32_t kHeadsPerTurn = 2;
constexpr uint32_t kWideHead = 128;  // elements; above, a head takes two turns
constexpr uint32_t kElementsPerUnit = 256;  // one per thread

uint32_t CeilDiv(uint64_t a, uint64_t b) {
  return static_cast<uint32_t>((a + b - 1) / b);
}

uint32_t& At(PerUnit<uint32_t>& work, Unit unit) {
  return work[static_cast<size_t>(unit)];
}

void AddGemv(const isa::GemvOperands& op, bool in_panels,
             PerUnit<uint32_t>& work) {
  const uint32_t matrices = op.w2 == isa::kNoBuffer ? 1 : 2;
  if (!in_panels) {
    constexpr uint64_t kKilobyte = 1024;
    At(work, Unit::kKilobytes) = CeilDiv(
        uint64_t{op.rows} * op.k * matrices * isa::SizeOf(isa::DType::kBf16),
        kKilobyte);
    return;
  }
  const uint32_t panels = CeilDiv(op.rows, isa::kPanelRows);
  const uint32_t slabs = CeilDiv(op.k, isa::kStageColumns);
  const uint32_t groups = CeilDiv(panels, kPanelsPerGroup / matrices);
  At(work, Unit::kStages) = panels * matrices * slabs;
  // A vector of one slab stays converted from group to group.
  At(work, Unit::kSlabs) = slabs == 1 ? 0 : slabs * groups - 1;
  At(work, Unit::kGroups) = groups - 1;
}

void AddAttention(const isa::Instruction& instruction,
                  const WorkContext& context, PerUnit<uint32_t>& work) {
  const auto op = isa::DecodeOperands<isa::AttentionOperands>(instruction);
  if (context.position < op.alone && op.split != 0) return;  // idle
  const uint64_t position_bytes =
      uint64_t{2} * op.head_dim * isa::SizeOf(isa::DType::kBf16);
  const uint64_t positions =
      isa::KvBytes(instruction, context.position) / position_bytes;
  const uint32_t rounds =
      op.head_dim > kWideHead ? op.group : CeilDiv(op.group, kHeadsPerTurn);
  At(work, Unit::kTurns) = CeilDiv(positions, kPositionsPerTurn) * rounds;
  if (context.kv_is_cold) At(work, Unit::kColdTurns) = At(work, Unit::kTurns);
  At(work, Unit::kHeads) = op.group;
}

// Appends "prefix.value" for every combination of values of the enum operands
// from `first` on.
void AppendClasses(const isa::OpcodeInfo& info, size_t first,
                   const std::string& prefix, std::vector<std::string>& names) {
  for (size_t i = first; i < info.operands.size(); ++i) {
    if (info.operands[i].kind != isa::OperandKind::kEnum) continue;
    for (const absl::string_view value : info.operands[i].values) {
      AppendClasses(info, i + 1, absl::StrCat(prefix, ".", value), names);
    }
    return;
  }
  names.push_back(prefix);
}

}  // namespace

absl::string_view Name(Unit unit) {
  return kUnitNames[static_cast<size_t>(unit)];
}

PerUnit<uint32_t> WorkOf(const isa::Instruction& instruction,
                         const WorkContext& context) {
  PerUnit<uint32_t> work = {};
  const auto elements = [&](uint64_t count) {
    At(work, Unit::kElements) = CeilDiv(count, kElementsPerUnit);
  };
  switch (static_cast<isa::Opcode>(instruction.opcode)) {
    case isa::Opcode::kGemv:
      AddGemv(isa::DecodeOperands<isa::GemvOperands>(instruction),
              context.panels, work);
      break;
    case isa::Opcode::kAttention:
      AddAttention(instruction, context, work);
      break;
    case isa::Opcode::kQkNormRopeAppend:
      At(work, Unit::kHeads) =
          isa::DecodeOperands<isa::QkNormRopeAppendOperands>(instruction).group;
      break;
    case isa::Opcode::kAttentionMerge: {
      const auto op =
          isa::DecodeOperands<isa::AttentionMergeOperands>(instruction);
      At(work, Unit::kSplits) =
          context.position < op.alone
              ? 0
              : isa::PartsAt(context.position, op.block, op.splits);
      break;
    }
    case isa::Opcode::kEmbed:
      elements(isa::DecodeOperands<isa::EmbedOperands>(instruction).count);
      break;
    case isa::Opcode::kRmsNorm:
      elements(isa::DecodeOperands<isa::RmsNormOperands>(instruction).k);
      break;
    case isa::Opcode::kAdd:
      elements(isa::DecodeOperands<isa::AddOperands>(instruction).count);
      break;
    case isa::Opcode::kSiluMul:
      elements(isa::DecodeOperands<isa::SiluMulOperands>(instruction).count);
      break;
    case isa::Opcode::kArgmax:
      elements(isa::DecodeOperands<isa::ArgmaxOperands>(instruction).n);
      break;
    case isa::Opcode::kSampleSlice:
      elements(
          isa::DecodeOperands<isa::SampleSliceOperands>(instruction).count);
      break;
    case isa::Opcode::kSample:
    case isa::Opcode::kNop:
    case isa::Opcode::kHalt:
    case isa::Opcode::kAdvance:
      break;
  }
  return work;
}

uint64_t KvBytesOfPass(const isa::Program& program, uint64_t position) {
  uint64_t bytes = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& i : queue) bytes += isa::KvBytes(i, position);
  }
  return bytes;
}

bool ReadsActivations(const isa::Program& program,
                      const isa::Instruction& instruction) {
  std::vector<isa::Access> accesses;
  isa::AppendAccesses(program, instruction, accesses);
  return std::any_of(accesses.begin(), accesses.end(),
                     [&](const isa::Access& access) {
                       return access.kind == isa::AccessKind::kRead &&
                              program.buffers[access.buffer].kind ==
                                  isa::BufferKind::kActivation;
                     });
}

std::string ClassOf(const isa::Instruction& instruction) {
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  if (info == nullptr) return "default";
  std::string name(info->name);
  for (size_t i = 0; i < info->operands.size(); ++i) {
    const isa::OperandInfo& operand = info->operands[i];
    if (operand.kind != isa::OperandKind::kEnum) continue;
    absl::StrAppend(&name, ".", operand.values[instruction.operands[i]]);
  }
  return name;
}

std::vector<std::string> CostNames() {
  std::vector<std::string> names = {"default"};
  for (const isa::OpcodeInfo& info : isa::AllOpcodes()) {
    const std::string opcode(info.name);
    names.push_back(opcode);
    AppendClasses(info, 0, opcode, names);
    if (names.back() == opcode) names.pop_back();  // no enum operand
  }
  return names;
}

const OpCost& FindCost(const CostTable& costs, absl::string_view class_name) {
  static const OpCost* const kFree = new OpCost();
  const absl::string_view opcode = class_name.substr(0, class_name.find('.'));
  for (const absl::string_view name :
       {class_name, opcode, absl::string_view("default")}) {
    const auto it = costs.find(std::string(name));
    if (it != costs.end()) return it->second;
  }
  return *kFree;
}

double WorkUs(const OpCost& cost, const PerUnit<uint32_t>& work) {
  double us = cost.fixed_us;
  for (size_t u = 0; u < kNumUnits; ++u) us += cost.unit_us[u] * work[u];
  return us;
}

double SpreadAt(const OpCost& cost, double level) {
  if (cost.spread.empty()) return 0;
  size_t i = 1;
  while (i + 1 < kSpreadLevels.size() && level > kSpreadLevels[i]) ++i;
  const double part = (level - kSpreadLevels[i - 1]) /
                      (kSpreadLevels[i] - kSpreadLevels[i - 1]);
  return cost.spread[i - 1] + part * (cost.spread[i] - cost.spread[i - 1]);
}

}  // namespace mkvm::scheduler
