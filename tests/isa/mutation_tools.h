// What the mutations have in common.
#ifndef MKVM_TESTS_ISA_MUTATION_TOOLS_H_
#define MKVM_TESTS_ISA_MUTATION_TOOLS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "isa/program.h"
#include "tests/isa/mutations.h"

namespace mkvm::isa {

// The parts of AllMutations().
absl::Span<const Mutation> EdgeMutations();
absl::Span<const Mutation> QueueMutations();
absl::Span<const Mutation> OperandMutations();

struct Spot {
  uint32_t worker;
  uint32_t pc;
};

inline Instruction& At(Program& program, Spot spot) {
  return program.queues[spot.worker][spot.pc];
}

// A random instruction for which `fits` holds.
template <typename Fits>
bool Pick(Program& program, Random& random, Fits fits, Spot& spot) {
  std::vector<Spot> spots;
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (fits(program.queues[w][pc])) spots.push_back({w, pc});
    }
  }
  if (spots.empty()) return false;
  spot = spots[random.Below(spots.size())];
  return true;
}

inline bool HasWaits(const Instruction& i) { return i.num_waits > 0; }
inline bool Signals(const Instruction& i) { return i.signal != kNoCounter; }
inline bool IsNoHalt(const Instruction& i) {
  return i.opcode != static_cast<uint16_t>(Opcode::kHalt);
}

inline void Remove(Program& program, Spot spot) {
  auto& queue = program.queues[spot.worker];
  queue.erase(queue.begin() + spot.pc);
  auto& labels = program.labels[spot.worker];
  labels.erase(labels.begin() + spot.pc);
}

inline void Insert(Program& program, Spot spot, const Instruction& instruction,
                   const std::string& label) {
  auto& queue = program.queues[spot.worker];
  queue.insert(queue.begin() + spot.pc, instruction);
  auto& labels = program.labels[spot.worker];
  labels.insert(labels.begin() + spot.pc, label);
}

// Makes producers the signals found, and thresholds the producers.
inline void MendCounters(Program& program) {
  for (Counter& counter : program.counters) counter.producers = 0;
  for (const auto& queue : program.queues) {
    for (const Instruction& i : queue) {
      if (Signals(i)) ++program.counters[i.signal].producers;
    }
  }
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) {
      for (int k = 0; k < i.num_waits; ++k) {
        i.waits[k].threshold = program.counters[i.waits[k].counter].producers;
      }
    }
  }
}

}  // namespace mkvm::isa

#endif  // MKVM_TESTS_ISA_MUTATION_TOOLS_H_
