#include "scheduler/counters.h"

#include <algorithm>
#include <map>
#include <set>

#include "isa/opcode_table.h"
#include "tests/scheduler/testing.h"

namespace mkvm::scheduler {
namespace {

using ::testing::HasSubstr;

struct Event {
  uint32_t worker;
  uint32_t pc;
  const isa::Instruction* instruction;
  std::vector<isa::Access> accesses;
};

std::vector<Event> EventsOf(const isa::Program& program) {
  std::vector<Event> events;
  ForEach(program, [&](uint32_t w, uint32_t pc, const isa::Instruction& i) {
    events.push_back({w, pc, &i, {}});
    isa::AppendAccesses(program, i, events.back().accesses);
  });
  return events;
}

bool Writes(const isa::Access& a) {
  return a.kind == isa::AccessKind::kWrite ||
         a.kind == isa::AccessKind::kUpdate;
}
bool Overlap(const isa::Access& a, const isa::Access& b) {
  return a.buffer == b.buffer && a.begin < b.begin + b.count &&
         b.begin < a.begin + a.count;
}

bool WaitsFor(const isa::Instruction& i, uint32_t counter) {
  for (int w = 0; w < i.num_waits; ++w) {
    if (i.waits[w].counter == counter) return true;
  }
  return false;
}

// What `write` does only in some passes others do in the rest. They wait for it
// in all of them.
void ExpectFollowedByItsHeirs(const std::vector<Event>& events,
                              const Event& writer, const isa::Access& write) {
  uint64_t covered = 0;
  for (const Event& heir : events) {
    for (const isa::Access& later : heir.accesses) {
      if (!Writes(later) || !Overlap(later, write) ||
          later.first_position != write.end_position) {
        continue;
      }
      covered += later.count;
      EXPECT_TRUE(WaitsFor(*heir.instruction, writer.instruction->signal));
    }
  }
  EXPECT_EQ(covered, write.count);
}

// Every read of an activation waits for each of its writers, found here by
// comparing all pairs.
TEST(CountersTest, EveryReadWaitsForItsWriters) {
  for (const bool tagged : {true, false}) {
    for (const bool fuse : {true, false}) {
      Target target = TestTarget(5);
      target.tagged = tagged;
      CompileOptions options;
      options.fuse = fuse;
      const isa::Program program = MustCompile(OddConfig(), target, options);
      const std::vector<Event> events = EventsOf(program);
      size_t edges = 0;
      for (const Event& reader : events) {
        for (const isa::Access& read : reader.accesses) {
          if (read.kind != isa::AccessKind::kRead ||
              program.buffers[read.buffer].kind !=
                  isa::BufferKind::kActivation) {
            continue;
          }
          uint64_t covered = 0;
          for (const Event& writer : events) {
            for (const isa::Access& write : writer.accesses) {
              if (!Writes(write) || !Overlap(read, write)) continue;
              if (write.end_position != isa::Access::kNoEnd) {
                ExpectFollowedByItsHeirs(events, writer, write);
                continue;
              }
              ++edges;
              covered +=
                  std::min(read.begin + read.count, write.begin + write.count) -
                  std::max(read.begin, write.begin);
              EXPECT_TRUE(
                  WaitsFor(*reader.instruction, writer.instruction->signal))
                  << program.labels[reader.worker][reader.pc] << " reads "
                  << program.labels[writer.worker][writer.pc];
            }
          }
          EXPECT_EQ(covered, read.count)
              << program.labels[reader.worker][reader.pc];
        }
      }
      EXPECT_GT(edges, 300u);
    }
  }
}

// The projection reads what split 0 writes while it attends alone, but the
// merge that it waits for waits for that.
TEST(CountersTest, OnlyMergesWaitForParts) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(7));
  size_t alone = 0;
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    for (int n = 0; n < i.num_waits; ++n) {
      const std::string& counter = program.counters[i.waits[n].counter].name;
      EXPECT_EQ(counter.find(".part.") != std::string::npos,
                Is(i, isa::Opcode::kAttentionMerge))
          << counter;
    }
    if (!Is(i, isa::Opcode::kAttention)) return;
    const auto op = isa::DecodeOperands<isa::AttentionOperands>(i);
    EXPECT_EQ(op.alone, 64 * std::max(op.split, 1u));
    EXPECT_EQ(op.y != isa::kNoBuffer, op.split == 0);
    if (op.split == 0) ++alone;
  });
  EXPECT_EQ(alone, OddConfig().num_layers * OddConfig().num_kv_heads);
}

