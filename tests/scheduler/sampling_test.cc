// Programs that choose tokens by chance: what they are made of, and that they
// are valid for every shape.
#include <algorithm>
#include <set>

#include "isa/opcode_table.h"
#include "isa/verifier.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::HasSubstr;

bool Is(const isa::Instruction& i, isa::Opcode opcode) {
  return i.opcode == static_cast<uint16_t>(opcode);
}

CompileOptions Sampling(uint32_t logprobs = 0) {
  CompileOptions options;
  options.sampling = true;
  options.logprobs = logprobs;
  return options;
}

TEST(SamplingTest, ProgramsOfEveryTargetAndShapeVerify) {
  for (const std::string& name : TargetNames()) {
    const isa::Program program =
        MustCompile(model::FindConfig("qwen3-0.6b").value(),
                    FindTarget(name).value(), Sampling(5));
    EXPECT_EQ(isa::VerifyStatus(program), absl::OkStatus()) << name;
  }
  for (const uint32_t workers : {1, 2, 7, 25, 26, 40}) {
    for (const bool panels : {false, true}) {
      for (const bool fuse : {false, true}) {
        CompileOptions options = Sampling();
        options.fuse = fuse;
        const isa::Program program =
            MustCompile(OddConfig(), TestTarget(workers, panels), options);
        EXPECT_EQ(isa::VerifyStatus(program), absl::OkStatus())
            << workers << " workers";
      }
    }
  }
}

TEST(SamplingTest, EverySliceIsBesideItsLogits) {
  for (const uint32_t workers : {1, 3, 25}) {
    const isa::Program program =
        MustCompile(OddConfig(), TestTarget(workers), Sampling());
    std::vector<bool> sliced(OddConfig().vocab_size);
    ForEach(
        program, [&](uint32_t worker, uint32_t pc, const isa::Instruction& i) {
          if (!Is(i, isa::Opcode::kSampleSlice)) return;
          const auto slice = isa::DecodeOperands<isa::SampleSliceOperands>(i);
          for (uint32_t t = slice.begin; t < slice.begin + slice.count; ++t) {
            EXPECT_FALSE(sliced[t]);
            sliced[t] = true;
          }
          ASSERT_GT(pc, 0u);
          const isa::Instruction& before = program.queues[worker][pc - 1];
          ASSERT_TRUE(Is(before, isa::Opcode::kGemv));
          const auto head = isa::DecodeOperands<isa::GemvOperands>(before);
          EXPECT_LE(head.row_begin, slice.begin);
          EXPECT_GE(head.row_begin + head.rows, slice.begin + slice.count);
          // Of nobody else's making.
          ASSERT_EQ(i.num_waits, 1);
          EXPECT_EQ(i.waits[0].counter, before.signal);
          EXPECT_EQ(program.counters[before.signal].producers, 1u);
        });
    EXPECT_EQ(std::count(sliced.begin(), sliced.end(), false), 0);
  }
}

TEST(SamplingTest, LongSharesAreSeveralSlices) {
  Geometry geometry;
  geometry.workers = 2;
  geometry.row_unit = 8;
  const std::vector<uint32_t> begins = SampleSlices(10001, geometry);
  EXPECT_EQ(begins.front(), 0u);
  EXPECT_EQ(begins.back(), 10001u);
  EXPECT_EQ(begins.size(), 7u);  // 5000 rows and 5001: three slices each
  EXPECT_TRUE(std::find(begins.begin(), begins.end(), 5000u) != begins.end());
  for (size_t i = 1; i < begins.size(); ++i) {
    EXPECT_GT(begins[i], begins[i - 1]);
    EXPECT_LE(begins[i] - begins[i - 1], 2048u);
  }
}

TEST(SamplingTest, OneInstructionChoosesWhateverTheWorkers) {
  const isa::Program program =
      MustCompile(OddConfig(), TestTarget(9), Sampling(3));
  int samples = 0;
  ForEach(program, [&](uint32_t worker, uint32_t, const isa::Instruction& i) {
    EXPECT_FALSE(Is(i, isa::Opcode::kArgmax));
    if (!Is(i, isa::Opcode::kSample)) return;
    ++samples;
    EXPECT_EQ(worker, 0u);
    // The logits' nine counters are implied by the slices'.
    ASSERT_EQ(i.num_waits, 1);
    EXPECT_EQ(program.counters[i.waits[0].counter].name, "slices");
  });
  EXPECT_EQ(samples, 1);
  const isa::Buffer* logprobs = BufferNamed(program, "logprobs");
  ASSERT_NE(logprobs, nullptr);
  EXPECT_EQ(logprobs->shape, (std::vector<uint64_t>{101, 4}));
}

TEST(SamplingTest, TooManyLogprobsAreRefused) {
  const auto program = Compile(OddConfig(), TestTarget(2), Sampling(65));
  EXPECT_THAT(program.status().message(), HasSubstr("logprobs is 65"));
}

}  // namespace
}  // namespace mkvm::scheduler
