#include "vm/fault_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"
#include "vm/progress.h"

namespace mkvm::vm {
namespace {

// A fault record may be half garbage (that is when it is needed most), so
// every index is checked.
std::string CounterName(const isa::Program& program, uint32_t id) {
  return id < program.counters.size() ? program.counters[id].name
                                      : absl::StrCat("#", id);
}

std::string BufferName(const isa::Program& program, uint32_t id) {
  return id < program.buffers.size() ? program.buffers[id].name
                                     : absl::StrCat("#", id);
}

}  // namespace

absl::Status FaultStatus(const isa::Program& program, const Fault& fault) {
  const std::string where =
      isa::LabelAndOpcode(program, fault.worker, fault.pc, fault.opcode);
  const std::string waits =
      absl::StrFormat("worker %d waits in pass %d at pc %d (%s) for ",
                      fault.worker, fault.pass, fault.pc, where);
  const std::string stops = absl::StrFormat(
      "worker %d stops in pass %d at pc %d (%s): ", fault.worker, fault.pass,
      fault.pc, where);
  switch (fault.kind) {
    case FaultKind::kCounterTimeout:
      return absl::DeadlineExceededError(absl::StrFormat(
          "%scounter %s: %d seen, %d wanted", waits,
          CounterName(program, fault.what), fault.seen, fault.wanted));
    case FaultKind::kTagTimeout:
      return absl::DeadlineExceededError(absl::StrFormat(
          "%sbuffer %s: tag %d seen, tag %d wanted", waits,
          BufferName(program, fault.what), fault.seen, fault.wanted));
    case FaultKind::kStreamTimeout:
      return absl::DeadlineExceededError(
          absl::StrCat(waits, "its weight stream"));
    case FaultKind::kBadToken:
      return absl::FailedPreconditionError(absl::StrFormat(
          "%stoken %d is no row of the table, which has %d rows", stops,
          static_cast<int32_t>(fault.seen), fault.wanted));
    case FaultKind::kNanScore:
      return absl::FailedPreconditionError(absl::StrFormat(
          "%sthe best score at position %d is NaN", stops, fault.seen));
    case FaultKind::kBadOpcode:
      return absl::FailedPreconditionError(
          absl::StrCat(stops, "this machine has no body for the opcode"));
    case FaultKind::kPastTokens:
      return absl::OutOfRangeError(absl::StrFormat(
          "%sposition %d is past the %d positions of tokens; compile with a "
          "larger --max_context",
          stops, fault.seen, fault.wanted));
    case FaultKind::kPastCache:
      return absl::OutOfRangeError(absl::StrFormat(
          "%sposition %d is past the %d positions of the KV cache; compile "
          "with a larger --max_context",
          stops, fault.seen, fault.wanted));
    case FaultKind::kNone:
      break;
  }
  return absl::InternalError(absl::StrFormat(
      "%sunknown fault %d", stops, static_cast<uint32_t>(fault.kind)));
}

}  // namespace mkvm::vm