TEST(CountersTest, ThresholdsAreTheSignalsOfAPass) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(7));
  std::vector<uint32_t> signals(program.counters.size(), 0);
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    if (i.signal != isa::kNoCounter) ++signals[i.signal];
  });
  for (size_t c = 0; c < signals.size(); ++c) {
    EXPECT_EQ(signals[c], program.counters[c].producers)
        << program.counters[c].name;
    EXPECT_GT(signals[c], 0u);
  }
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    for (int w = 0; w < i.num_waits; ++w) {
      EXPECT_EQ(i.waits[w].threshold, signals[i.waits[w].counter]);
      EXPECT_FALSE(i.WaitIsLagged(w));
    }
  });
}

TEST(CountersTest, EveryHaltWaitsForAdvanceByAReleasedCounter) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(7));
  const uint32_t advanced = isa::FindCounter(program, "advanced");
  ASSERT_NE(advanced, isa::kNoCounter);
  for (const auto& queue : program.queues) {
    const isa::Instruction& halt = queue.back();
    ASSERT_TRUE(Is(halt, isa::Opcode::kHalt));
    EXPECT_TRUE(WaitsFor(halt, advanced));
    EXPECT_EQ(halt.tagged, 0);
    EXPECT_EQ(halt.polled, 0u);
  }
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    if (i.signal == advanced) {
      EXPECT_TRUE(i.flags & isa::kFlagRelease);
    }
  });
}

TEST(CountersTest, TaggedProgramsPollActivationsAndReleaseOnlyTheToken) {
  const isa::Program program = MustCompile(OddConfig(), TestTarget(7));
  std::vector<isa::Access> accesses;
  ForEach(program, [&](uint32_t w, uint32_t pc, const isa::Instruction& i) {
    const std::string& label = program.labels[w][pc];
    accesses.clear();
    isa::AppendAccesses(program, i, accesses);
    for (const isa::Access& a : accesses) {
      const bool activation =
          program.buffers[a.buffer].kind == isa::BufferKind::kActivation;
      EXPECT_EQ(i.OperandIsPolled(a.operand),
                activation && a.kind == isa::AccessKind::kRead)
          << label << " operand " << int{a.operand};
    }
    for (int n = 0; n < i.num_waits; ++n) {
      EXPECT_EQ(i.WaitIsTagged(n), !Is(i, isa::Opcode::kHalt)) << label;
    }
    if (i.signal != isa::kNoCounter) {
      EXPECT_EQ((i.flags & isa::kFlagRelease) != 0,
                Is(i, isa::Opcode::kAdvance))
          << label;
    }
  });
}

TEST(CountersTest, UnfusedProgramsHandTheCacheOverByCounters) {
  CompileOptions options;
  options.fuse = false;
  const isa::Program program = MustCompile(OddConfig(), TestTarget(7), options);
  int checked = 0;
  ForEach(program, [&](uint32_t w, uint32_t pc, const isa::Instruction& i) {
    if (Is(i, isa::Opcode::kAttention) || Is(i, isa::Opcode::kArgmax)) {
      ++checked;
      ASSERT_GE(i.num_waits, 1);
      EXPECT_EQ(i.tagged, 0) << program.labels[w][pc];
    }
    if (Is(i, isa::Opcode::kQkNormRopeAppend) ||
        program.labels[w][pc].rfind("lm_head", 0) == 0) {
      EXPECT_TRUE(i.flags & isa::kFlagRelease) << program.labels[w][pc];
    }
  });
  EXPECT_GT(checked, 6);
}

