#include "scheduler/activity.h"

#include <algorithm>

namespace mkvm::scheduler {
namespace {

using isa::Access;
using isa::AccessKind;

bool Writes(const Access& access) {
  return access.kind == AccessKind::kWrite ||
         access.kind == AccessKind::kUpdate;
}

bool Reads(const Access& access) {
  return access.kind == AccessKind::kRead || access.kind == AccessKind::kUpdate;
}

std::vector<Access> AccessesOf(const isa::Program& program,
                               const isa::Instruction& instruction) {
  std::vector<Access> accesses;
  isa::AppendAccesses(program, instruction, accesses);
  return accesses;
}

}  // namespace

Positions ActivePositions(const isa::Program& program,
                          const isa::Instruction& instruction) {
  Positions hull = {.first = Access::kNoEnd, .end = 0};
  for (const Access& access : AccessesOf(program, instruction)) {
    if (access.kind == AccessKind::kWeight) continue;
    hull.first = std::min(hull.first, access.first_position);
    hull.end = std::max(hull.end, access.end_position);
  }
  return hull.first < hull.end ? hull : Positions();
}

Writers::Writers(const isa::Program& program)
    : program_(program), always_active_(program.counters.size(), false) {
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      if (instruction.signal == isa::kNoCounter) continue;
      const Positions active = ActivePositions(program, instruction);
      if (active.first == 0 && active.end == Access::kNoEnd) {
        always_active_[instruction.signal] = true;
      }
      for (const Access& a : AccessesOf(program, instruction)) {
        if (!Writes(a)) continue;
        writes_[a.buffer].push_back({instruction.signal,
                                     a.begin,
                                     a.begin + a.count,
                                     {a.first_position, a.end_position}});
      }
    }
  }
}

std::vector<Writers::StandIn> Writers::StandInsOf(
    const isa::Instruction& instruction, uint32_t counter) const {
  std::vector<StandIn> stand_ins;
  if (always_active_[counter]) return stand_ins;
  for (const Access& a : AccessesOf(program_, instruction)) {
    const auto writes = writes_.find(a.buffer);
    if (!Reads(a) || writes == writes_.end()) continue;
    const bool of_counter = std::any_of(
        writes->second.begin(), writes->second.end(),
        [&](const Write& write) { return write.counter == counter; });
    if (!of_counter) continue;
    for (const Write& write : writes->second) {
      if (write.counter == counter || write.begin >= a.begin + a.count ||
          a.begin >= write.end) {
        continue;
      }
      stand_ins.push_back({write.counter, write.positions});
    }
  }
  return stand_ins;
}

}  // namespace mkvm::scheduler
