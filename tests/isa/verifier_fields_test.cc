// What the verifier says of one declaration or one instruction. One rule, one
// test.
#include "isa/verifier.h"

#include <cstring>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/isa/verifier_testing.h"

namespace mkvm::isa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// ---- declarations -----------------------------------------------------------

TEST(VerifierFieldsTest, BufferNameWithASpaceIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").name = "h 1";
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer number 1: error: its name is not of the form"));
}

TEST(VerifierFieldsTest, TwoBuffersOfOneNameAreRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").name = "y";
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer y: error: numbers 1 and 2 have the same name"));
}

TEST(VerifierFieldsTest, TwoCountersOfOneNameAreRejected) {
  Program program = Parse(kPipe);
  program.counters[0].name = "y";
  EXPECT_THAT(
      Errors(program),
      HasSubstr("counter y: error: numbers 0 and 1 have the same name"));
}

TEST(VerifierFieldsTest, BufferWithoutDimensionsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape.clear();
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer h: error: it has 0 dimensions, not 1 to 4"));
}

TEST(VerifierFieldsTest, BufferOfFiveDimensionsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {1, 1, 1, 1, 16};
  EXPECT_THAT(Errors(program), HasSubstr("it has 5 dimensions, not 1 to 4"));
}

TEST(VerifierFieldsTest, DimensionOfZeroIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {16, 0};
  EXPECT_THAT(Errors(program), HasSubstr("buffer h: error: a dimension is 0"));
}

TEST(VerifierFieldsTest, ShapeThatOverflowsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {uint64_t{1} << 33, uint64_t{1} << 33};
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer h: error: it has more than 2^40 elements"));
}

TEST(VerifierFieldsTest, PanelsOfAnActivationAreRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").layout = Layout::kPanels;
  EXPECT_THAT(
      Errors(program),
      HasSubstr("only a bf16 weight of 2 dimensions is kept in panels"));
}

TEST(VerifierFieldsTest, UnknownDTypeIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").dtype = static_cast<DType>(9);
  EXPECT_THAT(
      Errors(program),
      HasSubstr("buffer h: error: its dtype, kind or layout is unknown"));
}

TEST(VerifierFieldsTest, ProgramWithoutWorkersIsRejected) {
  EXPECT_THAT(Errors(Program()), HasSubstr("program: error: it has no worker"));
}

TEST(VerifierFieldsTest, LabelsOfAnotherShapeAreRejected) {
  Program program = Parse(kPipe);
  program.labels[1].pop_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("the labels do not have the shape of the queues"));
}

// ---- fields of an instruction -----------------------------------------------

TEST(VerifierFieldsTest, UnknownOpcodeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").opcode = 0x7777;
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 0, pc 0 (first, opcode 30583): error: the "
                        "opcode is unknown"));
}

TEST(VerifierFieldsTest, UnknownFlagIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").flags |= 0x80;
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 0, pc 0 (first, add): error: unknown flags"));
}

TEST(VerifierFieldsTest, FiveWaitsAreRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").num_waits = 5;
  EXPECT_THAT(Errors(program), HasSubstr("it has 5 waits, more than 4"));
}

TEST(VerifierFieldsTest, UnusedWaitThatIsNotZeroIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").waits[3].threshold = 1;
  EXPECT_THAT(Errors(program), HasSubstr("unused wait 3 is not zero"));
}

TEST(VerifierFieldsTest, LagOfAnUnusedWaitIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").lags |= 2;
  EXPECT_THAT(Errors(program),
              HasSubstr("a lag bit is set for a wait not there"));
}

TEST(VerifierFieldsTest, TagOfAnUnusedWaitIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").tagged |= 0x8000;
  EXPECT_THAT(Errors(program),
              HasSubstr("a tagged bit is set for a wait not there"));
}

TEST(VerifierFieldsTest, WaitForACounterOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").waits[0].counter = 2;
  EXPECT_THAT(Errors(program),
              HasSubstr("it waits for counter number 2, but there are 2"));
}

TEST(VerifierFieldsTest, SignalOfACounterOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").signal = 17;
  EXPECT_THAT(Errors(program),
              HasSubstr("it signals counter number 17, but there are 2"));
}

TEST(VerifierFieldsTest, UnusedOperandWordThatIsNotZeroIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[19] = 1;
  EXPECT_THAT(Errors(program), HasSubstr("unused operand word 19 is not zero"));
}

TEST(VerifierFieldsTest, BufferOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[1] = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("b is buffer number 3, but there are 3"));
}

TEST(VerifierFieldsTest, MissingBufferIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[2] = kNoBuffer;
  EXPECT_THAT(Errors(program), HasSubstr("(first, add): error: y is missing"));
}

TEST(VerifierFieldsTest, EnumWithoutANameIsRejected) {
  Program program = Parse(kDecode);
  auto op = DecodeOperands<GemvOperands>(Find(program, "head[1]"));
  op.prologue = static_cast<Prologue>(2);
  std::memcpy(Find(program, "head[1]").operands, &op, sizeof(op));
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[1], gemv): error: prologue is 2, which has no "
                        "name"));
}

TEST(VerifierFieldsTest, NanImmediateIsRejected) {
  Program program = Parse(kDecode);
  auto op = DecodeOperands<GemvOperands>(Find(program, "head[1]"));
  op.eps = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(Find(program, "head[1]").operands, &op, sizeof(op));
  EXPECT_THAT(Errors(program), HasSubstr("eps is not finite"));
}

