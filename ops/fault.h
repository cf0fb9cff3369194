// Why a run ended early: one record, written once by whoever saw it first.
// Host and device.
#ifndef MKVM_OPS_FAULT_H_
#define MKVM_OPS_FAULT_H_

#include <cstdint>

namespace mkvm::ops {

enum class FaultKind : uint32_t {
  kNone = 0,
  kCounterTimeout = 1,  // a counter wait ran out of time
  kTagTimeout = 2,      // polled data never carried this pass's tag
  kStreamTimeout = 3,   // a weight stage never arrived or was never freed
  kBadToken = 4,        // embed: `seen` is no row of the table (`wanted` rows)
  kNanScore = 5,        // advance: the best score is NaN at position `seen`
  kBadOpcode = 6,       // the interpreter has no body for the opcode
  kPastTokens = 7,      // advance: position `seen`, tokens holds `wanted`
  kPastCache = 8,       // attention: position `seen`, room for `wanted`
};

struct Fault {
  FaultKind kind;
  uint32_t worker;
  uint32_t pass;
  uint32_t pc;
  uint32_t opcode;
  // kCounterTimeout: the counter; otherwise the buffer concerned, if any.
  uint32_t what;
  // Counter values; for kTagTimeout the tags; else as said above.
  uint64_t seen;
  uint64_t wanted;
};

}  // namespace mkvm::ops

#endif  // MKVM_OPS_FAULT_H_
