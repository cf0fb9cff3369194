// The graph and its instructions as text, for `mkvm compile --dump`.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"
#include "scheduler/graph.h"

namespace mkvm::scheduler {
namespace {

std::string FormatOperand(const std::vector<isa::Buffer>& buffers,
                          const isa::OperandInfo& info, uint32_t word) {
  switch (info.kind) {
    case isa::OperandKind::kBuffer:
      if (word == isa::kNoBuffer) return "";
      return absl::StrCat(" ", info.name, "=", buffers[word].name);
    case isa::OperandKind::kU32:
      return word == 0 ? "" : absl::StrCat(" ", info.name, "=", word);
    case isa::OperandKind::kF32: {
      const float value = isa::FloatOfBits(word);
      return value == 0 ? "" : absl::StrFormat(" %s=%g", info.name, value);
    }
    case isa::OperandKind::kEnum:
      return word == 0 || word >= info.values.size()
                 ? ""
                 : absl::StrCat(" ", info.name, "=", info.values[word]);
  }
  return "";
}

}  // namespace

std::string FormatInstruction(const std::vector<isa::Buffer>& buffers,
                              const isa::Instruction& instruction) {
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  if (info == nullptr) return absl::StrCat("opcode ", instruction.opcode);
  std::string text(info->name);
  for (size_t i = 0; i < info->operands.size(); ++i) {
    text += FormatOperand(buffers, info->operands[i], instruction.operands[i]);
  }
  return text;
}

std::string DumpGraph(const Graph& graph) {
  std::string text = absl::StrFormat("graph: %d operations, %d tensors\n",
                                     graph.ops.size(), graph.tensors.size());
  for (const Op& op : graph.ops) {
    for (const Part& part : op.parts) {
      absl::StrAppendFormat(&text, "%-14s ", op.name);
      absl::StrAppend(&text,
                      FormatInstruction(graph.tensors, EncodePart(part)));
      if (!op.counter.empty()) {
        absl::StrAppend(&text, " -> ", op.counter,
                        op.per_kv_head ? ".<kv head>" : "");
      }
      text += '\n';
    }
  }
  return text;
}

}  // namespace mkvm::scheduler