// The host reads logits of all workers, which nobody polls: that the token is
// there must mean that they are.
TEST(CountersTest, LogitsAreHandedOverByTheCounterOfTheCandidates) {
  for (const bool logits : {true, false}) {
    SCOPED_TRACE(testing::Message() << "logits " << logits);
    CompileOptions options;
    options.logits = logits;
    const isa::Program program =
        MustCompile(OddConfig(), TestTarget(7), options);
    int heads = 0;
    int advances = 0;
    ForEach(program, [&](uint32_t w, uint32_t pc, const isa::Instruction& i) {
      const std::string& label = program.labels[w][pc];
      if (Is(i, isa::Opcode::kAdvance)) {
        ++advances;
        ASSERT_EQ(i.num_waits, 1);
        EXPECT_EQ(i.WaitIsTagged(0), !logits);
      } else if (label.rfind("lm_head", 0) == 0) {
        ++heads;
        EXPECT_EQ((i.flags & isa::kFlagRelease) != 0, logits) << label;
      } else if (Is(i, isa::Opcode::kGemv)) {
        // No other edge pays for it.
        EXPECT_FALSE(i.flags & isa::kFlagRelease) << label;
      }
    });
    EXPECT_EQ(heads, 7);
    EXPECT_EQ(advances, 1);
  }
}

TEST(CountersTest, UntaggedTargetsGetPlainCounters) {
  Target target = TestTarget(7);
  target.tagged = false;
  const isa::Program program = MustCompile(OddConfig(), target);
  ForEach(program, [&](uint32_t, uint32_t, const isa::Instruction& i) {
    EXPECT_EQ(i.tagged, 0);
    EXPECT_EQ(i.polled, 0u);
    EXPECT_EQ(i.flags, isa::kFlagRelease);
  });
}

TEST(CountersTest, TooManyWaitsAreAnError) {
  // Five producers with a counter each, one reader of all.
  isa::Program program;
  Tiles tiles;
  Queues queues;
  program.buffers.push_back({"x",
                             isa::DType::kF24,
                             isa::BufferKind::kActivation,
                             isa::Layout::kRows,
                             {5}});
  program.buffers.push_back({"y",
                             isa::DType::kF24,
                             isa::BufferKind::kActivation,
                             isa::Layout::kRows,
                             {5}});
  queues.tiles.resize(1);
  for (uint32_t n = 0; n < 6; ++n) {
    isa::AddOperands op;
    op.a = op.b = 0;
    op.y = 1;
    op.count = 5;
    if (n < 5) {
      op.a = op.b = 1;
      op.y = 0;
      op.begin = n;
      op.count = 1;
    }
    Tile tile;
    tile.instruction = isa::Encode(op);
    tile.label = "add" + std::to_string(n);
    tile.counter = "c" + std::to_string(n);
    tiles.tiles.push_back(tile);
    queues.tiles[0].push_back(n);
  }
  const absl::Status status = Connect(tiles, queues, {}, program);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("add5 needs 5 waits"));
}

TEST(CountersTest, DumpShowsWaitsAndSignals) {
  Dumps dumps;
  ASSERT_TRUE(CompileWithDumps(OddConfig(), TestTarget(3), {}, dumps).ok());
  EXPECT_THAT(dumps.queues, HasSubstr("worker 2\n"));
  EXPECT_THAT(dumps.queues, HasSubstr("poll L01.x>=3;"));
  EXPECT_THAT(dumps.queues, HasSubstr("wait advanced>=1; halt stop=stop"));
  EXPECT_THAT(dumps.queues, HasSubstr("-> advanced (release)"));
}

}  // namespace
}  // namespace mkvm::scheduler
