// Reads ToPerfetto's output back and holds it against the rules of the "Trace
// Event Format" document (TEF below, with its section) and against what
// Perfetto's importer adds to them.
#include "trace/perfetto.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "scheduler/compile.h"
#include "tests/trace/synthetic.h"

namespace mkvm::trace {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;
using Track = std::pair<int64_t, int64_t>;  // pid, tid

struct Slice {
  std::string name;
  Nanos begin, end;
  Json args;
};

// Microseconds with at most three decimals.
Nanos ToNanos(const Json& micros) {
  const double nanos = micros.get<double>() * 1000;
  EXPECT_NEAR(nanos, std::round(nanos), 1e-3) << micros;
  return static_cast<Nanos>(std::llround(nanos));
}

struct Document {
  explicit Document(const std::string& text)
      : json(Json::parse(text, nullptr, /*allow_exceptions=*/false)) {}

  std::vector<const Json*> Phase(const std::string& phase) const {
    std::vector<const Json*> found;
    for (const Json& event : json["traceEvents"]) {
      if (event["ph"] == phase) found.push_back(&event);
    }
    return found;
  }
  std::map<Track, std::vector<Slice>> Slices() const {
    std::map<Track, std::vector<Slice>> tracks;
    for (const Json* event : Phase("X")) {
      const Nanos begin = ToNanos((*event)["ts"]);
      tracks[{(*event)["pid"], (*event)["tid"]}].push_back(
          {(*event)["name"], begin, begin + ToNanos((*event)["dur"]),
           event->value("args", Json::object())});
    }
    return tracks;
  }

