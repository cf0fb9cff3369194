#include "scheduler/compile.h"

#include <chrono>
#include <map>
#include <tuple>

#include "isa/opcode_table.h"
#include "isa/verifier.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::HasSubstr;

// How often each row of each weight matrix is multiplied in a pass.
std::map<std::string, std::vector<int>> RowsMultiplied(
    const isa::Program& program) {
  std::map<std::string, std::vector<int>> rows;
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    if (!Is(i, isa::Opcode::kGemv)) return;
    const auto op = isa::DecodeOperands<isa::GemvOperands>(i);
    for (const uint32_t w : {op.w, op.w2}) {
      if (w == isa::kNoBuffer) continue;
      std::vector<int>& count = rows[program.buffers[w].name];
      count.resize(program.buffers[w].shape[0]);
      for (uint32_t r = 0; r < op.rows; ++r) ++count[op.row_begin + r];
    }
  });
  return rows;
}

void ExpectEveryRowOnce(const isa::Program& program,
                        const model::Config& config) {
  const auto rows = RowsMultiplied(program);
  EXPECT_EQ(rows.size(), config.num_layers * 7 + 1u);
  for (const auto& [name, count] : rows) {
    for (size_t r = 0; r < count.size(); ++r) {
      ASSERT_EQ(count[r], 1) << name << " row " << r;
    }
  }
}

// How often each element of each activation is written in the pass of that
// position. A part is not written until its split holds positions, none while
// split 0 attends alone.
void ExpectEveryElementWrittenOnce(const isa::Program& program,
                                   uint64_t position) {
  std::vector<std::vector<uint8_t>> writes(program.buffers.size());
  for (size_t b = 0; b < writes.size(); ++b) {
    if (program.buffers[b].kind == isa::BufferKind::kActivation) {
      writes[b].resize(isa::NumElements(program.buffers[b]));
    }
  }
  constexpr uint64_t kBlock = 64;  // the options' default
  bool merges_grow = false;
  std::vector<isa::Access> accesses;
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    if (Is(i, isa::Opcode::kAttentionMerge)) {
      const auto op = isa::DecodeOperands<isa::AttentionMergeOperands>(i);
      merges_grow |= op.block != 0;
    }
    accesses.clear();
    isa::AppendAccesses(program, i, accesses);
    for (const isa::Access& a : accesses) {
      if (a.kind != isa::AccessKind::kWrite || writes[a.buffer].empty()) {
        continue;
      }
      ASSERT_LE(a.begin + a.count, writes[a.buffer].size());
      if (!a.HappensAt(position)) continue;
      for (uint64_t e = 0; e < a.count; ++e) ++writes[a.buffer][a.begin + e];
    }
  });
  for (size_t b = 0; b < writes.size(); ++b) {
    const isa::Buffer& buffer = program.buffers[b];
    for (size_t e = 0; e < writes[b].size(); ++e) {
      bool written = true;
      if (merges_grow && buffer.name.ends_with("part")) {
        const uint64_t splits = buffer.shape[1];
        const uint64_t part_elements = buffer.shape[2] * buffer.shape[3];
        const uint64_t split = e / part_elements % splits;
        written = position >= std::max<uint64_t>(split, 1) * kBlock;
      }
      ASSERT_EQ(writes[b][e], written ? 1 : 0)
          << program.buffers[b].name << "[" << e << "]";
    }
  }
}

void ExpectSound(const isa::Program& program, const model::Config& config) {
  ExpectEveryRowOnce(program, config);
  for (const uint64_t position : {0, 63, 64, 127, 128, 500}) {
    ExpectEveryElementWrittenOnce(program, position);
  }
  const absl::Status proven = isa::VerifyStatus(program);
  EXPECT_TRUE(proven.ok()) << proven;
}

class CompileModelTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(CompileModelTest, IsCompleteAndVerified) {
  const model::Config config =
      model::FindConfig(std::get<0>(GetParam())).value();
  const Target target = FindTarget(std::get<1>(GetParam())).value();
  const isa::Program program = MustCompile(config, target);
  EXPECT_EQ(program.num_workers(),
            std::min<uint32_t>(target.workers, config.vocab_size / 8));
  ExpectSound(program, config);
}

