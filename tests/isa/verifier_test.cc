// One rule, one test: the program that breaks it, and what the verifier says.
#include "isa/verifier.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "isa/opcode_table.h"

namespace mkvm::isa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A whole decode loop on two workers: embed, a norm and a head, argmax,
// advance. Activations travel as tagged data, the token by release.
constexpr char kDecode[] = R"(
program decode
buffer tokens i32 [8] state
buffer run i32 [2] input
buffer eos i32 [1] input
buffer table bf16 [32, 16] weight
buffer g bf16 [16] weight
buffer w bf16 [32, 16] weight layout=panels
buffer x f24 [16] activation
buffer best ranked [2] activation
buffer token ranked [1] activation
buffer stop i32 [1] state
counter x
counter best
counter token
counter advanced
worker 0
  embed[0]: embed tokens=tokens table=table y=x begin=0 count=8 signal(x relaxed)
  head[0]: gemv x=x w=w g=g best=best row_begin=0 rows=16 k=16 slot=0 eps=0.5 prologue=rms_norm epilogue=argmax wait(x tagged) polled(x) signal(best relaxed)
  argmax: argmax x=best y=token n=2 wait(best tagged) polled(x) signal(token relaxed)
  advance: advance best=token run=run eos=eos tokens=tokens stop=stop wait(token tagged) polled(best) signal(advanced)
  halt[0]: halt stop=stop wait(advanced)
worker 1
  embed[1]: embed tokens=tokens table=table y=x begin=8 count=8 signal(x relaxed)
  head[1]: gemv x=x w=w g=g best=best row_begin=16 rows=16 k=16 slot=1 eps=0.5 prologue=rms_norm epilogue=argmax wait(x tagged) polled(x) signal(best relaxed)
  halt[1]: halt stop=stop wait(advanced)
)";

// A pipe over two workers without a stop: `first` writes h, `second` reads it;
// the lagged wait lets `first` overwrite h only then.
constexpr char kPipe[] = R"(
program pipe
buffer in f24 [16] input
buffer h f24 [16] activation
buffer y f24 [16] activation
counter h
counter y
worker 0
  first: add a=in b=in y=h begin=0 count=16 wait(y lag) signal(h)
  halt
worker 1
  second: add a=h b=h y=y begin=0 count=16 wait(h) signal(y)
  halt
)";

// State handed from worker to worker: one appends to the caches, another
// attends to them. Counters only.
constexpr char kCache[] = R"(
program cache
buffer q f24 [8] input
buffer k f24 [8] input
buffer v f24 [8] input
buffer norm bf16 [8] weight
buffer rope f32 [16, 8] weight
buffer k_cache bf16 [1, 16, 8] state
buffer v_cache bf16 [1, 16, 8] state
buffer q_out f24 [8] activation
buffer part f24 [1, 1, 1, 12] activation
counter append
counter part
worker 0
  append: qk_norm_rope_append q=q k=k v=v q_norm=norm k_norm=norm rope=rope k_cache=k_cache v_cache=v_cache q_out=q_out kv_head=0 group=1 head_dim=8 splits=1 block=8 eps=0.5 wait(part lag) signal(append)
  halt
worker 1
  attend: attention q=q_out k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=0 splits=1 block=8 wait(append) signal(part)
  halt
)";

std::string Replace(std::string text, const std::string& from,
                    const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << "no " << from;
  if (at == std::string::npos) return text;
  EXPECT_EQ(text.find(from, at + 1), std::string::npos) << "two " << from;
  return text.replace(at, from.size(), to);
}

Program Parse(const std::string& text) {
  absl::StatusOr<Program> program = Assemble(text);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *std::move(program) : Program();
}

std::string Errors(const Program& program) {
  std::string errors;
  for (const Diagnostic& d : Verify(program)) {
    absl::StrAppend(&errors, d.message, "\n");
  }
  return errors;
}

std::string Errors(const std::string& text) { return Errors(Parse(text)); }

// kDecode with one place of its text replaced.
std::string ErrorsOfDecode(const std::string& from, const std::string& to) {
  return Errors(Replace(kDecode, from, to));
}
std::string ErrorsOfPipe(const std::string& from, const std::string& to) {
  return Errors(Replace(kPipe, from, to));
}

Instruction& Find(Program& program, const std::string& label) {
  for (size_t w = 0; w < program.queues.size(); ++w) {
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (program.labels[w][pc] == label) return program.queues[w][pc];
    }
  }
  ADD_FAILURE() << "no instruction " << label;
  return program.queues[0][0];
}

Buffer& FindBufferOf(Program& program, const std::string& name) {
  return program.buffers[FindBuffer(program, name)];
}

