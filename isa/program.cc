#include "isa/program.h"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace mkvm::isa {

uint32_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF24:
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBf16:
      return 2;
    case DType::kRanked:
      return 8;
  }
  return 0;
}

absl::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF24:
      return "f24";
    case DType::kBf16:
      return "bf16";
    case DType::kF32:
      return "f32";
    case DType::kI32:
      return "i32";
    case DType::kRanked:
      return "ranked";
  }
  return "?";
}

absl::string_view Name(BufferKind kind) {
  switch (kind) {
    case BufferKind::kWeight:
      return "weight";
    case BufferKind::kInput:
      return "input";
    case BufferKind::kActivation:
      return "activation";
    case BufferKind::kState:
      return "state";
  }
  return "?";
}

absl::string_view Name(Layout layout) {
  switch (layout) {
    case Layout::kRows:
      return "rows";
    case Layout::kPanels:
      return "panels";
  }
  return "?";
}

uint64_t NumElements(const Buffer& buffer) {
  uint64_t elements = 1;
  for (uint64_t size : buffer.shape) elements *= size;
  return elements;
}

uint64_t NumInstructions(const Program& program) {
  uint64_t instructions = 0;
  for (const auto& queue : program.queues) instructions += queue.size();
  return instructions;
}

uint32_t FindBuffer(const Program& program, absl::string_view name) {
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    if (program.buffers[i].name == name) return static_cast<uint32_t>(i);
  }
  return kNoBuffer;
}

uint32_t FindCounter(const Program& program, absl::string_view name) {
  for (size_t i = 0; i < program.counters.size(); ++i) {
    if (program.counters[i].name == name) return static_cast<uint32_t>(i);
  }
  return kNoCounter;
}

Program WithCountersOnly(Program program) {
  for (auto& queue : program.queues) {
    for (Instruction& instruction : queue) {
      instruction.tagged = 0;
      instruction.polled = 0;
      instruction.flags |= kFlagRelease;
    }
  }
  return program;
}

Program WithNops(const Program& program) {
  Program with = program;
  for (size_t w = 0; w < program.queues.size(); ++w) {
    with.queues[w].clear();
    with.labels[w].clear();
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      with.queues[w].push_back(Encode(NopOperands{}));
      with.queues[w].push_back(program.queues[w][pc]);
      with.labels[w].push_back("nop");
      with.labels[w].push_back(program.labels[w][pc]);
    }
  }
  return with;
}

}  // namespace mkvm::isa
