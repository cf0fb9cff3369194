#include "vm/decode.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/scheduler/testing.h"
#include "tests/vm/test_program.h"

namespace mkvm::vm {
namespace {

using ops::DecodedInstruction;
using ops::Direct;

// Buffers that lie one kilobyte apart from address 1024 on; nothing is read.
std::vector<ops::DeviceBuffer> PlaceBuffers(const isa::Program& program) {
  std::vector<ops::DeviceBuffer> placed;
  for (const isa::Buffer& buffer : program.buffers) {
    ops::DeviceBuffer entry = {};
    entry.data = reinterpret_cast<void*>((placed.size() + 1) * 1024);
    entry.is_f24 = buffer.dtype == isa::DType::kF24;
    entry.is_panels = buffer.layout == isa::Layout::kPanels;
    std::copy_n(buffer.shape.begin(), std::min<size_t>(buffer.shape.size(), 4),
                entry.shape);
    placed.push_back(entry);
  }
  return placed;
}

std::vector<DecodedInstruction> Decode(const isa::Program& program,
                                       uint32_t num_stages = 12) {
  return DecodeQueues(program, PlaceBuffers(program), num_stages);
}

Direct DirectOf(const DecodedInstruction& decoded) {
  return static_cast<Direct>(decoded.head.code >> ops::kCodeDirectShift);
}

uint32_t BodyOf(const DecodedInstruction& decoded) {
  return decoded.head.code & ops::kCodeMask;
}

// The first decoded instruction whose label begins so.
DecodedInstruction First(const isa::Program& program, const std::string& label,
                         uint32_t num_stages = 12) {
  const std::vector<DecodedInstruction> code = Decode(program, num_stages);
  size_t at = 0;
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc, ++at) {
      if (program.labels[w][pc].rfind(label, 0) == 0) return code[at];
    }
  }
  ADD_FAILURE() << "no instruction's label begins with " << label;
  return {};
}

isa::Program Qwen(const scheduler::CompileOptions& options = {}) {
  return scheduler::MustCompile(model::FindConfig("qwen3-0.6b").value(),
                                scheduler::FindTarget("h200").value(), options);
}

TEST(Decode, KeepsTheQueuesInOrder) {
  const isa::Program program = CountingProgram(4);
  const std::vector<DecodedInstruction> code = Decode(program);
  size_t at = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (uint32_t pc = 0; pc < queue.size(); ++pc, ++at) {
      ASSERT_LT(at, code.size());
      EXPECT_EQ(code[at].head.pc, pc);
      EXPECT_EQ(code[at].instruction.opcode, queue[pc].opcode);
      EXPECT_TRUE(std::equal(std::begin(queue[pc].operands),
                             std::end(queue[pc].operands),
                             std::begin(code[at].instruction.operands)));
    }
  }
  EXPECT_EQ(at, code.size());
}

TEST(Decode, LooksUpBuffers) {
  const isa::Program program = CountingProgram(2);
  const std::vector<ops::DeviceBuffer> buffers = PlaceBuffers(program);
  const DecodedInstruction mix = First(program, "mix[1]");
  const auto op = isa::DecodeOperands<isa::GemvOperands>(mix.instruction);
  EXPECT_EQ(mix.addresses[ops::GemvIndex::x], buffers[op.x].data);
  EXPECT_EQ(mix.addresses[ops::GemvIndex::w], buffers[op.w].data);
  EXPECT_EQ(mix.dims[ops::GemvIndex::w].x, kVocabulary);
  EXPECT_EQ(mix.dims[ops::GemvIndex::w].y, kVocabulary);
  EXPECT_EQ(mix.dims[ops::GemvIndex::x].x, kVocabulary);
  EXPECT_EQ(mix.dims[ops::GemvIndex::x].y, 0u);
  EXPECT_EQ(mix.head.f24_operands,
            1u << ops::GemvIndex::x | 1u << ops::GemvIndex::y);
  // Neither an operand that is not given nor a number is an address.
  EXPECT_EQ(op.r, isa::kNoBuffer);
  EXPECT_EQ(mix.addresses[ops::GemvIndex::r], nullptr);
  EXPECT_NE(op.row_begin, 0u);
  EXPECT_EQ(mix.addresses[ops::GemvIndex::row_begin], nullptr);
}

