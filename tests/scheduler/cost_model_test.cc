#include "scheduler/cost_model.h"

#include "isa/traffic.h"
#include "scheduler/info.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

isa::Program Qwen06(const char* target = "h200") {
  return MustCompile(model::FindConfig("qwen3-0.6b").value(),
                     FindTarget(target).value());
}

TEST(CostModelTest, BytesPerTokenOfQwen06) {
  const Target h200 = FindTarget("h200").value();
  const ProgramInfo info = AnalyzeProgram(Qwen06(), &h200);
  EXPECT_NEAR(info.streamed_bytes, 1192e6, 1192e6 * 0.01);
  EXPECT_LE(info.balance, 1.05);
  ASSERT_EQ(info.predictions.size(), 3u);
  EXPECT_EQ(info.predictions[0].kv_bytes, 114688u);
  EXPECT_EQ(info.predictions[1].kv_bytes, 114688u * 513);
  EXPECT_EQ(info.predictions[2].kv_bytes, 114688u * 4097);
}

TEST(CostModelTest, SplitsShareThePositions) {
  isa::AttentionOperands op;
  op.head_dim = 16;
  op.splits = 3;
  op.block = 4;
  const uint64_t entry = 2 * 16 * 2;
  const uint64_t want[][3] = {{1, 0, 0}, {4, 0, 0}, {4, 1, 0},
                              {4, 4, 4}, {5, 4, 4}, {8, 8, 6}};
  const uint64_t positions[] = {1, 4, 5, 12, 13, 22};
  for (int p = 0; p < 6; ++p) {
    for (op.split = 0; op.split < 3; ++op.split) {
      EXPECT_EQ(isa::KvBytes(isa::Encode(op), positions[p] - 1),
                want[p][op.split] * entry)
          << positions[p] << " positions, split " << op.split;
    }
  }
}

TEST(CostModelTest, PanelsCountTheirPadding) {
  std::vector<isa::Buffer> buffers = {{"w",
                                       isa::DType::kBf16,
                                       isa::BufferKind::kWeight,
                                       isa::Layout::kPanels,
                                       {11, 40}}};
  isa::GemvOperands op;
  op.w = 0;
  op.rows = 11;
  op.k = 40;
  EXPECT_EQ(isa::StreamedBytes(buffers, isa::Encode(op)), 16u * 64 * 2);
  buffers[0].layout = isa::Layout::kRows;
  EXPECT_EQ(isa::StreamedBytes(buffers, isa::Encode(op)), 11u * 40 * 2);
  op.w2 = 0;
  EXPECT_EQ(isa::StreamedBytes(buffers, isa::Encode(op)), 2u * 11 * 40 * 2);
}

// Two instructions on two workers, one waiting for the other: worked by hand.
TEST(CostModelTest, LongestPathOfAChain) {
  isa::Program program;
  program.counters = {{"c", 1}};
  program.queues.resize(2);
  isa::Instruction first = isa::Encode(isa::NopOperands{});
  first.signal = 0;
  isa::Instruction second = isa::Encode(isa::NopOperands{});
  isa::AddWait(second, 0, 1);
  program.queues[0] = {first};
  program.queues[1] = {second};
  Target target;
  target.hop_us = 2;
  target.instruction_us = 0.5;
  const CriticalPath path = LongestPath(program, target);
  EXPECT_EQ(path.instructions, 2u);
  EXPECT_DOUBLE_EQ(path.us, 3.0);
  // On one worker there is no hop.
  program.queues[0] = {first, second};
  program.queues[1].clear();
  EXPECT_DOUBLE_EQ(LongestPath(program, target).us, 1.0);
  // The other way round, it never starts.
  program.queues[0] = {second, first};
  EXPECT_EQ(LongestPath(program, target).instructions, 0u);
  EXPECT_TRUE(AnalyzeProgram(program, &target).cyclic);
  EXPECT_THAT(InfoText(program, &target), HasSubstr("form a cycle"));
}

// One gemv on one worker: it can go no faster than its bytes.
TEST(CostModelTest, PredictionIsBoundByTheStream) {
  isa::Program program;
  program.buffers = {{"w",
                      isa::DType::kBf16,
                      isa::BufferKind::kWeight,
                      isa::Layout::kRows,
                      {1000, 1000}}};
  isa::GemvOperands op;
  op.w = 0;
  op.rows = op.k = 1000;
  program.queues = {{isa::Encode(op), isa::Encode(isa::HaltOperands{})}};
  program.target.stages = 4;
  Target target;
  target.stream_gb_per_s = 1;  // 2 MB take 2000 us
  target.instruction_us = 0;
  EXPECT_NEAR(PredictPassUs(program, target, 0), 2000, 70);
}

TEST(CostModelTest, PredictionsArePlausible) {
  for (const char* name : {"h200", "a100", "rtx3090", "cpu"}) {
    const Target target = FindTarget(name).value();
    const ProgramInfo info = AnalyzeProgram(Qwen06(name), &target);
    double before = 0;
    for (const Prediction& p : info.predictions) {
      EXPECT_GE(p.us, p.stream_us) << name;
      // At batch 1 the GPUs are held up by hops and single instructions too.
      EXPECT_LE(p.us, p.stream_us * 3) << name;
      EXPECT_GE(p.us, before) << name;
      before = p.us;
    }
    EXPECT_GT(info.critical_path.us, info.predictions[0].stream_us);
  }
}

TEST(InfoTest, CountsInstructions) {
  const Target h200 = FindTarget("h200").value();
  const ProgramInfo info = AnalyzeProgram(Qwen06(), &h200);
  EXPECT_EQ(info.workers, 128u);
  EXPECT_EQ(info.instructions_by_opcode.at("halt"), 128u);
  EXPECT_EQ(info.instructions_by_opcode.at("attention"), 28u * 128);
  // 64 shares of the two projections with 1024 rows.
  EXPECT_EQ(info.instructions_by_opcode.at("gemv"),
            28u * (2 * 128 + 2 * 64) + 128);
  EXPECT_EQ(info.releases, 1u);
  EXPECT_EQ(info.waits - info.tagged_waits, 128u);
  // embed, six a layer, LM head, advance, halt
  EXPECT_EQ(info.critical_path.instructions, 1u + 28 * 6 + 3);
}

TEST(InfoTest, TextAndJson) {
  const Target h200 = FindTarget("h200").value();
  const isa::Program program = Qwen06();
  const std::string text = InfoText(program, &h200);
  EXPECT_THAT(text, HasSubstr("1191.969 MB per token"));
  EXPECT_THAT(text, HasSubstr("at position 4096"));
  EXPECT_THAT(InfoText(program, nullptr), Not(HasSubstr("predicted")));
  const std::string json = InfoJson(AnalyzeProgram(program, &h200));
  EXPECT_THAT(json, HasSubstr("\"streamed_bytes\": 1191968768"));
  EXPECT_THAT(json, HasSubstr("\"position\": 512"));
}

TEST(InfoTest, PredictsOnlyPositionsThatFit) {
  const Target h200 = FindTarget("h200").value();
  CompileOptions options;
  options.max_context = 512;
  const isa::Program program =
      MustCompile(model::FindConfig("qwen3-0.6b").value(), h200, options);
  EXPECT_EQ(AnalyzeProgram(program, &h200).predictions.size(), 1u);
}

}  // namespace
}  // namespace mkvm::scheduler
