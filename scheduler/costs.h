// What one instruction costs: a fixed time, and a time per unit of its work.
//
// Instructions of one class cost the same per unit. A class is an opcode with
// the values of its enum operands: "gemv.rms_norm.store", "attention_merge".
// docs/target.md describes the units and how costs are measured.
#ifndef MKVM_SCHEDULER_COSTS_H_
#define MKVM_SCHEDULER_COSTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "isa/program.h"

namespace mkvm::scheduler {

// What an instruction's time may grow with.
enum class Unit : uint8_t {
  kStages = 0,     // gemv: stages of weights
  kSlabs = 1,      // gemv: slabs of the vector converted after the first
  kGroups = 2,     // gemv: groups of panels after the first
  kTurns = 3,      // attention: rounds over 32 positions for two heads
  kColdTurns = 4,  // those of them whose positions no cache holds
  kHeads = 5,      // attention, qk_norm_rope_append: q heads of the kv head
  kSplits = 6,     // attention_merge: parts merged
  kElements = 7,   // others: 256 elements
  kKilobytes = 8,  // gemv, instead of the above where there are no panels
};
inline constexpr size_t kNumUnits = 9;
absl::string_view Name(Unit unit);  // "stages", "slabs", ...

template <typename T>
using PerUnit = std::array<T, kNumUnits>;

// Levels of the quantiles in OpCost::spread.
inline constexpr std::array<double, 8> kSpreadLevels = {0,    0.05, 0.25, 0.5,
                                                        0.75, 0.95, 0.99, 1};

// Microseconds, from the moment that the operands are there to the last write.
struct OpCost {
  double fixed_us = 0;
  PerUnit<double> unit_us = {};
  // How far single instructions are off, as a part of their time (0.1: 10 %
  // longer), at kSpreadLevels; empty: not at all.
  std::vector<double> spread;
  // From the instruction's first step until its operands are there when they
  // need not be waited for; the target's load_us where not measured.
  std::optional<double> load_us;

  // Nothing is known of the work.
  bool IsFree() const {
    return fixed_us == 0 && unit_us == PerUnit<double>{} && spread.empty();
  }
};

// By class, by opcode ("gemv"), or "default".
using CostTable = std::map<std::string, OpCost>;

// What the work depends on besides the instruction.
struct WorkContext {
  uint64_t position = 0;
  bool panels = true;       // Target::panels
  bool kv_is_cold = false;  // what is read of the KV cache comes from memory
};
// The work of an instruction. REQUIRES: fields that the verifier accepts.
PerUnit<uint32_t> WorkOf(const isa::Instruction& instruction,
                         const WorkContext& context);

// Bytes of KV cache that a pass at `position` reads. What a cache holds of them
// is there in the next pass if they all fit it. REQUIRES: as above.
uint64_t KvBytesOfPass(const isa::Program& program, uint64_t position);

// Whether it reads what other instructions of the pass wrote. REQUIRES: as
// above.
bool ReadsActivations(const isa::Program& program,
                      const isa::Instruction& instruction);

// "gemv.none.add". REQUIRES: as above.
std::string ClassOf(const isa::Instruction& instruction);
// Every name that a CostTable may hold.
std::vector<std::string> CostNames();

// The entry of the class, else of its opcode, else "default", else zeros.
const OpCost& FindCost(const CostTable& costs, absl::string_view class_name);

// The time of that work, without spread.
double WorkUs(const OpCost& cost, const PerUnit<uint32_t>& work);

// The spread at `level` in [0, 1], between two quantiles on a line.
double SpreadAt(const OpCost& cost, double level);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COSTS_H_