TEST(Decode, SaysWhichOperandsAreInPanels) {
  const DecodedInstruction qkv = First(Qwen(), "L00.qkv");
  EXPECT_EQ(qkv.head.panel_operands, 1u << ops::GemvIndex::w);
}

TEST(Decode, ASignalThatIsCountedIsReleased) {
  isa::Program program = AccumulatingProgram();
  std::vector<bool> waited(program.counters.size(), false);
  for (std::vector<isa::Instruction>& queue : program.queues) {
    for (isa::Instruction& instruction : queue) {
      instruction.flags = 0;
      for (int i = 0; i < instruction.num_waits; ++i) {
        waited[instruction.waits[i].counter] = true;
      }
    }
  }
  uint32_t signals = 0;
  for (const DecodedInstruction& decoded : Decode(program)) {
    const uint32_t signal = decoded.instruction.signal;
    if (signal == isa::kNoCounter) continue;
    ++signals;
    EXPECT_EQ((decoded.head.code & ops::kCodeReleases) != 0, waited[signal]);
    EXPECT_EQ((decoded.head.code & ops::kCodeTicks) != 0, !waited[signal]);
  }
  EXPECT_GE(signals, 2u);
}

TEST(Decode, UntaggedWaitsAreToBeCarriedOut) {
  isa::Program program = CountingProgram(2);
  isa::Instruction& mix = Labelled(program, "mix[0]");
  ASSERT_EQ(mix.num_waits, 1);
  EXPECT_EQ(First(program, "mix[0]").head.untagged, 1u);
  mix.tagged = 1;
  EXPECT_EQ(First(program, "mix[0]").head.untagged, 0u);
}

TEST(Decode, BodiesOfTheHotPath) {
  const isa::Program program = Qwen();
  EXPECT_EQ(DirectOf(First(program, "L00.qkv")), Direct::kGemv1x4);
  EXPECT_EQ(DirectOf(First(program, "L00.attn")), Direct::kAttention);
  EXPECT_EQ(DirectOf(First(program, "L00.merge")), Direct::kMerge);
  EXPECT_EQ(DirectOf(First(program, "L00.o")), Direct::kGemv2x2);
  EXPECT_EQ(DirectOf(First(program, "L00.gate_up")), Direct::kGemv1x6);
  EXPECT_EQ(DirectOf(First(program, "L00.down")), Direct::kGemv3x2);
  // More groups than one.
  EXPECT_EQ(DirectOf(First(program, "lm_head")), Direct::kNo);
  EXPECT_EQ(DirectOf(First(program, "advance")), Direct::kNo);
}

TEST(Decode, WideGemvsAreDirectWithoutANormOnly) {
  isa::Program program = Qwen();
  isa::Instruction& down = Labelled(program, "L00.down[0]");
  ASSERT_EQ(DirectOf(First(program, "L00.down[0]")), Direct::kGemv3x2);
  auto op = isa::DecodeOperands<isa::GemvOperands>(down);
  op.g = op.w;
  const isa::Instruction normed = isa::Encode(op);
  std::copy(std::begin(normed.operands), std::end(normed.operands),
            std::begin(down.operands));
  EXPECT_EQ(DirectOf(First(program, "L00.down[0]")), Direct::kNo);
}

bool IsMerge(const isa::Instruction& instruction) {
  return instruction.opcode ==
         static_cast<uint16_t>(isa::Opcode::kAttentionMerge);
}

// The first queue of that program with a merge, with `inserted` after it and
// `count` elements for every merge: which of its merges are direct.
std::vector<bool> DirectMerges(const std::vector<isa::Instruction>& inserted,
                               uint32_t count) {
  isa::Program program = Qwen();
  std::vector<isa::Instruction> queue = *std::find_if(
      program.queues.begin(), program.queues.end(),
      [](const auto& q) { return std::any_of(q.begin(), q.end(), IsMerge); });
  const auto merge = std::find_if(queue.begin(), queue.end(), IsMerge);
  queue.insert(merge + 1, inserted.begin(), inserted.end());
  for (isa::Instruction& i : queue) {
    if (!IsMerge(i)) continue;
    auto op = isa::DecodeOperands<isa::AttentionMergeOperands>(i);
    op.count = count;
    const isa::Instruction other = isa::Encode(op);
    std::copy(std::begin(other.operands), std::end(other.operands),
              std::begin(i.operands));
  }
  program.queues = {queue};
  std::vector<bool> direct;
  for (const DecodedInstruction& decoded : Decode(program)) {
    if (!IsMerge(decoded.instruction)) continue;
    direct.push_back(DirectOf(decoded) == Direct::kMerge);
  }
  return direct;
}