std::string NameOf(
    const ::testing::TestParamInfo<CompileModelTest::ParamType>& info) {
  std::string name = std::get<0>(info.param) + "_" + std::get<1>(info.param);
  for (char& c : name) {
    if (c == '-' || c == '.') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    All, CompileModelTest,
    ::testing::Combine(::testing::ValuesIn(model::ConfigNames()),
                       ::testing::Values("h200", "a100", "rtx5090", "cpu")),
    NameOf);

// Odd worker counts with every option, on a geometry where nothing divides.
TEST(CompileTest, EveryOptionWithOddWorkerCounts) {
  for (const uint32_t workers : {1u, 3u, 7u, 26u, 132u}) {
    for (int bits = 0; bits < 256; ++bits) {
      Target target = TestTarget(workers, bits & 1);
      target.tagged = bits & 2;
      target.min_gemv_rows = bits & 64 ? 16 : 1;
      CompileOptions options;
      options.fuse = bits & 4;
      options.split_kv = bits & 8;
      options.logits = bits & 16;
      options.attend_alone = bits & 128;
      model::Config config = OddConfig();
      config.tie_word_embeddings = bits & 32;
      SCOPED_TRACE(testing::Message() << workers << " workers, bits " << bits);
      const isa::Program program = MustCompile(config, target, options);
      ASSERT_GE(program.num_workers(), 1u);
      ExpectSound(program, config);
      if (HasFailure()) return;
    }
  }
}

TEST(CompileTest, CountersOnlyFormIsVerifiedToo) {
  for (const bool fuse : {true, false}) {
    CompileOptions options;
    options.fuse = fuse;
    const isa::Program program =
        isa::WithCountersOnly(MustCompile(OddConfig(), TestTarget(7), options));
    const absl::Status proven = isa::VerifyStatus(program);
    EXPECT_TRUE(proven.ok()) << proven;
  }
}

TEST(CompileTest, BuffersSharedWithTheHost) {
  CompileOptions options;
  options.max_context = 50;
  options.logits = true;
  const model::Config config = OddConfig();
  const isa::Program program = MustCompile(config, TestTarget(7), options);
  const struct {
    const char* name;
    isa::DType dtype;
    isa::BufferKind kind;
    std::vector<uint64_t> shape;
  } want[] = {
      {"tokens", isa::DType::kI32, isa::BufferKind::kState, {51}},
      {"run", isa::DType::kI32, isa::BufferKind::kInput, {2}},
      {"eos", isa::DType::kI32, isa::BufferKind::kInput, {8}},
      {"stop", isa::DType::kI32, isa::BufferKind::kState, {1}},
      {"rope.cos_sin", isa::DType::kF32, isa::BufferKind::kWeight, {50, 24}},
      {"logits", isa::DType::kF32, isa::BufferKind::kActivation, {203}},
  };
  for (const auto& w : want) {
    const isa::Buffer* buffer = BufferNamed(program, w.name);
    ASSERT_NE(buffer, nullptr) << w.name;
    EXPECT_EQ(buffer->dtype, w.dtype) << w.name;
    EXPECT_EQ(buffer->kind, w.kind) << w.name;
    EXPECT_EQ(buffer->shape, w.shape) << w.name;
  }
  EXPECT_EQ(BufferNamed(MustCompile(config, TestTarget(7)), "logits"), nullptr);
  EXPECT_EQ(program.model_fingerprint, model::Fingerprint(config));
  EXPECT_EQ(program.model, model::Describe(config));
  EXPECT_EQ(program.target.name, "h200");
  EXPECT_EQ(program.target.stages, FindTarget("h200")->stages);
  EXPECT_EQ(program.target.shared_memory_bytes, 232448u);
}

TEST(CompileTest, IsDeterministic) {
  const auto bytes = [] {
    return isa::SerializeProgram(MustCompile(OddConfig(), TestTarget(7)));
  };
  EXPECT_EQ(bytes(), bytes());
}

TEST(CompileTest, DumpsAreThoseOfTheProgram) {
  Dumps dumps;
  const absl::StatusOr<isa::Program> program =
      CompileWithDumps(OddConfig(), TestTarget(7), {}, dumps);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(isa::SerializeProgram(*program),
            isa::SerializeProgram(MustCompile(OddConfig(), TestTarget(7))));
  EXPECT_THAT(dumps.graph, HasSubstr("L00.qkv"));
  EXPECT_THAT(dumps.tiles, HasSubstr("L00.qkv[0]"));
  EXPECT_THAT(dumps.placement, HasSubstr("L00.qkv"));
  EXPECT_THAT(dumps.queues, HasSubstr("worker 6"));
}

TEST(CompileTest, ErrorsPassThrough) {
  model::Config config = OddConfig();
  config.head_dim = 12;
  EXPECT_EQ(Compile(config, TestTarget(7)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Compile(OddConfig(), TestTarget(0)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mkvm::scheduler