// ---- what is valid ----------------------------------------------------------

TEST(VerifierTest, DecodeLoopIsProven) {
  EXPECT_EQ(Errors(kDecode), "");
  EXPECT_TRUE(VerifyStatus(Parse(kDecode)).ok());
}

TEST(VerifierTest, DecodeLoopWithCountersOnlyIsProven) {
  EXPECT_EQ(Errors(WithCountersOnly(Parse(kDecode))), "");
}

TEST(VerifierTest, PipeIsProven) { EXPECT_EQ(Errors(kPipe), ""); }

TEST(VerifierTest, CacheHandedOverIsProven) { EXPECT_EQ(Errors(kCache), ""); }

TEST(VerifierTest, LabelsMayBeLeftOut) {
  Program program = Parse(kPipe);
  program.labels.clear();
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, PolledReadMayWaitUntaggedToo) {
  EXPECT_EQ(ErrorsOfDecode("wait(best tagged)", "wait(best)"), "");
}

TEST(VerifierTest, WaitImpliedByOthersMayBeLeftOut) {
  // Both halts follow advance, so embed need not wait for it again.
  Program program = Parse(kDecode);
  const uint32_t advanced = FindCounter(program, "advanced");
  AddWait(Find(program, "embed[0]"), advanced, 1, /*lag=*/true);
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, StopMayBeAnActivation) {
  EXPECT_EQ(ErrorsOfDecode("stop i32 [1] state", "stop i32 [1] activation"),
            "");
}

TEST(VerifierTest, OneWorkerNeedsNoCounters) {
  EXPECT_EQ(Errors(R"(
buffer in f24 [4] input
buffer h f24 [4] activation
buffer y f24 [4] activation
worker 0
  add a=in b=in y=h begin=0 count=4
  add a=h b=in y=y begin=0 count=4
  halt
)"),
            "");
}

// ---- declarations -----------------------------------------------------------

TEST(VerifierTest, BufferNameWithASpaceIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").name = "h 1";
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer number 1: error: its name is not of the form"));
}

TEST(VerifierTest, TwoBuffersOfOneNameAreRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").name = "y";
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer y: error: numbers 1 and 2 have the same name"));
}

TEST(VerifierTest, TwoCountersOfOneNameAreRejected) {
  Program program = Parse(kPipe);
  program.counters[0].name = "y";
  EXPECT_THAT(
      Errors(program),
      HasSubstr("counter y: error: numbers 0 and 1 have the same name"));
}

TEST(VerifierTest, BufferWithoutDimensionsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape.clear();
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer h: error: it has 0 dimensions, not 1 to 4"));
}

TEST(VerifierTest, BufferOfFiveDimensionsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {1, 1, 1, 1, 16};
  EXPECT_THAT(Errors(program), HasSubstr("it has 5 dimensions, not 1 to 4"));
}

TEST(VerifierTest, DimensionOfZeroIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {16, 0};
  EXPECT_THAT(Errors(program), HasSubstr("buffer h: error: a dimension is 0"));
}

TEST(VerifierTest, ShapeThatOverflowsIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").shape = {uint64_t{1} << 33, uint64_t{1} << 33};
  EXPECT_THAT(Errors(program),
              HasSubstr("buffer h: error: it has more than 2^40 elements"));
}

TEST(VerifierTest, PanelsOfAnActivationAreRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").layout = Layout::kPanels;
  EXPECT_THAT(
      Errors(program),
      HasSubstr("only a bf16 weight of 2 dimensions is kept in panels"));
}

TEST(VerifierTest, UnknownDTypeIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "h").dtype = static_cast<DType>(9);
  EXPECT_THAT(
      Errors(program),
      HasSubstr("buffer h: error: its dtype, kind or layout is unknown"));
}

TEST(VerifierTest, ProgramWithoutWorkersIsRejected) {
  EXPECT_THAT(Errors(Program()), HasSubstr("program: error: it has no worker"));
}

TEST(VerifierTest, LabelsOfAnotherShapeAreRejected) {
  Program program = Parse(kPipe);
  program.labels[1].pop_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("the labels do not have the shape of the queues"));
}

// ---- fields of an instruction -----------------------------------------------

TEST(VerifierTest, UnknownOpcodeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").opcode = 0x7777;
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 0, pc 0 (first, opcode 30583): error: the "
                        "opcode is unknown"));
}

TEST(VerifierTest, UnknownFlagIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").flags |= 0x80;
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 0, pc 0 (first, add): error: unknown flags"));
}

TEST(VerifierTest, FiveWaitsAreRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").num_waits = 5;
  EXPECT_THAT(Errors(program), HasSubstr("it has 5 waits, more than 4"));
}