// A warp could write what comes after while another still reads.
TEST(Decode, MergesOfSeveralWarpsAreDirectOnlyApart) {
  const isa::Program program = Qwen();
  const isa::Instruction merge = First(program, "L00.merge").instruction;
  const isa::Instruction idle = First(program, "L00.attn.h0[1]").instruction;
  ASSERT_NE(isa::DecodeOperands<isa::AttentionOperands>(idle).alone, 0u);
  const isa::Instruction always = First(program, "L00.attn.h0[0]").instruction;
  const isa::Instruction nop = {};
  ASSERT_EQ(nop.opcode, static_cast<uint16_t>(isa::Opcode::kNop));
  const size_t merges = DirectMerges({}, 64).size();
  ASSERT_GE(merges, 2u);
  EXPECT_THAT(DirectMerges({}, 64), testing::Each(true));
  const auto with = [&](size_t meeting) {
    std::vector<bool> want(merges + 1, true);
    std::fill_n(want.begin(), meeting, false);
    return want;
  };
  EXPECT_EQ(DirectMerges({merge}, 64), with(2));
  EXPECT_EQ(DirectMerges({nop, merge}, 64), with(2));
  EXPECT_EQ(DirectMerges({idle, merge}, 64), with(2));
  EXPECT_EQ(DirectMerges({always, merge}, 64), with(0));
  EXPECT_EQ(DirectMerges({merge}, 16), with(0));
  // The queue begins anew: the last one meets the first, one alone itself.
  isa::Program cut = program;
  cut.queues = {{merge, always, merge}, {merge}, {always, merge}};
  const std::vector<DecodedInstruction> code = Decode(cut);
  const std::vector<Direct> want = {
      Direct::kNo,        Direct::kAttention, Direct::kNo,  //
      Direct::kNo,                                          //
      Direct::kAttention, Direct::kMerge,
  };
  ASSERT_EQ(code.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(DirectOf(code[i]), want[i]) << i;
  }
}

TEST(Decode, ANopThatNobodyCountsIsDirect) {
  isa::Program program = isa::WithNops(CountingProgram(1));
  EXPECT_EQ(DirectOf(First(program, "nop")), Direct::kIdle);
  isa::AddWait(program.queues[0][0], 0, 1);
  EXPECT_EQ(DirectOf(First(program, "nop")), Direct::kNo);
}

TEST(Decode, WithoutTagsNothingIsDirect) {
  const isa::Program program = isa::WithCountersOnly(Qwen());
  for (const DecodedInstruction& decoded : Decode(program)) {
    ASSERT_EQ(DirectOf(decoded), Direct::kNo);
    if (BodyOf(decoded) == static_cast<uint32_t>(isa::Opcode::kGemv)) {
      ASSERT_NE(decoded.head.code & ops::kCodeAfter, 0u);
      ASSERT_EQ(decoded.gemv.x_mask, 0u);
    }
  }
}

TEST(Decode, AGemvThatPollsAllDoesNotComeAfter) {
  isa::Program program = Qwen();
  EXPECT_EQ(First(program, "L00.o").head.code & ops::kCodeAfter, 0u);
  // The residual is one of the things that it reads.
  for (std::vector<isa::Instruction>& queue : program.queues) {
    for (isa::Instruction& instruction : queue) {
      instruction.polled &= ~(1u << ops::GemvIndex::r);
    }
  }
  EXPECT_NE(First(program, "L00.o").head.code & ops::kCodeAfter, 0u);
  EXPECT_EQ(First(program, "L00.qkv").head.code & ops::kCodeAfter, 0u);
}

TEST(Decode, SplitsAreIdleUntilTheyHavePositions) {
  const isa::Program program = Qwen();
  uint32_t attentions = 0, merges = 0;
  for (const DecodedInstruction& decoded : Decode(program)) {
    if (BodyOf(decoded) == static_cast<uint32_t>(isa::Opcode::kAttention)) {
      const auto op =
          isa::DecodeOperands<isa::AttentionOperands>(decoded.instruction);
      ASSERT_EQ(decoded.head.idle_below, 64 * op.split);
      ++attentions;
    } else if (BodyOf(decoded) ==
               static_cast<uint32_t>(isa::Opcode::kAttentionMerge)) {
      ASSERT_EQ(decoded.head.idle_below, 64u);
      ++merges;
    } else {
      ASSERT_EQ(decoded.head.idle_below, 0u);
    }
  }
  EXPECT_EQ(attentions, 28u * 128);
  EXPECT_GT(merges, 0u);
}

