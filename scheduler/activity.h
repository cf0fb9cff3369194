// At which positions instructions read and write (a split of attention from its
// first one on), and who writes what others leave out: attention's split 0 what
// merges would, while it works alone.
#ifndef MKVM_SCHEDULER_ACTIVITY_H_
#define MKVM_SCHEDULER_ACTIVITY_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "isa/opcode_table.h"
#include "isa/program.h"

namespace mkvm::scheduler {

// Positions [first, end), tokens.
struct Positions {
  uint64_t first = 0;
  uint64_t end = isa::Access::kNoEnd;

  bool Contains(uint64_t position) const {
    return position >= first && position < end;
  }
};

// From the first to the last position at which the instruction reads or writes
// anything but weights; all of them if it never does.
Positions ActivePositions(const isa::Program& program,
                          const isa::Instruction& instruction);

// The writers of a program's buffers, by the counters that they signal.
class Writers {
 public:
  // The arguments outlive this.
  explicit Writers(const isa::Program& program);

  struct StandIn {
    uint32_t counter;
    Positions positions;  // at which its producer writes
  };
  // Whose data a tagged wait for `counter` is for where all of the counter's
  // producers are idle: those that write what the instruction reads in a buffer
  // in which the counter's producers write. Empty when one is never idle.
  std::vector<StandIn> StandInsOf(const isa::Instruction& instruction,
                                  uint32_t counter) const;

 private:
  struct Write {
    uint32_t counter;
    uint64_t begin, end;  // elements
    Positions positions;
  };

  const isa::Program& program_;
  absl::flat_hash_map<uint32_t, std::vector<Write>> writes_;  // by buffer
  std::vector<bool> always_active_;  // counters with such a producer
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_ACTIVITY_H_