TEST(VerifierTest, UnusedWaitThatIsNotZeroIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").waits[3].threshold = 1;
  EXPECT_THAT(Errors(program), HasSubstr("unused wait 3 is not zero"));
}

TEST(VerifierTest, LagOfAnUnusedWaitIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").lags |= 2;
  EXPECT_THAT(Errors(program),
              HasSubstr("a lag bit is set for a wait not there"));
}

TEST(VerifierTest, TagOfAnUnusedWaitIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").tagged |= 0x8000;
  EXPECT_THAT(Errors(program),
              HasSubstr("a tagged bit is set for a wait not there"));
}

TEST(VerifierTest, WaitForACounterOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").waits[0].counter = 2;
  EXPECT_THAT(Errors(program),
              HasSubstr("it waits for counter number 2, but there are 2"));
}

TEST(VerifierTest, SignalOfACounterOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").signal = 17;
  EXPECT_THAT(Errors(program),
              HasSubstr("it signals counter number 17, but there are 2"));
}

TEST(VerifierTest, UnusedOperandWordThatIsNotZeroIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[19] = 1;
  EXPECT_THAT(Errors(program), HasSubstr("unused operand word 19 is not zero"));
}

TEST(VerifierTest, BufferOutOfRangeIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[1] = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("b is buffer number 3, but there are 3"));
}

TEST(VerifierTest, MissingBufferIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").operands[2] = kNoBuffer;
  EXPECT_THAT(Errors(program), HasSubstr("(first, add): error: y is missing"));
}

TEST(VerifierTest, EnumWithoutANameIsRejected) {
  Program program = Parse(kDecode);
  auto op = DecodeOperands<GemvOperands>(Find(program, "head[1]"));
  op.prologue = static_cast<Prologue>(2);
  std::memcpy(Find(program, "head[1]").operands, &op, sizeof(op));
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[1], gemv): error: prologue is 2, which has no "
                        "name"));
}

TEST(VerifierTest, NanImmediateIsRejected) {
  Program program = Parse(kDecode);
  auto op = DecodeOperands<GemvOperands>(Find(program, "head[1]"));
  op.eps = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(Find(program, "head[1]").operands, &op, sizeof(op));
  EXPECT_THAT(Errors(program), HasSubstr("eps is not finite"));
}

TEST(VerifierTest, OperandOfAnotherDTypeIsRejected) {
  Program program = Parse(kPipe);
  FindBufferOf(program, "in").dtype = DType::kF32;
  EXPECT_THAT(Errors(program),
              HasSubstr("(first, add): error: a is in of dtype f32, but must "
                        "be f24"));
}

TEST(VerifierTest, OperandOfTwoDTypesNamesBoth) {
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

TEST(VerifierTest, PrefetchOfAnActivationIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("g bf16 [16] weight", "g bf16 [16] state"),
              HasSubstr("g is fetched ahead of the waits, but g is state, not "
                        "weight or input"));
}

TEST(VerifierTest, WriteToAnInputIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("y f24 [16] activation", "y f24 [16] input"),
              HasSubstr("(second, add): error: y writes y, which is input and "
                        "never written"));
}

TEST(VerifierTest, WriteToAWeightIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("y f24 [16] activation", "y f24 [16] weight"),
              HasSubstr("y writes y, which is weight and never written"));
}

TEST(VerifierTest, UpdateOfAnActivationIsRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("tokens i32 [8] state", "tokens i32 [8] activation"),
      HasSubstr("tokens updates tokens, which is activation, not "
                "state"));
}

TEST(VerifierTest, BrokenRequirementIsReportedInTheTablesWords) {
  EXPECT_THAT(ErrorsOfPipe("add a=h b=h y=y begin=0 count=16",
                           "add a=h b=h y=y begin=0 count=0"),
              HasSubstr("worker 1, pc 0 (second, add): error: count is 0"));
}

TEST(VerifierTest, ReadPastTheEndOfABufferIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("in f24 [16]", "in f24 [15]"),
              HasSubstr("(first, add): error: a covers in[0..+16), but in has "
                        "15 elements"));
}

TEST(VerifierTest, WritePastTheEndOfABufferIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("buffer y f24 [16]", "buffer y f24 [8]"),
              HasSubstr("(second, add): error: y covers y[0..+16), but y has 8 "
                        "elements"));
}

TEST(VerifierTest, RegionThatWrapsAroundIsRejected) {
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

TEST(VerifierTest, PollOfAnImmediateIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("operand 3 is polled, but is not a buffer that is "
                        "read"));
}

TEST(VerifierTest, PollOfAnOutputIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 2;
  EXPECT_THAT(Errors(program), HasSubstr("operand 2 is polled, but is not"));
}