  Json json;
};

std::string Convert(const Trace& trace) {
  const Dependencies dependencies(trace);
  return ToPerfetto(dependencies, FindCriticalPath(dependencies));
}

void CheckKeys(const Json& event) {
  // TEF, "Event Descriptions": name, ph, pid, tid for every event; ts for all
  // but metadata. `ph` is one of those used here.
  ASSERT_TRUE(event.is_object());
  ASSERT_TRUE(event.contains("ph") && event["ph"].is_string());
  const std::string phase = event["ph"];
  ASSERT_THAT(std::string("XMisfC"), HasSubstr(phase));
  ASSERT_TRUE(event.contains("name") && event["name"].is_string()) << event;
  for (const char* key : {"pid", "tid"}) {
    ASSERT_TRUE(event.contains(key) && event[key].is_number_integer()) << event;
  }
  if (phase != "M") {
    ASSERT_TRUE(event.contains("ts") && event["ts"].is_number()) << event;
    EXPECT_GE(event["ts"].get<double>(), 0) << event;
  }
  // TEF, "Complete Events": dur.
  if (phase == "X") {
    ASSERT_TRUE(event.contains("dur") && event["dur"].is_number()) << event;
    EXPECT_GE(event["dur"].get<double>(), 0) << event;
  }
  // TEF, "Instant Events": the scope is g, p or t.
  if (phase == "i") {
    EXPECT_THAT(event.value("s", ""), ::testing::AnyOf("g", "p", "t"));
  }
  // TEF, "Counter Events": args are series of numbers.
  if (phase == "C") {
    ASSERT_TRUE(event["args"].is_object() && !event["args"].empty()) << event;
    for (const Json& value : event["args"]) EXPECT_TRUE(value.is_number());
  }
}

// TEF, "Metadata Events": process_name and thread_name carry args.name, the
// sort indices args.sort_index. Every track that is used has its name.
// Perfetto's importer keeps threads by tid alone: no tid in two processes.
void CheckNames(const Document& document) {
  std::set<int64_t> processes;
  std::map<int64_t, int64_t> process_of_thread;
  for (const Json* event : document.Phase("M")) {
    const std::string name = (*event)["name"];
    const Json& args = (*event)["args"];
    if (name == "process_name" || name == "thread_name") {
      EXPECT_TRUE(args["name"].is_string());
    } else {
      EXPECT_THAT(name,
                  ::testing::AnyOf("process_sort_index", "thread_sort_index"));
      EXPECT_TRUE(args["sort_index"].is_number_integer());
    }
    if (name == "process_name") processes.insert((*event)["pid"].get<int>());
    if (name == "thread_name") {
      const auto [it, is_new] =
          process_of_thread.emplace((*event)["tid"], (*event)["pid"]);
      EXPECT_TRUE(is_new) << "two names for tid " << (*event)["tid"];
    }
  }
  for (const Json& event : document.json["traceEvents"]) {
    const int64_t pid = event["pid"];
    const int64_t tid = event["tid"];
    EXPECT_TRUE(processes.contains(pid)) << event;
    ASSERT_TRUE(process_of_thread.contains(tid)) << event;
    EXPECT_EQ(process_of_thread[tid], pid) << event;
    EXPECT_NE(pid, tid) << "Perfetto takes it for the main thread";
  }
}

// TEF, "Duration Events" and "Complete Events": the events of a thread nest,
// as a stack of calls does. Perfetto does not show slices that overlap partly.
void CheckNesting(const Document& document) {
  for (auto& [track, slices] : document.Slices()) {
    std::vector<Slice> sorted = slices;
    std::stable_sort(
        sorted.begin(), sorted.end(), [](const Slice& a, const Slice& b) {
          return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
        });
    std::vector<Nanos> open;
    for (const Slice& slice : sorted) {
      while (!open.empty() && open.back() <= slice.begin) open.pop_back();
      if (!open.empty()) {
        ASSERT_LE(slice.end, open.back())
            << slice.name << " overlaps partly on tid " << track.second;
      }
      open.push_back(slice.end);
    }
  }
}

bool IsInSlice(const std::vector<Slice>& slices, Nanos time) {
  return std::any_of(slices.begin(), slices.end(), [&](const Slice& slice) {
    return slice.begin <= time && time < slice.end;
  });
}

// TEF, "Flow Events": start and end have the same cat, name and id; bp "e"
// binds the end to the slice that encloses it, the start is bound to its own.
// An end before its start is no flow.
void CheckFlows(const Document& document) {
  std::map<int64_t, const Json*> starts;
  for (const Json* start : document.Phase("s")) {
    ASSERT_TRUE(start->contains("id") && start->contains("cat"));
    EXPECT_TRUE(starts.emplace((*start)["id"], start).second) << *start;
  }
  const std::map<Track, std::vector<Slice>> slices = document.Slices();
  const auto check_bound = [&](const Json& event) {
    const auto it = slices.find({event["pid"], event["tid"]});
    ASSERT_NE(it, slices.end()) << event;
    EXPECT_TRUE(IsInSlice(it->second, ToNanos(event["ts"]))) << event;
  };
  size_t ends = 0;
  for (const Json* end : document.Phase("f")) {
    ++ends;
    EXPECT_EQ((*end)["bp"], "e");
    const auto start = starts.find((*end)["id"].get<int64_t>());
    ASSERT_NE(start, starts.end()) << *end;
    EXPECT_EQ((*end)["cat"], (*start->second)["cat"]);
    EXPECT_EQ((*end)["name"], (*start->second)["name"]);
    EXPECT_GE(ToNanos((*end)["ts"]), ToNanos((*start->second)["ts"])) << *end;
    check_bound(*end);
    check_bound(*start->second);
  }
  EXPECT_EQ(ends, starts.size());
}

void CheckDocument(const Document& document) {
  // TEF, "JSON Object Format": traceEvents is an array; displayTimeUnit is ms
  // or ns; other properties are metadata.
  ASSERT_TRUE(document.json.is_object());
  ASSERT_TRUE(document.json["traceEvents"].is_array());
  EXPECT_EQ(document.json["displayTimeUnit"], "ns");
  for (const Json& event : document.json["traceEvents"]) CheckKeys(event);
  CheckNames(document);
  CheckNesting(document);
  CheckFlows(document);
}

Trace SmallModelTrace() {
  scheduler::Target target = scheduler::FindTarget("h200").value();
  target.workers = 8;
  const auto program =
      scheduler::Compile(model::FindConfig("qwen3-tiny").value(), target);
  EXPECT_TRUE(program.ok()) << program.status();
  return SyntheticTrace(*program, 3, 20);
}

TEST(PerfettoTest, KeepsTheRulesForAModel) {
  const Trace trace = SmallModelTrace();
  const Document document(Convert(trace));
  CheckDocument(document);
  // Every event has its slice, its load and its fetch.
  size_t loads = 0;
  for (const Event& event : trace.events) {
    if (event.load_begin != kNever) ++loads;
  }
  size_t visits = 0, load_slices = 0;
  for (const Json* slice : document.Phase("X")) {
    if (slice->value("args", Json::object()).contains("instruction")) ++visits;
    if ((*slice)["cat"] == "load") ++load_slices;
  }
  EXPECT_EQ(visits, trace.events.size());
  EXPECT_EQ(load_slices, loads);
  EXPECT_EQ(document.Phase("i").size(), trace.events.size());
  EXPECT_GT(document.Phase("s").size(), trace.events.size() / 2);
}

TEST(PerfettoTest, KeepsEveryNanosecond) {
  const Document document(Convert(TinyTrace("")));
  CheckDocument(document);
  std::vector<std::pair<std::string, Nanos>> seen;
  for (const auto& [track, slices] : document.Slices()) {
    if (track.first != 2) continue;
    for (const Slice& slice : slices) {
      seen.emplace_back(slice.name, slice.end - slice.begin);
    }
  }
  using P = std::pair<std::string, Nanos>;
  EXPECT_THAT(seen, ::testing::ElementsAre(
                        P("first", 1200), P("load operands", 100),
                        P("compute", 1000), P("signal", 100), P("nop@0:1", 800),
                        P("load operands", 100), P("compute", 600),
                        P("signal", 100), P("nop@1:0", 3800), P("wait", 2300),
                        P("load operands", 300), P("wait for operands", 50),
                        P("compute", 50), P("wait for weights", 200),
                        P("compute", 800), P("signal", 100)));
  // From `first` at its signal to the waiter's counter seen; from the second,
  // tagged, at its `done` to the last poll.
  ASSERT_EQ(document.Phase("s").size(), 2u);
  EXPECT_EQ(ToNanos((*document.Phase("s")[0])["ts"]), 1199);
  EXPECT_EQ(ToNanos((*document.Phase("f")[0])["ts"]), 1500);
  EXPECT_EQ((*document.Phase("s")[0])["name"], "c");
  EXPECT_EQ((*document.Phase("s")[0])["cat"], "counter");
  EXPECT_EQ(ToNanos((*document.Phase("s")[1])["ts"]), 2000);
  EXPECT_EQ(ToNanos((*document.Phase("f")[1])["ts"]), 2600);
  EXPECT_EQ((*document.Phase("s")[1])["cat"], "tagged");
}

TEST(PerfettoTest, SumsTheCounterToTheBytes) {
  const Document document(Convert(TinyTrace("")));
  double bytes = 0, rate = 0, since = 0;
  for (const Json* event : document.Phase("C")) {
    const double time = (*event)["ts"].get<double>() * 1000;
    bytes += rate * (time - since);
    since = time;
    rate = (*event)["args"]["GB/s"];
  }
  EXPECT_EQ(rate, 0);           // it ends
  EXPECT_NEAR(bytes, 3000, 3);  // three decimals
}

TEST(PerfettoTest, EscapesNames) {
  const std::string label = "\"</script>\\\n\x01 \xc3\xbc\xe2\x82\xac";
  const Document document(Convert(TinyTrace(label)));
  CheckDocument(document);
  EXPECT_EQ(document.json["otherData"]["program"], label);
  size_t found = 0;
  for (const Json* slice : document.Phase("X")) {
    if ((*slice)["cat"] == "nop" && (*slice)["name"] == label) ++found;
  }
  EXPECT_EQ(found, 1u);
  // Bytes that are no UTF-8 are replaced, so that the rest can be read.
  CheckDocument(Document(Convert(TinyTrace("\xff\xfe"))));
}

TEST(PerfettoTest, TakesTracesWithLittleInThem) {
  CheckDocument(Document(Convert(Trace())));
  Trace trace = TinyTrace("");
  trace.events.resize(1);
  CheckDocument(Document(Convert(trace)));
  // A consumer whose producers were not recorded.
  trace = TinyTrace("");
  trace.events.erase(trace.events.begin(), trace.events.begin() + 2);
  const Document document(Convert(trace));
  CheckDocument(document);
  EXPECT_TRUE(document.Phase("s").empty());
  // Nothing took any time.
  trace = TinyTrace("");
  for (Event& event : trace.events) {
    event = {.worker = event.worker,
             .pc = event.pc,
             .visited = 5,
             .done = 5,
             .signaled = 5};
  }
  CheckDocument(Document(Convert(trace)));
}

TEST(PerfettoTest, EndsArrowsInsideTheirSlices) {
  // The waiter was done in the nanosecond in which it found its data: a slice
  // does not hold its own end.
  Trace trace = TinyTrace("");
  Event& waiter = trace.events[2];
  waiter.ready = waiter.done = waiter.signaled = waiter.poll_begin;
  const Document document(Convert(trace));
  CheckDocument(document);
  ASSERT_EQ(document.Phase("f").size(), 2u);
  EXPECT_EQ(ToNanos((*document.Phase("f")[1])["ts"]), 2599);
}

TEST(PerfettoTest, DrawsNoArrowBackInTime) {
  // Clocks apart: the waiter saw the counter before it was ticked.
  Trace trace = TinyTrace("");
  trace.events[2].waited = 400;
  trace.events[2].poll_begin = 500;
  trace.events[2].ready = 600;
  const Document document(Convert(trace));
  CheckDocument(document);
  ASSERT_EQ(document.Phase("s").size(), 1u);  // `first` has begun by then
  EXPECT_EQ((*document.Phase("s")[0])["ts"], (*document.Phase("f")[0])["ts"]);
}

}  // namespace
}  // namespace mkvm::trace