TEST(Decode, OperandsThatNoHotBodyDoes) {
  // 72 columns are no whole slab, 24 elements no head of 128.
  const isa::Program odd =
      scheduler::MustCompile(scheduler::OddConfig(), scheduler::TestTarget(4));
  EXPECT_EQ(BodyOf(First(odd, "L00.qkv")),
            static_cast<uint32_t>(isa::Opcode::kGemv) | ops::kCodeAny);
  EXPECT_EQ(BodyOf(First(odd, "L00.attn")),
            static_cast<uint32_t>(isa::Opcode::kAttention) | ops::kCodeAny);
  EXPECT_EQ(DirectOf(First(odd, "L00.qkv")), Direct::kNo);
  EXPECT_EQ(DirectOf(First(odd, "L00.attn")), Direct::kNo);
}

TEST(Decode, QueuesKnowHowManyInstructionsAreNeverIdle) {
  const isa::Program program = Qwen();
  const std::vector<DecodedInstruction> code = Decode(program);
  const std::vector<QueueRange> queues = QueueRangesOf(program, code);
  ASSERT_EQ(queues.size(), program.num_workers());
  uint32_t begin = 0, idle = 0;
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    const std::vector<isa::Instruction>& queue = program.queues[w];
    EXPECT_EQ(queues[w].begin, begin);
    EXPECT_EQ(queues[w].length, queue.size());
    uint32_t always = 0;
    for (const isa::Instruction& i : queue) {
      const auto opcode = static_cast<isa::Opcode>(i.opcode);
      const bool sometimes =
          opcode == isa::Opcode::kAttentionMerge ||
          (opcode == isa::Opcode::kAttention &&
           isa::DecodeOperands<isa::AttentionOperands>(i).split != 0);
      always += sometimes ? 0 : 1;
    }
    EXPECT_EQ(queues[w].always, always) << "worker " << w;
    begin += queues[w].length;
    idle += queues[w].length - always;
  }
  EXPECT_EQ(begin, code.size());
  EXPECT_GT(idle, 0u);
}

TEST(Decode, GemvsKnowTheirStages) {
  const isa::Program program = Qwen();
  const ops::GemvShape gate_up = First(program, "L00.gate_up").gemv;
  EXPECT_EQ(gate_up.panels, 3u);
  EXPECT_EQ(gate_up.matrices, 2u);
  EXPECT_EQ(gate_up.tiles, 32u);
  EXPECT_EQ(gate_up.slabs, 1u);
  EXPECT_EQ(gate_up.chunk, 1u);
  EXPECT_EQ(gate_up.group, 3u);
  EXPECT_EQ(gate_up.mean, 1.0f / 1024);
  EXPECT_EQ(gate_up.x_mask, 0xffu);
  // With four stages a chunk has two of gate and two of up.
  EXPECT_EQ(First(program, "L00.gate_up", 4).gemv.group, 2u);
  const ops::GemvShape down = First(program, "L00.down").gemv;
  EXPECT_EQ(down.slabs, 3u);
  EXPECT_EQ(down.chunk, 3u);
  EXPECT_EQ(down.group, 2u);
  // Two stages are two slabs of one panel.
  const ops::GemvShape narrow = First(program, "L00.down", 2).gemv;
  EXPECT_EQ(narrow.chunk, 2u);
  EXPECT_EQ(narrow.group, 1u);
  // Two chunks in any case: rather of two slabs each, so that three panels are
  // one group.
  const ops::GemvShape four = ops::MakeGemvShape(24, 4096, 1, 13);
  EXPECT_EQ(four.chunk, 2u);
  EXPECT_EQ(four.group, 3u);
  EXPECT_EQ(ops::MakeGemvShape(24, 7 * 1024, 1, 13).chunk, 3u);
  EXPECT_EQ(ops::MakeGemvShape(24, 0, 1, 13).slabs, 0u);
}

}  // namespace
}  // namespace mkvm::vm