TEST(VerifierTest, PollBeyondTheOperandsIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "second").polled = 1u << 31;
  EXPECT_THAT(Errors(program), HasSubstr("operand 31 is polled, but is not"));
}

TEST(VerifierTest, PollOfAnInputIsRejected) {
  Program program = Parse(kPipe);
  Find(program, "first").polled = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("a is polled, but in is input f24 and carries no "
                        "tags"));
}

TEST(VerifierTest, PollOfStateIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "embed[0]").polled = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("tokens is polled, but tokens is state i32 and carries "
                        "no tags"));
}

TEST(VerifierTest, PollOfAnOperandNotGivenIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").polled |= 2;
  EXPECT_THAT(Errors(program), HasSubstr("r is polled, but not given"));
}

TEST(VerifierTest, TaggedWaitWithoutAPollIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("wait(h)", "wait(h tagged)"),
      AllOf(HasSubstr("(second, add): error: its wait for counter h is "
                      "tagged, but it polls nothing that the counter's "
                      "producers write"),
            HasSubstr("mend: poll an operand of theirs, or wait untagged")));
}

TEST(VerifierTest, TaggedWaitForAnotherCounterThanThePolledIsRejected) {
  Program program = Parse(kDecode);
  AddWait(Find(program, "advance"), FindCounter(program, "x"), 2, false, true);
  EXPECT_THAT(Errors(program),
              HasSubstr("(advance, advance): error: its wait for counter x is "
                        "tagged, but it polls nothing"));
}

TEST(VerifierTest, LaggedTaggedWaitIsRejected) {
  Program program = Parse(kDecode);
  AddWait(Find(program, "head[0]"), FindCounter(program, "x"), 2, true, true);
  EXPECT_THAT(Errors(program),
              HasSubstr("its wait for counter x is lagged and tagged"));
}

// ---- queues and counters ----------------------------------------------------

TEST(VerifierTest, EmptyQueueIsRejected) {
  Program program = Parse(kPipe);
  program.queues.emplace_back();
  program.labels.emplace_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 2: error: its queue is empty"));
}

TEST(VerifierTest, QueueWithoutHaltIsRejected) {
  Program program = Parse(kPipe);
  program.queues[1].pop_back();
  program.labels[1].pop_back();
  EXPECT_THAT(Errors(program),
              HasSubstr("worker 1, pc 0 (second, add): error: the queue does "
                        "not end with halt"));
}

TEST(VerifierTest, HaltInTheMiddleIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("  second:", "  early: halt\n  second:"),
              HasSubstr("worker 1, pc 0 (early, halt): error: halt is not the "
                        "last of its queue"));
}

TEST(VerifierTest, HaltsThatReadDifferentStopsAreRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("halt[1]: halt stop=stop", "halt[1]: halt"),
      AllOf(HasSubstr("worker 1, pc 2 (halt[1], halt): error: this halt and "
                      "another do not read the same stop"),
            HasSubstr("note: the other is worker 0, pc 4 (halt[0], halt)")));
}

TEST(VerifierTest, StopThatNobodyWritesIsRejected) {
  Program program = Parse(kPipe);
  program.buffers.push_back(
      {"stop", DType::kI32, BufferKind::kState, Layout::kRows, {1}});
  for (auto& queue : program.queues) queue.back().operands[0] = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("it reads stop, but no advance writes it"));
}

TEST(VerifierTest, HaltThatReadsStopBeforeAdvanceIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("halt[1]: halt stop=stop wait(advanced)",
                             "halt[1]: halt stop=stop"),
              HasSubstr("(halt[1], halt): error: reads stop"));
}

TEST(VerifierTest, HaltOrderedBeforeAdvanceIsRejected) {
  // Ordered, so no race, but this worker would leave one pass later.
  std::string text = Replace(kDecode, "halt[1]: halt stop=stop wait(advanced)",
                             "halt[1]: halt stop=stop wait(advanced lag) "
                             "signal(halted)");
  text = Replace(text, "wait(token tagged)", "wait(token tagged, halted)");
  text = Replace(text, "counter advanced", "counter advanced\ncounter halted");
  EXPECT_THAT(Errors(text), HasSubstr("workers may leave in different passes"));
}

TEST(VerifierTest, ProducersThatAreNotTheSignalsFoundAreRejected) {
  Program program = Parse(kDecode);
  program.counters[FindCounter(program, "x")].producers = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("counter x: error: it declares 3 producers, but 2 "
                        "instructions signal it"));
}

TEST(VerifierTest, LostSignalIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "embed[1]").signal = kNoCounter;
  EXPECT_THAT(Errors(program),
              HasSubstr("counter x: error: it declares 2 producers, but 1 "
                        "instructions signal it"));
}

