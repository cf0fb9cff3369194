// The trace file: what is written is read, and damage is refused or harmless.
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/trace/hand_trace.h"
#include "trace/critical_path.h"
#include "trace/csv.h"
#include "trace/dependencies.h"
#include "trace/diff.h"
#include "trace/summary.h"
#include "trace/trace.h"
#include "trace/what_if.h"

namespace mkvm::trace {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMagicBytes = 8;
constexpr size_t kChecksumBytes = 8;
constexpr size_t kRecordBytes = 80;

// Writes the checksum anew, so that damage gets past it.
std::string Resealed(std::string bytes) {
  if (bytes.size() < kMagicBytes + kChecksumBytes) return bytes;
  const size_t end = bytes.size() - kChecksumBytes;
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < end; ++i) {
    hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3u;
  }
  std::memcpy(&bytes[end], &hash, sizeof(hash));
  return bytes;
}

// An exact copy on the heap, so that ASan sees a read past the end.
absl::StatusOr<Trace> ParseCopy(const std::string& bytes) {
  const std::unique_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return Parse(absl::string_view(copy.get(), bytes.size()));
}

void ExpectRefused(const std::string& bytes, absl::string_view what = "") {
  const absl::StatusOr<Trace> trace = ParseCopy(bytes);
  ASSERT_FALSE(trace.ok());
  ASSERT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(trace.status().message());
  EXPECT_THAT(message, HasSubstr(std::string(what)));
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

// What `mkvm trace` does with it.
void Analyze(const Trace& trace) {
  const Dependencies d(trace);
  const CriticalPath path = FindCriticalPath(d);
  for (const TokenPath& token : path.tokens) {
    Nanos sum = 0;
    for (const Nanos part : token.parts) sum += part;
    ASSERT_EQ(sum, token.end - token.begin);
    ASSERT_FALSE(TokenPathText(d, token).empty());
  }
  const Summary summary = Summarize(d);
  const absl::StatusOr<WhatIf> what_if = AskWhatIf(d);
  ASSERT_FALSE(SummaryText(d, summary).empty());
  ASSERT_FALSE(SummaryJson(d, summary, TabulatePath(d, path),
                           what_if.ok() ? &*what_if : nullptr)
                   .empty());
  ASSERT_FALSE(DiffText(trace, trace, Compare(trace, trace)).empty());
  size_t bytes = 0;
  WriteCsv(d, [&](absl::string_view piece) { bytes += piece.size(); });
  ASSERT_GT(bytes, 0u);
}

Trace Sample() {
  Trace trace = HandTrace();
  // Every field of an event set somewhere.
  trace.program = HandProgram(" tagged");
  Event& e = trace.events[5];
  e.fetched = 100;
  e.load_begin = 90;
  e.load_end = 120;
  e.poll_begin = 240;
  e.stage_ready = 300;
  e.operand_wait = 7;
  e.bytes = uint64_t{1} << 40;
  e.last_wait = 0;
  e.last_buffer = 1;
  trace.source = Source::kPredicted;
  trace.machine = "hand \"made\"\n";
  trace.command = "none";
  trace.first_position = 5;
  trace.resolution_ns = 32;
  trace.skew_ns = 12.5;
  trace.stream_gb_per_s = 4590.25;
  trace.dropped = 1;
  return trace;
}

TEST(TraceFile, RoundTripsToTheByte) {
  for (const Trace& trace : {Sample(), HandTrace(3)}) {
    const std::string bytes = Serialize(trace);
    const absl::StatusOr<Trace> again = ParseCopy(bytes);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(Serialize(*again), bytes);
    ASSERT_EQ(again->events.size(), trace.events.size());
    for (size_t i = 0; i < trace.events.size(); ++i) {
      const Event& a = trace.events[i];
      const Event& b = again->events[i];
      EXPECT_EQ(a.worker, b.worker);
      EXPECT_EQ(a.pass, b.pass);
      EXPECT_EQ(a.pc, b.pc);
      EXPECT_EQ(a.last_wait, b.last_wait);
      EXPECT_EQ(a.last_buffer, b.last_buffer);
      EXPECT_EQ(a.bytes, b.bytes);
      EXPECT_EQ(a.fetched, b.fetched);
      EXPECT_EQ(a.load_begin, b.load_begin);
      EXPECT_EQ(a.load_end, b.load_end);
      EXPECT_EQ(a.visited, b.visited);
      EXPECT_EQ(a.waited, b.waited);
      EXPECT_EQ(a.poll_begin, b.poll_begin);
      EXPECT_EQ(a.ready, b.ready);
      EXPECT_EQ(a.stage_ready, b.stage_ready);
      EXPECT_EQ(a.done, b.done);
      EXPECT_EQ(a.signaled, b.signaled);
      EXPECT_EQ(a.stage_wait, b.stage_wait);
      EXPECT_EQ(a.operand_wait, b.operand_wait);
    }
    EXPECT_EQ(again->source, trace.source);
    EXPECT_EQ(again->machine, trace.machine);
    EXPECT_EQ(again->command, trace.command);
    EXPECT_EQ(again->first_position, trace.first_position);
    EXPECT_EQ(again->first_pass, trace.first_pass);
    EXPECT_EQ(again->num_passes, trace.num_passes);
    EXPECT_EQ(again->dropped, trace.dropped);
    EXPECT_EQ(again->resolution_ns, trace.resolution_ns);
    EXPECT_EQ(again->skew_ns, trace.skew_ns);
    EXPECT_EQ(again->stream_gb_per_s, trace.stream_gb_per_s);
  }
}

TEST(TraceFile, EmptyTraceRoundTrips) {
  Trace trace = HandTrace();
  trace.events.clear();
  Normalize(trace);
  const absl::StatusOr<Trace> again = ParseCopy(Serialize(trace));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->events.empty());
}

