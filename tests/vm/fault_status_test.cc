#include "vm/fault_status.h"

#include <gtest/gtest.h>

#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

isa::Program TwoInstructions() {
  ProgramBuilder b(1);
  b.Activation("x", 4);
  b.Counter("L03.x");
  b.Add(0, "L03.wait", isa::NopOperands());
  b.Add(0, "", isa::HaltOperands());
  return b.Build();
}

Fault At(FaultKind kind, uint32_t pc, isa::Opcode opcode) {
  return {.kind = kind,
          .worker = 0,
          .pass = 7,
          .pc = pc,
          .opcode = static_cast<uint32_t>(opcode),
          .what = 0,
          .seen = 127,
          .wanted = 128};
}

TEST(FaultStatus, WordsEveryKind) {
  const isa::Program p = TwoInstructions();
  EXPECT_EQ(
      FaultStatus(p, At(FaultKind::kCounterTimeout, 0, isa::Opcode::kNop)),
      absl::DeadlineExceededError(
          "worker 0 waits in pass 7 at pc 0 (L03.wait, nop) for counter L03.x: "
          "127 seen, 128 wanted"));
  EXPECT_EQ(FaultStatus(p, At(FaultKind::kTagTimeout, 0, isa::Opcode::kNop)),
            absl::DeadlineExceededError(
                "worker 0 waits in pass 7 at pc 0 (L03.wait, nop) for buffer "
                "x: tag 127 seen, tag 128 wanted"));
  EXPECT_EQ(FaultStatus(p, At(FaultKind::kStreamTimeout, 0, isa::Opcode::kNop)),
            absl::DeadlineExceededError(
                "worker 0 waits in pass 7 at pc 0 (L03.wait, nop) for its "
                "weight stream"));
  EXPECT_EQ(FaultStatus(p, At(FaultKind::kNanScore, 1, isa::Opcode::kAdvance)),
            absl::FailedPreconditionError(
                "worker 0 stops in pass 7 at pc 1 (advance): the best score at "
                "position 127 is NaN"));
  EXPECT_EQ(
      FaultStatus(p, At(FaultKind::kPastTokens, 1, isa::Opcode::kAdvance)),
      absl::OutOfRangeError(
          "worker 0 stops in pass 7 at pc 1 (advance): position 127 is past "
          "the 128 "
          "positions of tokens; compile with a larger --max_context"));
  EXPECT_EQ(
      FaultStatus(p, At(FaultKind::kPastCache, 1, isa::Opcode::kAttention)),
      absl::OutOfRangeError(
          "worker 0 stops in pass 7 at pc 1 (attention): position 127 is past "
          "the 128 "
          "positions of the KV cache; compile with a larger --max_context"));
  EXPECT_EQ(FaultStatus(p, At(FaultKind::kBadOpcode, 0, isa::Opcode{0x77})),
            absl::FailedPreconditionError(
                "worker 0 stops in pass 7 at pc 0 (L03.wait, opcode 0x77): "
                "this machine has no body for the opcode"));
}

TEST(FaultStatus, ShowsANegativeTokenAsSuch) {
  Fault fault = At(FaultKind::kBadToken, 0, isa::Opcode::kEmbed);
  fault.seen = static_cast<uint32_t>(-5);
  EXPECT_EQ(FaultStatus(TwoInstructions(), fault),
            absl::FailedPreconditionError(
                "worker 0 stops in pass 7 at pc 0 (L03.wait, embed): token -5 "
                "is no row of the table, which has 128 rows"));
}

TEST(FaultStatus, SurvivesAGarbledRecord) {
  Fault fault = At(FaultKind::kCounterTimeout, 99, isa::Opcode::kNop);
  fault.worker = 99;
  fault.what = 99;
  EXPECT_EQ(FaultStatus(TwoInstructions(), fault),
            absl::DeadlineExceededError("worker 99 waits in pass 7 at pc 99 "
                                        "(nop) for counter #99: 127 seen, 128 "
                                        "wanted"));
  fault.kind = static_cast<FaultKind>(42);
  EXPECT_EQ(FaultStatus(TwoInstructions(), fault),
            absl::InternalError("worker 99 stops in pass 7 at pc 99 (nop): "
                                "unknown fault 42"));
}

}  // namespace
}  // namespace mkvm::vm
