// Why a run ended early: one record, written once by whoever saw it first.
// Host and device.
#ifndef MKVM_VM_FAULT_H_
#define MKVM_VM_FAULT_H_

#include <cstdint>

namespace mkvm::vm {

enum class FaultKind : uint32_t {
  kNone = 0,
  kCounterTimeout = 1,  // a counter wait ran out of time
  kTagTimeout = 2,      // polled data never carried this pass's tag
  kStreamTimeout = 3,   // a weight stage never arrived or was never freed
  kBadToken = 4,        // embed: `seen` is no row of the table (`wanted` rows)
  kNanScore = 5,        // advance: the best score is NaN
  kBadOpcode = 6,       // the interpreter has no body for the opcode
};

struct Fault {
  FaultKind kind;
  uint32_t worker;
  uint32_t pass;
  uint32_t pc;
  uint32_t opcode;
  // kCounterTimeout: the counter; kTagTimeout: the buffer. Else unused.
  uint32_t what;
  // Counter values; for kTagTimeout the tags; for kBadToken token and rows.
  uint64_t seen;
  uint64_t wanted;
};

}  // namespace mkvm::vm

#endif  // MKVM_VM_FAULT_H_