TEST(VerifierFieldsTest, OperandOfAnotherDTypeIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "in").dtype = DType::kF32;
  EXPECT_THAT(Errors(program),
              HasSubstr("(first, add): error: a is in of dtype f32, but must "
                        "be f24"));
}

TEST(VerifierFieldsTest, OperandOfTwoDTypesNamesBoth) {
  Program program = Parse(R"(
buffer x f24 [4] input
buffer w bf16 [4, 4] weight
buffer y f24 [4] activation
worker 0
  gemv x=x w=w y=y row_begin=0 rows=4 k=4
  halt
)");
  EXPECT_EQ(Errors(program), "");
  FindBufferOf(program, "y").dtype = DType::kF32;
  EXPECT_EQ(Errors(program), "");
  FindBufferOf(program, "y").dtype = DType::kI32;
  EXPECT_THAT(Errors(program),
              HasSubstr("y is y of dtype i32, but must be f24 or f32"));
}

TEST(VerifierFieldsTest, PrefetchOfAnActivationIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("g bf16 [16] weight", "g bf16 [16] state"),
              HasSubstr("g is fetched ahead of the waits, but g is state, not "
                        "weight or input"));
}

TEST(VerifierFieldsTest, WriteToAnInputIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("y f24 [16] activation", "y f24 [16] input"),
              HasSubstr("(second, add): error: y writes y, which is input and "
                        "never written"));
}

TEST(VerifierFieldsTest, WriteToAWeightIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("y f24 [16] activation", "y f24 [16] weight"),
              HasSubstr("y writes y, which is weight and never written"));
}

TEST(VerifierFieldsTest, UpdateOfAnActivationIsRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("tokens i32 [8] state", "tokens i32 [8] activation"),
      HasSubstr("tokens updates tokens, which is activation, not "
                "state"));
}

TEST(VerifierFieldsTest, BrokenRequirementIsReportedInTheTablesWords) {
  EXPECT_THAT(ErrorsOfPipe("add a=h b=h y=y begin=0 count=16",
                           "add a=h b=h y=y begin=0 count=0"),
              HasSubstr("worker 1, pc 0 (second, add): error: count is 0"));
}

TEST(VerifierFieldsTest, ReadPastTheEndOfABufferIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("in f24 [16]", "in f24 [15]"),
              HasSubstr("(first, add): error: a covers in[0..+16), but in has "
                        "15 elements"));
}

TEST(VerifierFieldsTest, WritePastTheEndOfABufferIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("buffer y f24 [16]", "buffer y f24 [8]"),
              HasSubstr("(second, add): error: y covers y[0..+16), but y has 8 "
                        "elements"));
}

TEST(VerifierFieldsTest, RegionThatWrapsAroundIsRejected) {
  Program program = Parse(kCache);
  auto op = DecodeOperands<AttentionOperands>(Find(program, "attend"));
  // kv_head * splits * capacity * head_dim is a multiple of 2^64.
  op.kv_head = 1u << 31;
  op.splits = 1u << 31;
  FindBufferOf(program, "part").shape[1] = op.splits;
  FindBufferOf(program, "k_cache").shape = {1, 16, 8};
  std::memcpy(Find(program, "attend").operands, &op, sizeof(op));
  EXPECT_THAT(Errors(program),
              HasSubstr("k_cache covers k_cache[18446744073709551615..+128)"));
}

// ---- polled operands --------------------------------------------------------

TEST(VerifierFieldsTest, PollOfAnImmediateIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("operand 3 is polled, but is not a buffer that is "
                        "read"));
}

TEST(VerifierFieldsTest, PollOfAnOutputIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 2;
  EXPECT_THAT(Errors(program), HasSubstr("operand 2 is polled, but is not"));
}

TEST(VerifierFieldsTest, PollBeyondTheOperandsIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 31;
  EXPECT_THAT(Errors(program), HasSubstr("operand 31 is polled, but is not"));
}

TEST(VerifierFieldsTest, PollOfAnInputIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").polled = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("a is polled, but in is input f24 and carries no "
                        "tags"));
}

TEST(VerifierFieldsTest, PollOfStateIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "embed[0]").polled = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("tokens is polled, but tokens is state i32 and carries "
                        "no tags"));
}

TEST(VerifierFieldsTest, PollOfAnOperandNotGivenIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").polled |= 2;
  EXPECT_THAT(Errors(program), HasSubstr("r is polled, but not given"));
}

TEST(VerifierFieldsTest, TaggedWaitWithoutAPollIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("wait(h)", "wait(h tagged)"),
      AllOf(HasSubstr("(second, add): error: its wait for counter h is "
                      "tagged, but it polls nothing that the counter's "
                      "producers write"),
            HasSubstr("mend: poll an operand of theirs, or wait untagged")));
}

TEST(VerifierFieldsTest, TaggedWaitForAnotherCounterThanThePolledIsRejected) {
  Program program = Parse(kDecode);
  AddWait(Find(program, "advance"), FindCounter(program, "x"), 2, false, true);
  EXPECT_THAT(Errors(program),
              HasSubstr("(advance, advance): error: its wait for counter x is "
                        "tagged, but it polls nothing"));
}

TEST(VerifierFieldsTest, LaggedTaggedWaitIsRejected) {
  Program program = Parse(kDecode);
  AddWait(Find(program, "head[0]"), FindCounter(program, "x"), 2, true, true);
  EXPECT_THAT(Errors(program),
              HasSubstr("its wait for counter x is lagged and tagged"));
}

}  // namespace
}  // namespace mkvm::isa