TEST(VerifierTest, WaitForACounterThatNobodySignalsIsRejected) {
  Program program = Parse(kPipe);
  program.counters.push_back({"idle", 0});
  AddWait(Find(program, "first"), 2, 0);
  EXPECT_THAT(Errors(program),
              HasSubstr("(first, add): error: it waits for counter idle, which "
                        "nobody signals"));
}

TEST(VerifierTest, ThresholdBelowTheProducersIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").waits[0].threshold = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[0], gemv): error: it waits for counter x to "
                        "reach 1, but the counter has 2 producers"));
}

TEST(VerifierTest, ThresholdAboveTheProducersIsRejected) {
  Program program = Parse(kDecode);
  Find(program, "head[0]").waits[0].threshold = 3;
  EXPECT_THAT(Errors(program),
              HasSubstr("to reach 3, but the counter has 2 producers"));
}

// ---- budgets ----------------------------------------------------------------

TEST(VerifierTest, StageTooSmallForAPanelIsRejected) {
  Program program = Parse(kDecode);
  program.target.stage_bytes = 511;
  EXPECT_THAT(Errors(program),
              HasSubstr("(head[0], gemv): error: its weights come in stages of "
                        "512 bytes, but the target's hold 511"));
  program.target.stage_bytes = 512;
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, OneStageIsRejected) {
  Program program = Parse(kDecode);
  program.target.stages = 1;
  EXPECT_THAT(Errors(program),
              HasSubstr("a weight stream needs at least 2 stages, but the "
                        "target has 1"));
}

TEST(VerifierTest, StagesBeyondSharedMemoryAreRejected) {
  Program program = Parse(kDecode);
  program.target.shared_memory_bytes = 4 * kStageBytes + 4095;
  EXPECT_THAT(Errors(program),
              HasSubstr("do not fit its 69631 bytes of shared memory"));
  program.target.shared_memory_bytes = 4 * kStageBytes + 4096;
  EXPECT_EQ(Errors(program), "");
}

TEST(VerifierTest, StagesDoNotMatterWithoutAStream) {
  Program program = Parse(kPipe);
  program.target.stages = 0;
  EXPECT_EQ(Errors(program), "");
}

// ---- coverage ---------------------------------------------------------------

TEST(VerifierTest, ReadOfAnElementNotWrittenIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=8 count=8", "y=x begin=8 count=6"),
              AllOf(HasSubstr("worker 0, pc 1 (head[0], gemv): error: reads "
                              "x[0..16), but x[14..16) is not written in this "
                              "pass"),
                    HasSubstr("note: 1 more instructions read the same")));
}

TEST(VerifierTest, GapBetweenTilesIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=0 count=8", "y=x begin=0 count=7"),
              HasSubstr("but x[7..8) is not written in this pass"));
}

TEST(VerifierTest, ElementWrittenTwiceIsRejected) {
  EXPECT_THAT(
      ErrorsOfDecode("y=x begin=8 count=8", "y=x begin=7 count=9"),
      AllOf(HasSubstr("worker 1, pc 0 (embed[1], embed): error: writes "
                      "x[7..16), but x[7..8) is written twice in a pass"),
            HasSubstr("note: the other write of x[0..8) is by worker 0, pc 0 "
                      "(embed[0], embed)")));
}

TEST(VerifierTest, WriteInsideAnotherIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("y=x begin=0 count=8", "y=x begin=0 count=16"),
              HasSubstr("writes x[8..16), but x[8..16) is written twice"));
}

TEST(VerifierTest, OutputNotWrittenToItsEndIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("buffer y f24 [16]", "buffer y f24 [17]"),
              HasSubstr("buffer y: error: y[16..17) is not written, but every "
                        "element of an activation is written in every pass"));
}

TEST(VerifierTest, ActivationThatNobodyWritesIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("counter h",
                           "buffer z f24 [4] activation\n"
                           "counter h"),
              HasSubstr("buffer z: error: z[0..4) is not written"));
}

TEST(VerifierTest, OutputOverItsOwnInputIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("add a=h b=h y=y", "add a=h b=y y=y"),
              HasSubstr("(second, add): error: its operands b and y overlap in "
                        "y[0..16)"));
}

TEST(VerifierTest, OneCacheForKeysAndValuesIsRejected) {
  EXPECT_THAT(Errors(Replace(kCache, "q=q_out k_cache=k_cache v_cache=v_cache",
                             "q=q_out k_cache=k_cache v_cache=k_cache")),
              HasSubstr("(attend, attention): error: its operands k_cache and "
                        "v_cache overlap in k_cache[0..128)"));
}

// ---- order ------------------------------------------------------------------