TEST(TraceFile, EveryTruncationIsRefused) {
  const std::string bytes = Serialize(Sample());
  ASSERT_TRUE(ParseCopy(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectRefused(bytes.substr(0, size));
    ExpectRefused(Resealed(bytes.substr(0, size)));
  }
}

TEST(TraceFile, EveryChangedByteIsRefused) {
  const std::string bytes = Serialize(Sample());
  ASSERT_TRUE(ParseCopy(bytes).ok());
  std::mt19937_64 random(3);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const uint64_t change :
         {uint64_t{1} << random() % 8, 1 + random() % 255}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      SCOPED_TRACE(absl::StrCat("byte ", i, " change ", change));
      ExpectRefused(damaged);
    }
  }
}

TEST(TraceFile, TrailingBytesAreRefused) {
  const std::string bytes = Serialize(Sample());
  ExpectRefused(bytes + '\0');
  ExpectRefused(Resealed(bytes + '\0'), "bytes for them");
  ExpectRefused(Resealed(bytes + std::string(kRecordBytes, '\0')),
                "bytes for them");
}

TEST(TraceFile, OtherFilesAndVersionsAreNamed) {
  ExpectRefused("", "does not begin like one");
  ExpectRefused(isa::SerializeProgram(HandProgram()),
                "does not begin like one");
  std::string future = Serialize(Sample());
  future[kMagicBytes] = 2;
  ExpectRefused(Resealed(future), "version 2; this mkvm reads version 1");
}

// The place of the number of events, which follows two blocks of bytes.
size_t CountOffset(const std::string& bytes) {
  size_t at = kMagicBytes + 4;
  for (int block = 0; block < 2; ++block) {
    uint64_t size = 0;
    std::memcpy(&size, &bytes[at], sizeof(size));
    at += sizeof(size) + size;
  }
  return at;
}

TEST(TraceFile, LyingCountsAreRefused) {
  const std::string bytes = Serialize(Sample());
  ASSERT_TRUE(ParseCopy(bytes).ok());
  const size_t offsets[] = {kMagicBytes + 4, CountOffset(bytes)};
  for (const size_t offset : offsets) {
    uint64_t right = 0;
    std::memcpy(&right, &bytes[offset], sizeof(right));
    for (const uint64_t lie :
         {uint64_t{0}, right - 1, right + 1, uint64_t{1} << 32,
          // Times 80, the size of an event, these wrap around.
          ~uint64_t{0}, right + (uint64_t{1} << 60)}) {
      std::string damaged = bytes;
      std::memcpy(&damaged[offset], &lie, sizeof(lie));
      SCOPED_TRACE(absl::StrCat("offset ", offset, ": ", lie));
      ExpectRefused(Resealed(damaged));
    }
  }
}

struct Edit {
  const char* name;
  std::function<void(Trace&)> edit;
  const char* message;
};

