#include "trace/perfetto.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "isa/disassembler.h"
#include "isa/opcode_table.h"
#include "nlohmann/json.hpp"
#include "trace/parts.h"

namespace mkvm::trace {
namespace {

using Json = nlohmann::ordered_json;

// A process per kind of track, so that the same track of all workers is in
// sight together. Perfetto takes a thread whose id is its process's for the
// main thread, and expects no thread id twice: ids begin above the processes'.
enum Process { kToken = 1, kCompute = 2, kStream = 3, kFetch = 4 };
constexpr uint64_t kPassesThread = 11;
constexpr uint64_t kPathThread = 12;
constexpr uint64_t kFirstWorkerThread = 101;

// Of the counter track: fine enough to see a phase of a layer.
constexpr size_t kMaxRateBins = 16384;
constexpr Nanos kMinRateBinNs = 250;

std::string Quoted(absl::string_view text) {
  return Json(std::string(text))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Micros(Nanos nanos) {
  return absl::StrFormat("%s%d.%03d", nanos < 0 ? "-" : "",
                         std::abs(nanos) / 1000, std::abs(nanos) % 1000);
}

class Writer {
 public:
  Writer(const Dependencies& dependencies, const CriticalPath& path)
      : dependencies_(dependencies),
        trace_(dependencies.trace()),
        path_(path),
        visits_(Visits(trace_)) {}

  std::string Write();

 private:
  uint64_t Thread(Process process, uint32_t worker) const {
    const auto role = static_cast<uint64_t>(process - kCompute);
    return kFirstWorkerThread + role * trace_.program.num_workers() + worker;
  }
  // One event, up to its closing brace.
  void Open(absl::string_view phase, Process process, uint64_t thread,
            absl::string_view name);
  void OpenSlice(Process process, uint64_t thread, absl::string_view name,
                 absl::string_view category, Nanos begin, Nanos end);
  void Close() { out_ += '}'; }
  void Name(absl::string_view what, Process process, uint64_t thread,
            absl::string_view name, uint64_t sort_index);

  void WriteNames();
  void WritePasses();
  void WritePath();
  void WriteVisit(EventIndex index);
  void WriteParts(EventIndex index);
  void WriteStream();
  void WriteFetches();
  void WriteFlows();
  void WriteRate();

  const Dependencies& dependencies_;
  const Trace& trace_;
  const CriticalPath& path_;
  const std::vector<Visit> visits_;
  std::string out_;
  bool first_ = true;
};

void Writer::Open(absl::string_view phase, Process process, uint64_t thread,
                  absl::string_view name) {
  absl::StrAppend(&out_, first_ ? "\n" : ",\n", "{\"ph\":\"", phase,
                  "\",\"pid\":", static_cast<int>(process), ",\"tid\":", thread,
                  ",\"name\":", Quoted(name));
  first_ = false;
}

void Writer::OpenSlice(Process process, uint64_t thread, absl::string_view name,
                       absl::string_view category, Nanos begin, Nanos end) {
  Open("X", process, thread, name);
  absl::StrAppend(&out_, ",\"cat\":", Quoted(category),
                  ",\"ts\":", Micros(begin), ",\"dur\":", Micros(end - begin));
}

// `what`: "process" or "thread".
void Writer::Name(absl::string_view what, Process process, uint64_t thread,
                  absl::string_view name, uint64_t sort_index) {
  Open("M", process, thread, absl::StrCat(what, "_name"));
  absl::StrAppend(&out_, ",\"args\":{\"name\":", Quoted(name), "}");
  Close();
  Open("M", process, thread, absl::StrCat(what, "_sort_index"));
  absl::StrAppend(&out_, ",\"args\":{\"sort_index\":", sort_index, "}");
  Close();
}

void Writer::WriteNames() {
  Name("process", kToken, kPassesThread, "token", kToken);
  Name("thread", kToken, kPassesThread, "passes", kPassesThread);
  Name("thread", kToken, kPathThread, "critical path", kPathThread);
  const std::pair<Process, const char*> roles[] = {
      {kCompute, "compute"}, {kStream, "weight stream"}, {kFetch, "fetch"}};
  if (trace_.program.num_workers() == 0) return;
  for (const auto& [process, name] : roles) {
    Name("process", process, Thread(process, 0), name, process);
    for (uint32_t w = 0; w < trace_.program.num_workers(); ++w) {
      const uint64_t thread = Thread(process, w);
      Name("thread", process, thread, absl::StrCat("worker ", w), thread);
    }
  }
}

void Writer::WritePasses() {
  for (const TokenPath& token : path_.tokens) {
    OpenSlice(kToken, kPassesThread, absl::StrCat("pass ", token.pass), "pass",
              token.begin, std::max(token.begin, token.end));
    absl::StrAppend(&out_, ",\"args\":{\"position\":",
                    trace_.first_position + int64_t{token.pass},
                    ",\"hops\":", token.hops, "}");
    Close();
  }
}

void Writer::WritePath() {
  for (const TokenPath& token : path_.tokens) {
    for (const PathStep& step : token.steps) {
      const Event& event = trace_.events[step.event];
      OpenSlice(kToken, kPathThread, trace::Name(trace_, event),
                step.is_hop ? "hop" : "queue", step.begin,
                std::max(step.begin, step.end));
      absl::StrAppend(&out_, ",\"args\":{\"worker\":", event.worker);
      for (size_t i = 0; i < kNumPathParts; ++i) {
        if (step.parts[i] == 0) continue;
        absl::StrAppend(&out_, ",\"", trace::Name(static_cast<PathPart>(i)),
                        " (us)\":", Micros(step.parts[i]));
      }
      out_ += '}';
      Close();
    }
  }
}

void Writer::WriteParts(EventIndex index) {
  const Event& event = trace_.events[index];
  const Visit& visit = visits_[index];
  for (size_t i = 0; i < kPartOrder.size(); ++i) {
    if (visit.at[i] == visit.at[i + 1]) continue;
    OpenSlice(kCompute, Thread(kCompute, event.worker),
              trace::Name(kPartOrder[i]), "part", visit.at[i], visit.at[i + 1]);
    Close();
  }
}

void Writer::WriteVisit(EventIndex index) {
  const Event& event = trace_.events[index];
  const isa::Instruction& instruction =
      trace_.program.queues[event.worker][event.pc];
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  OpenSlice(kCompute, Thread(kCompute, event.worker),
            trace::Name(trace_, event),
            info == nullptr ? "unknown" : info->name, visits_[index].begin(),
            visits_[index].end());
  absl::StrAppend(&out_, ",\"args\":{\"instruction\":",
                  Quoted(isa::Disassemble(trace_.program, instruction)),
                  ",\"pass\":", event.pass, ",\"pc\":", event.pc,
                  ",\"bytes\":", event.bytes);
  for (int i = 0; i < dependencies_.NumWaits(index); ++i) {
    const Edge edge = dependencies_.EdgeOf(index, i);
    const uint32_t counter = instruction.waits[i].counter;
    std::string text = trace_.program.counters[counter].name;
    if (edge.transport == Transport::kTagged) text += ", tagged";
    if (edge.producer != kNoEvent) {
      const Event& producer = trace_.events[edge.producer];
      absl::StrAppend(&text, ", last ", trace::Name(trace_, producer),
                      " on worker ", producer.worker);
    }
    absl::StrAppend(&out_, ",\"wait ", i, "\":", Quoted(text));
  }
  out_ += '}';
  Close();
}

// The loader goes through the queue in order, so that its slices follow each
// other; what clocks say to the contrary is cut off.
void Writer::WriteStream() {
  Nanos end = 0;
  for (EventIndex i = 0; i < trace_.events.size(); ++i) {
    const Event& event = trace_.events[i];
    if (i > 0 && trace_.events[i - 1].worker != event.worker) end = 0;
    if (event.load_begin == kNever) continue;
    const Nanos begin = std::max(event.load_begin, end);
    end = std::max(begin, event.load_end);
    OpenSlice(kStream, Thread(kStream, event.worker),
              trace::Name(trace_, event), "load", begin, end);
    absl::StrAppend(&out_, ",\"args\":{\"bytes\":", event.bytes, "}");
    Close();
  }
}

void Writer::WriteFetches() {
  for (const Event& event : trace_.events) {
    if (event.fetched == kNever) continue;
    Open("i", kFetch, Thread(kFetch, event.worker), trace::Name(trace_, event));
    absl::StrAppend(&out_, ",\"cat\":\"fetch\",\"s\":\"t\",\"ts\":",
                    Micros(std::max<Nanos>(event.fetched, 0)));
    Close();
  }
}

// Both ends lie inside their slices, and an arrow never points back in time:
// where the clocks of two workers are apart, it begins as early as it must.
void Writer::WriteFlows() {
  uint64_t id = 0;
  const auto write = [&](absl::string_view phase, const Event& event,
                         const Edge& edge, absl::string_view counter,
                         Nanos time) {
    Open(phase, kCompute, Thread(kCompute, event.worker), counter);
    absl::StrAppend(&out_, ",\"cat\":\"",
                    edge.transport == Transport::kTagged ? "tagged" : "counter",
                    "\",\"id\":", id, ",\"ts\":", Micros(time),
                    phase == "f" ? ",\"bp\":\"e\"" : "");
    Close();
  };
  for (EventIndex i = 0; i < trace_.events.size(); ++i) {
    const Event& event = trace_.events[i];
    for (int w = 0; w < dependencies_.NumWaits(i); ++w) {
      const Edge edge = dependencies_.EdgeOf(i, w);
      if (edge.producer == kNoEvent) continue;
      const Event& producer = trace_.events[edge.producer];
      const Visit& from = visits_[edge.producer];
      const Visit& to = visits_[i];
      if (producer.worker == event.worker || from.begin() == from.end() ||
          to.begin() == to.end()) {
        continue;
      }
      const Nanos found = std::clamp(dependencies_.Detected(i, edge.transport),
                                     to.begin(), to.end() - 1);
      const Nanos published = std::min(
          found, std::clamp(edge.publish, from.begin(), from.end() - 1));
      if (published < from.begin()) continue;
      const uint32_t counter =
          trace_.program.queues[event.worker][event.pc].waits[w].counter;
      const std::string& name = trace_.program.counters[counter].name;
      ++id;
      write("s", producer, edge, name, published);
      write("f", event, edge, name, found);
    }
  }
}

void Writer::WriteRate() {
  if (trace_.events.empty()) return;
  const ReadRate rate = RateOfReads(trace_, kMaxRateBins, kMinRateBinNs);
  const auto write = [&](size_t bin, double gb_per_s) {
    Open("C", kToken, kPassesThread, "read");
    absl::StrAppend(
        &out_, ",\"ts\":", Micros(static_cast<Nanos>(bin) * rate.bin_ns),
        ",\"args\":{\"GB/s\":", absl::StrFormat("%.3f", gb_per_s), "}");
    Close();
  };
  for (size_t i = 0; i < rate.gb_per_s.size(); ++i) write(i, rate.gb_per_s[i]);
  write(rate.gb_per_s.size(), 0);
}

std::string Writer::Write() {
  const Json about = {
      {"program", trace_.program.name},
      {"model", trace_.program.model},
      {"source", trace_.source == Source::kMeasured ? "measured" : "predicted"},
      {"machine", trace_.machine},
      {"command", trace_.command},
      {"dropped events", trace_.dropped},
      {"clock resolution (ns)", trace_.resolution_ns},
      {"clock skew (ns)", trace_.skew_ns}};
  out_ =
      absl::StrCat("{\"displayTimeUnit\":\"ns\",\"otherData\":",
                   about.dump(-1, ' ', false, Json::error_handler_t::replace),
                   ",\"traceEvents\":[");
  WriteNames();
  WritePasses();
  WritePath();
  for (EventIndex i = 0; i < trace_.events.size(); ++i) {
    WriteVisit(i);
    WriteParts(i);
  }
  WriteStream();
  WriteFetches();
  WriteFlows();
  WriteRate();
  out_ += "\n]}\n";
  return std::move(out_);
}

}  // namespace

std::string ToPerfetto(const Dependencies& dependencies,
                       const CriticalPath& path) {
  return Writer(dependencies, path).Write();
}

}  // namespace mkvm::trace