TEST(VerifierTest, ReadWithoutAWaitForItsWriterIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe(" wait(h)", ""),
      AllOf(HasSubstr("worker 1, pc 0 (second, add): error: reads h[0..16), "
                      "but nothing orders it after the write of h[0..16)"),
            HasSubstr("note: h[0..16) is written by worker 0, pc 0 (first, "
                      "add)"),
            HasSubstr("mend: wait for counter h, which that instruction "
                      "signals")));
}

TEST(VerifierTest, WaitForThePassBeforeDoesNotOrderThisPass) {
  EXPECT_THAT(ErrorsOfPipe("wait(h)", "wait(h lag)"),
              HasSubstr("(second, add): error: reads h[0..16), but nothing "
                        "orders it after the write"));
}

TEST(VerifierTest, WriterThatSignalsNothingIsToldSo) {
  std::string text = Replace(kPipe, " wait(h)", "");
  text = Replace(text, " signal(h)", "");
  EXPECT_THAT(Errors(text),
              HasSubstr("mend: let that instruction signal a counter, and "
                        "wait for it"));
}

TEST(VerifierTest, ReadBeforeTheWriteInOneQueueIsRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer h f24 [4] activation
buffer y f24 [4] activation
worker 0
  early: add a=h b=in y=y begin=0 count=4
  late: add a=in b=in y=h begin=0 count=4
  halt
)"),
              HasSubstr("worker 0, pc 0 (early, add): error: reads h[0..4), "
                        "but nothing orders it after the write of h[0..4)"));
}

TEST(VerifierTest, PartOfTheReadWithoutAWaitIsNamed) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [8] input
buffer h f24 [8] activation
buffer y f24 [8] activation
counter low
counter high
counter y
worker 0
  low: add a=in b=in y=h begin=0 count=4 wait(y lag) signal(low)
  halt
worker 1
  high: add a=in b=in y=h begin=4 count=4 wait(y lag) signal(high)
  halt
worker 2
  both: add a=h b=in y=y begin=0 count=8 wait(low) signal(y)
  halt
)"),
              AllOf(HasSubstr("worker 2, pc 0 (both, add): error: reads "
                              "h[0..8), but nothing orders it after the write "
                              "of h[4..8)"),
                    HasSubstr("mend: wait for counter high")));
}

TEST(VerifierTest, UnpolledReadOfRelaxedDataIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("signal(h)", "signal(h relaxed)"),
      AllOf(HasSubstr("(second, add): error: reads h[0..16) without polling, "
                      "but only tagged data or signals without release order "
                      "it after the write of h[0..16)"),
            HasSubstr("mend: poll the operand, or let that instruction signal "
                      "with release")));
}

TEST(VerifierTest, UnpolledReadBehindATaggedWaitIsRejected) {
  // b is read as plain memory, though only polling a says that h is there.
  EXPECT_THAT(ErrorsOfPipe("wait(h)", "wait(h tagged) polled(a)"),
              HasSubstr("reads h[0..16) without polling"));
  EXPECT_EQ(ErrorsOfPipe("wait(h)", "wait(h tagged) polled(a, b)"), "");
}

TEST(VerifierTest, PolledReadWithoutAChainOfWaitsIsRejected) {
  EXPECT_THAT(ErrorsOfPipe(" wait(h)", " polled(a, b)"),
              HasSubstr("(second, add): error: polls h[0..16), but no chain of "
                        "waits orders it after the write of h[0..16)"));
}

TEST(VerifierTest, OverwriteOfWhatMayStillBeReadIsRejected) {
  EXPECT_THAT(
      ErrorsOfPipe(" wait(y lag)", ""),
      AllOf(HasSubstr("worker 0, pc 0 (first, add): error: writes h[0..16), "
                      "but nothing orders it after the read of h[0..16) in the "
                      "pass before"),
            HasSubstr("note: h[0..16) is read by worker 1, pc 0 (second, add)"),
            HasSubstr("mend: wait for counter y, which that instruction "
                      "signals with lag 1")));
}

TEST(VerifierTest, OverwriteAfterARelaxedSignalOfTheReaderIsProven) {
  // The reader's loads are done before it signals; no data need be visible.
  EXPECT_EQ(ErrorsOfPipe("signal(y)", "signal(y relaxed)"), "");
}