TEST(TraceFile, EachFieldIsNamed) {
  const Edit kEdits[] = {
      {"worker", [](Trace& t) { t.events.back().worker = 9; },
       "no such worker"},
      {"pc", [](Trace& t) { t.events.back().pc = 99; }, "no such pc"},
      {"pass", [](Trace& t) { t.events.back().pass = 7; },
       "pass outside the window"},
      {"wait", [](Trace& t) { t.events[0].last_wait = 1; }, "no such wait"},
      {"wait below", [](Trace& t) { t.events[0].last_wait = -2; },
       "no such wait"},
      {"buffer", [](Trace& t) { t.events[0].last_buffer = 3; },
       "no such buffer"},
      {"visit", [](Trace& t) { t.events[0].visited = -1; }, "visit time"},
      {"done", [](Trace& t) { t.events[0].done = kNever; },
       "done or signaled is missing"},
      {"order", [](Trace& t) { std::swap(t.events[0], t.events[1]); },
       "event 1: out of order"},
      {"twice", [](Trace& t) { t.events[1] = t.events[0]; },
       "event 1: out of order"},
      {"position", [](Trace& t) { t.first_position = -1; },
       "\"first_position\" is out of range"},
      {"passes",
       [](Trace& t) {
         t.first_pass = 0xffffffff;
         t.num_passes = 1;
       },
       "\"num_passes\" is out of range"},
      {"skew", [](Trace& t) { t.skew_ns = -1; }, "a figure is below 0"},
      {"program", [](Trace& t) { t.program.queues[0].pop_back(); },
       "its program: "},
  };
  for (const Edit& edit : kEdits) {
    SCOPED_TRACE(edit.name);
    Trace trace = HandTrace();
    ASSERT_TRUE(Parse(Serialize(trace)).ok());
    edit.edit(trace);
    if (trace.program.labels[0].size() > trace.program.queues[0].size()) {
      trace.program.labels[0].pop_back();
    }
    ExpectRefused(Serialize(trace), edit.message);
  }
}

TEST(TraceFile, DescriptionIsChecked) {
  const std::string bytes = Serialize(HandTrace());
  const struct {
    const char* from;
    const char* to;
    const char* message;
  } kEdits[] = {
      {"\"measured\"", "\"meazured\"", "unknown source"},
      {"\"dropped\"", "\"droqped\"", "\"dropped\" is missing"},
      {"\"dropped\": 0", "\"dropped\":-1", "\"dropped\" is missing or"},
      {"\"num_passes\": 1", "\"num_passes\": x", "not a JSON object"},
      {"\"first_pass\": 0", "\"first_pass\":\"\"",
       "\"first_pass\" is missing or of another type"},
  };
  for (const auto& edit : kEdits) {
    SCOPED_TRACE(edit.from);
    std::string damaged = bytes;
    const size_t at = damaged.find(edit.from);
    ASSERT_NE(at, std::string::npos);
    damaged.replace(at, std::strlen(edit.to), edit.to);
    ASSERT_EQ(damaged.size(), bytes.size());
    ExpectRefused(Resealed(damaged), edit.message);
  }
}

// Damage with a right checksum: refused, or a trace that round-trips and that
// everything else can read.
TEST(TraceFile, ResealedDamageIsRefusedOrHarmless) {
  const std::string samples[] = {Serialize(Sample()), Serialize(HandTrace(2))};
  std::mt19937_64 random(7);
  int refused = 0;
  int parsed = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string bytes = samples[i % 2];
    const size_t events = CountOffset(bytes) + 8;
    const int edits = 1 + static_cast<int>(random() % 3);
    for (int e = 0; e < edits; ++e) {
      // Half of them in the events, which the description can't save.
      const size_t begin = random() % 2 ? events : kMagicBytes;
      const size_t at = begin + random() % (bytes.size() - begin - 16);
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1: {
          const uint64_t word = random() % 2 ? ~uint64_t{0} : random();
          std::memcpy(&bytes[at], &word, random() % 2 ? 8 : 4);
          break;
        }
        default:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      }
    }
    bytes = Resealed(std::move(bytes));
    const absl::StatusOr<Trace> trace = ParseCopy(bytes);
    if (!trace.ok()) {
      ++refused;
      continue;
    }
    ++parsed;
    const std::string once = Serialize(*trace);
    const absl::StatusOr<Trace> again = ParseCopy(once);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(Serialize(*again), once);
    SCOPED_TRACE(i);
    Analyze(*trace);
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(parsed, 500);
}

}  // namespace
}  // namespace mkvm::trace
