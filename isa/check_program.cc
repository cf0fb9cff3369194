#include "isa/check_program.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

// What is wrong, or "".
std::string CheckCounters(const Program& program,
                          const Instruction& instruction) {
  if (instruction.num_waits > kMaxWaits) {
    return absl::StrCat("has ", instruction.num_waits, " waits, at most ",
                        kMaxWaits, " fit");
  }
  for (int i = 0; i < instruction.num_waits; ++i) {
    if (instruction.waits[i].counter >= program.counters.size()) {
      return absl::StrCat("waits for counter #", instruction.waits[i].counter,
                          ", which doesn't exist");
    }
  }
  if (instruction.signal != kNoCounter &&
      instruction.signal >= program.counters.size()) {
    return absl::StrCat("signals counter #", instruction.signal,
                        ", which doesn't exist");
  }
  return "";
}

std::string CheckOperands(const Program& program,
                          const Instruction& instruction,
                          const OpcodeInfo& info) {
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const OperandInfo& operand = info.operands[i];
    const uint32_t id = instruction.operands[i];
    if (operand.kind == OperandKind::kEnum && id >= operand.values.size()) {
      return absl::StrFormat("operand %s is %d, which has no name",
                             operand.name, id);
    }
    if (operand.kind != OperandKind::kBuffer) continue;
    if (id == kNoBuffer && operand.optional) continue;
    if (id >= program.buffers.size()) {
      return absl::StrFormat("operand %s is buffer #%d, which doesn't exist",
                             operand.name, id);
    }
    const Buffer& buffer = program.buffers[id];
    if ((operand.dtypes >> static_cast<int>(buffer.dtype) & 1) == 0) {
      return absl::StrFormat("operand %s can't be %s, which is %s",
                             operand.name, buffer.name, Name(buffer.dtype));
    }
    const bool writes = operand.access == AccessKind::kWrite ||
                        operand.access == AccessKind::kUpdate;
    if (writes && (buffer.kind == BufferKind::kWeight ||
                   buffer.kind == BufferKind::kInput)) {
      return absl::StrFormat("operand %s writes %s %s", operand.name,
                             Name(buffer.kind), buffer.name);
    }
  }
  std::vector<absl::string_view> broken;
  AppendBrokenRequirements(program, instruction, broken);
  return broken.empty() ? "" : std::string(broken.front());
}

std::string CheckBounds(const Program& program,
                        const Instruction& instruction) {
  std::vector<Access> accesses;
  AppendAccesses(program, instruction, accesses);
  for (const Access& access : accesses) {
    const Buffer& buffer = program.buffers[access.buffer];
    const uint64_t elements = NumElements(buffer);
    if (access.begin <= elements && access.count <= elements - access.begin) {
      continue;
    }
    return absl::StrFormat("%d elements of %s from %d on go past its %d",
                           access.count, buffer.name, access.begin, elements);
  }
  return "";
}

std::string CheckInstruction(const Program& program,
                             const Instruction& instruction) {
  const OpcodeInfo* info = FindOpcode(instruction.opcode);
  if (info == nullptr) return "unknown opcode";
  std::string wrong = CheckCounters(program, instruction);
  if (wrong.empty()) wrong = CheckOperands(program, instruction, *info);
  if (wrong.empty()) wrong = CheckBounds(program, instruction);
  return wrong;
}

}  // namespace

absl::Status CheckRunnable(const Program& program) {
  if (program.queues.empty()) {
    return absl::InvalidArgumentError("the program has no workers");
  }
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    const std::vector<Instruction>& queue = program.queues[w];
    if (queue.empty() ||
        queue.back().opcode != static_cast<uint16_t>(Opcode::kHalt)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the queue of worker %d doesn't end with halt", w));
    }
    for (uint32_t pc = 0; pc < queue.size(); ++pc) {
      const std::string wrong = CheckInstruction(program, queue[pc]);
      if (wrong.empty()) continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "worker %d, pc %d (%s): %s", w, pc,
          LabelAndOpcode(program, w, pc, queue[pc].opcode), wrong));
    }
  }
  return absl::OkStatus();
}

}  // namespace mkvm::isa
