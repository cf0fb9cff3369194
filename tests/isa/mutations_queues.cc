// Mutations of queues: what stands where, and how often.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "isa/opcode_table.h"
#include "tests/isa/mutation_tools.h"

namespace mkvm::isa {
namespace {

// ---- queues -----------------------------------------------------------------

void SwapEntries(Program& program, uint32_t worker, uint32_t a, uint32_t b) {
  std::swap(program.queues[worker][a], program.queues[worker][b]);
  std::swap(program.labels[worker][a], program.labels[worker][b]);
}

bool SwapNeighbours(Program& program, Random& random) {
  const uint32_t w = static_cast<uint32_t>(random.Below(program.queues.size()));
  if (program.queues[w].size() < 2) return false;
  const uint32_t pc =
      static_cast<uint32_t>(random.Below(program.queues[w].size() - 1));
  SwapEntries(program, w, pc, pc + 1);
  return true;
}

bool SwapEntriesBeforeHalt(Program& program, Random& random) {
  const uint32_t w = static_cast<uint32_t>(random.Below(program.queues.size()));
  const size_t entries = program.queues[w].size() - 1;
  if (entries < 2) return false;
  const size_t a = random.Below(entries);
  const size_t b = (a + 1 + random.Below(entries - 1)) % entries;
  SwapEntries(program, w, static_cast<uint32_t>(a), static_cast<uint32_t>(b));
  return true;
}

bool MoveInQueue(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  const Instruction i = At(program, spot);
  const std::string label = program.labels[spot.worker][spot.pc];
  Remove(program, spot);
  spot.pc =
      static_cast<uint32_t>(random.Below(program.queues[spot.worker].size()));
  Insert(program, spot, i, label);
  return true;
}

bool MoveToAnotherWorker(Program& program, Random& random) {
  Spot spot;
  if (program.queues.size() < 2) return false;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  const Instruction i = At(program, spot);
  const std::string label = program.labels[spot.worker][spot.pc];
  Remove(program, spot);
  spot.worker = static_cast<uint32_t>(
      (spot.worker + 1 + random.Below(program.queues.size() - 1)) %
      program.queues.size());
  spot.pc =
      static_cast<uint32_t>(random.Below(program.queues[spot.worker].size()));
  Insert(program, spot, i, label);
  return true;
}

bool Duplicate(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  Insert(program, spot, Instruction(At(program, spot)), "copy");
  return true;
}

bool DuplicateAndMend(Program& program, Random& random) {
  if (!Duplicate(program, random)) return false;
  MendCounters(program);
  return true;
}

bool DropInstruction(Program& program, Random& random) {
  Spot spot;
  if (!Pick(program, random, IsNoHalt, spot)) return false;
  Remove(program, spot);
  return true;
}

bool DropInstructionAndMend(Program& program, Random& random) {
  if (!DropInstruction(program, random)) return false;
  MendCounters(program);
  return true;
}

bool DropHalt(Program& program, Random& random) {
  auto w = static_cast<uint32_t>(random.Below(program.queues.size()));
  Remove(program, {w, static_cast<uint32_t>(program.queues[w].size() - 1)});
  return true;
}

bool FlipHeaderBit(Program& program, Random& random) {
  Spot spot;
  if (!Pick(
          program, random, [](const Instruction&) { return true; }, spot)) {
    return false;
  }
  unsigned char bytes[sizeof(Instruction)];
  std::memcpy(bytes, &At(program, spot), sizeof(bytes));
  // Behind the opcode, before the operands.
  const size_t bit = 16 + random.Below(48 * 8 - 16);
  bytes[bit / 8] ^= static_cast<unsigned char>(1u << (bit % 8));
  std::memcpy(&At(program, spot), bytes, sizeof(bytes));
  return true;
}

constexpr Mutation kMutations[] = {
    {"swap two neighbours", Promise::kSameResult, SwapNeighbours},
    {"swap two queue entries", Promise::kSameResult, SwapEntriesBeforeHalt},
    {"move within the queue", Promise::kSameResult, MoveInQueue},
    {"move to another worker", Promise::kSameResult, MoveToAnotherWorker},
    {"duplicate an instruction", Promise::kSameResult, Duplicate},
    {"duplicate, counters mended", Promise::kSameResult, DuplicateAndMend},
    {"drop a tile", Promise::kSameResult, DropInstruction},
    {"drop a tile, counters mended", Promise::kSameResult,
     DropInstructionAndMend},
    {"drop a halt", Promise::kSameResult, DropHalt},
    {"flip a header bit", Promise::kSameResult, FlipHeaderBit},
};

}  // namespace

absl::Span<const Mutation> QueueMutations() { return kMutations; }

}  // namespace mkvm::isa