TEST(VerifierTest, TaggedDataOrderOnlyWhatIsPolled) {
  // `sum` waits for both parts, but polls only what `low` writes: a machine
  // that polls does not wait for `other`, who may still read `a`.
  const std::string text = R"(
buffer in f24 [8] input
buffer a f24 [4] activation
buffer low f24 [4] activation
buffer other f24 [4] activation
buffer y f24 [4] activation
counter a
counter parts
counter y
worker 0
  a: add a=in b=in y=a begin=0 count=4 wait(y lag) signal(a)
  low: add a=in b=in y=low begin=0 count=4 wait(y lag) signal(parts relaxed)
  halt
worker 1
  other: add a=a b=in y=other begin=0 count=4 wait(a) signal(parts relaxed)
  halt
worker 2
  sum: add a=low b=in y=y begin=0 count=4 wait(parts tagged) polled(a) signal(y)
  halt
)";
  EXPECT_THAT(Errors(text),
              HasSubstr("worker 0, pc 0 (a, add): error: writes a[0..4), but "
                        "nothing orders it after the read of a[0..4) in the "
                        "pass before"));
  EXPECT_EQ(Errors(Replace(text, "wait(parts tagged)", "wait(parts)")), "");
  EXPECT_EQ(Errors(WithCountersOnly(Parse(text))), "");
}

TEST(VerifierTest, CacheReadBeforeTheAppendIsRejected) {
  EXPECT_THAT(Errors(Replace(kCache, "wait(append)", "wait(append lag)")),
              HasSubstr("k_cache[0..128), but nothing orders it after the "
                        "write of k_cache[0..128) in this pass"));
}

TEST(VerifierTest, AppendWhileTheCacheIsReadIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kCache, " wait(part lag)", "")),
      AllOf(HasSubstr("k_cache[0..128), but nothing orders it after the write "
                      "of k_cache[0..128) in the pass before"),
            HasSubstr("signals with lag 1")));
}

TEST(VerifierTest, CacheHandedOverByARelaxedSignalIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kCache, "signal(append)", "signal(append relaxed)")),
      AllOf(HasSubstr("worker 1, pc 0 (attend, attention): error: writes "
                      "k_cache[0..128), but only tagged data or signals "
                      "without release order it after the write of "
                      "k_cache[0..128) in this pass"),
            HasSubstr("mend: let that instruction signal with release")));
}

TEST(VerifierTest, TokenHandedToTheNextPassByARelaxedSignalIsRejected) {
  EXPECT_THAT(ErrorsOfDecode("signal(advanced)", "signal(advanced relaxed)"),
              HasSubstr("worker 1, pc 0 (embed[1], embed): error: reads "
                        "tokens[0..8), but only tagged data or signals without "
                        "release order it after the write of tokens[0..8) in "
                        "the pass before"));
}

TEST(VerifierTest, TwoWritersOfStateWithoutOrderAreRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer s f24 [4] state
worker 0
  one: add a=in b=in y=s begin=0 count=3
  halt
worker 1
  two: add a=in b=in y=s begin=2 count=2
  halt
)"),
              HasSubstr("writes s[2..4), but nothing orders it after the write "
                        "of s[2..3)"));
}

TEST(VerifierTest, NeighboursInStateNeedNoOrder) {
  EXPECT_EQ(Errors(R"(
buffer in f24 [4] input
buffer s f24 [4] state
worker 0
  one: add a=in b=in y=s begin=0 count=2
  halt
worker 1
  two: add a=in b=in y=s begin=2 count=2
  halt
)"),
            "");
}

TEST(VerifierTest, ReadOfStateThatIsWrittenInTheNextPassIsRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer s f24 [4] state
buffer y f24 [4] activation
counter s
worker 0
  write: add a=in b=in y=s begin=0 count=4 signal(s)
  halt
worker 1
  read: add a=s b=in y=y begin=0 count=4 wait(s)
  halt
)"),
              HasSubstr("worker 0, pc 0 (write, add): error: writes s[0..4), "
                        "but nothing orders it after the read of s[0..4)"));
}

// ---- laps of counters -------------------------------------------------------

// Three workers; `both` counts `a` and `b`.
constexpr char kLap[] = R"(
counter parts
counter both
worker 0
  a: nop wait(both lag) signal(parts)
  halt
worker 1
  b: nop wait(both lag) signal(parts)
  halt
worker 2
  both: nop wait(parts) signal(both)
  halt
)";

TEST(VerifierTest, ProducersHeldBackByTheWaiterAreProven) {
  EXPECT_EQ(Errors(kLap), "");
}

TEST(VerifierTest, ProducerThatMaySignalTwiceBeforeAnotherDoesIsRejected) {
  EXPECT_THAT(
      Errors(Replace(kLap, "b: nop wait(both lag)", "b: nop")),
      AllOf(HasSubstr("worker 1, pc 0 (b, nop): error: may signal counter "
                      "parts for the next pass before all have signalled it "
                      "for this one, so that a waiter miscounts"),
            HasSubstr("note: nothing orders it after the signal of worker 0, "
                      "pc 0 (a, nop)")));
}

TEST(VerifierTest, RelaxedProducersHeldBackByTheWaiterAreProven) {
  std::string text = Replace(kLap, "a: nop wait(both lag) signal(parts)",
                             "a: nop wait(both lag) signal(parts relaxed)");
  EXPECT_EQ(Errors(Replace(text, "signal(both)", "signal(both relaxed)")), "");
}

TEST(VerifierTest, LaggedWaiterHoldsItsProducersBackOnlyOnceItHasCounted) {
  EXPECT_EQ(Errors(R"(
counter parts
counter counted
worker 0
  a: nop wait(counted) signal(parts)
  halt
worker 1
  b: nop wait(counted) signal(parts)
  halt
worker 2
  count: nop wait(parts lag) signal(counted)
  halt
)"),
            "");
}

TEST(VerifierTest, CounterThatNobodyWaitsForMayLap) {
  EXPECT_EQ(Errors(R"(
counter parts
worker 0
  nop signal(parts)
  halt
worker 1
  nop signal(parts)
  halt
)"),
            "");
}

// ---- progress ---------------------------------------------------------------

TEST(VerifierTest, WaitForOneselfIsRejected) {
  EXPECT_THAT(ErrorsOfPipe("wait(y lag) signal(h)", "wait(h) signal(h)"),
              AllOf(HasSubstr("worker 0, pc 0 (first, add): error: it waits "
                              "for itself or for what follows it"),
                    HasSubstr("note: worker 0, pc 0 (first, add) waits for "
                              "counter h")));
}

TEST(VerifierTest, TwoInstructionsThatWaitForEachOtherAreRejected) {
  EXPECT_THAT(
      ErrorsOfPipe("wait(y lag)", "wait(y)"),
      AllOf(HasSubstr("deadlock: 2 instructions wait in a circle"),
            HasSubstr("note: worker 0, pc 0 (first, add) waits for counter y"),
            HasSubstr("note: worker 1, pc 0 (second, add) waits for counter "
                      "h")));
}

TEST(VerifierTest, CircleThroughQueueOrderIsRejected) {
  EXPECT_THAT(Errors(R"(
counter a
counter b
worker 0
  w0: nop wait(b)
  s0: nop signal(a)
  halt
worker 1
  w1: nop wait(a)
  s1: nop signal(b)
  halt
)"),
              HasSubstr("deadlock: 2 instructions wait in a circle"));
}

TEST(VerifierTest, CircleThroughPolledDataIsRejected) {
  EXPECT_THAT(Errors(R"(
buffer in f24 [4] input
buffer a f24 [4] activation
buffer b f24 [4] activation
worker 0
  a: add a=b b=in y=a begin=0 count=4 polled(a)
  halt
worker 1
  b: add a=a b=in y=b begin=0 count=4 polled(a)
  halt
)"),
              AllOf(HasSubstr("deadlock: 2 instructions wait in a circle"),
                    HasSubstr("polls b[0..4)"), HasSubstr("polls a[0..4)")));
}

TEST(VerifierTest, CircleThroughTheNextPassIsProvenToBreakAtPassZero) {
  // Each waits for the other's last pass: nothing to wait for in pass 0.
  EXPECT_EQ(Errors(R"(
counter a
counter b
worker 0
  nop wait(b lag) signal(a)
  halt
worker 1
  nop wait(a lag) signal(b)
  halt
)"),
            "");
}

// ---- diagnostics ------------------------------------------------------------

TEST(VerifierTest, StopsAfterMaxDiagnostics) {
  Program program = Parse(kDecode);
  for (auto& queue : program.queues) {
    for (Instruction& i : queue) i.flags |= 0x100;
  }
  EXPECT_THAT(Verify(program, {.max_diagnostics = 3}), SizeIs(3));
  EXPECT_THAT(Verify(program), SizeIs(8));
}

TEST(VerifierTest, EvenNoDiagnosticsWantedReportsOne) {
  Program program = Parse(kDecode);
  program.queues[0][0].flags |= 0x100;
  EXPECT_THAT(Verify(program, {.max_diagnostics = 0}), SizeIs(1));
}

TEST(VerifierTest, StatusHasTheFirstDiagnosticAndTheNumberOfOthers) {
  Program program = Parse(kDecode);
  program.queues[0][0].flags |= 0x100;
  program.queues[0][1].flags |= 0x100;
  program.queues[1][0].flags |= 0x100;
  const absl::Status status = VerifyStatus(program);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::string(status.message()),
            "worker 0, pc 0 (embed[0], embed): error: unknown flags are set\n"
            "(and 2 more)");
}

}  // namespace
}  // namespace mkvm::isa
