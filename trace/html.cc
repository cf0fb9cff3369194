#include "trace/html.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "isa/disassembler.h"
#include "isa/opcode_table.h"
#include "nlohmann/json.hpp"
#include "trace/parts.h"
#include "trace/viewer_files.h"

namespace mkvm::trace {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRateBins = 65536;
constexpr Nanos kMinRateBinNs = 100;
constexpr int32_t kNeverInPage = std::numeric_limits<int32_t>::min();

// The array's bytes, little-endian as a browser's typed arrays are.
template <typename T>
std::string Base64(const std::vector<T>& values) {
  return absl::Base64Escape(absl::string_view(
      reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}

// A time beside another one; 2.1 seconds fit.
int32_t Relative(Nanos time, Nanos base) {
  if (time == kNever) return kNeverInPage;
  constexpr Nanos kMax = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::clamp(time - base, -kMax, kMax));
}

// Numbers strings in the order in which they come.
class Interner {
 public:
  uint32_t Id(absl::string_view text) {
    const auto [it, is_new] =
        ids_.try_emplace(text, static_cast<uint32_t>(strings_.size()));
    if (is_new) strings_.emplace_back(text);
    return it->second;
  }
  const std::vector<std::string>& strings() const { return strings_; }

 private:
  absl::flat_hash_map<std::string, uint32_t> ids_;
  std::vector<std::string> strings_;
};

Json AboutJson(const Trace& trace) {
  double token_ns = 0;
  Json typical = Json::array();
  for (const PassSpan& span : TypicalPasses(PassSpans(trace))) {
    token_ns += static_cast<double>(span.end - span.begin);
    typical.push_back(span.pass);
  }
  if (!typical.empty()) token_ns /= static_cast<double>(typical.size());
  return {{"program", trace.program.name},
          {"model", trace.program.model},
          {"measured", trace.source == Source::kMeasured},
          {"machine", trace.machine},
          {"command", trace.command},
          {"first_position", trace.first_position},
          {"first_pass", trace.first_pass},
          {"num_passes", trace.num_passes},
          {"dropped", trace.dropped},
          {"resolution_ns", trace.resolution_ns},
          {"skew_ns", trace.skew_ns},
          {"stream_gb_per_s", trace.stream_gb_per_s},
          {"token_ns", token_ns},
          {"typical_passes", std::move(typical)},
          {"never", kNeverInPage}};
}

// Instructions worker by worker. Their texts share most words ("k=1024"), so
// that a text is a list of words' numbers.
Json InstructionsJson(const isa::Program& program) {
  Interner words, opcodes, kinds;
  std::vector<uint32_t> begin = {0}, text_begin = {0}, text, wait_begin = {0},
                        wait_counter;
  std::vector<uint16_t> opcode, kind;
  std::vector<uint8_t> wait_flags;  // bit 0: tagged, bit 1: for the last pass
  Json labels = Json::array();
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const isa::Instruction& instruction = program.queues[w][pc];
      const std::string& label = program.labels[w][pc];
      const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
      const absl::string_view name = info == nullptr ? "unknown" : info->name;
      opcode.push_back(static_cast<uint16_t>(opcodes.Id(name)));
      kind.push_back(static_cast<uint16_t>(
          kinds.Id(label.empty() ? name : PhaseKind(Phase(label)))));
      labels.push_back(label.empty() ? absl::StrCat(name, "@", w, ":", pc)
                                     : label);
      const std::string line = isa::Disassemble(program, instruction);
      for (const absl::string_view word : absl::StrSplit(line, ' ')) {
        text.push_back(words.Id(word));
      }
      text_begin.push_back(static_cast<uint32_t>(text.size()));
      for (int i = 0; i < instruction.num_waits; ++i) {
        wait_counter.push_back(instruction.waits[i].counter);
        wait_flags.push_back((instruction.WaitIsTagged(i) ? 1 : 0) |
                             (instruction.WaitIsLagged(i) ? 2 : 0));
      }
      wait_begin.push_back(static_cast<uint32_t>(wait_counter.size()));
    }
    begin.push_back(static_cast<uint32_t>(opcode.size()));
  }
  return {{"words", words.strings()},
          {"opcodes", opcodes.strings()},
          {"kinds", kinds.strings()},
          {"labels", std::move(labels)},
          {"begin", Base64(begin)},
          {"opcode", Base64(opcode)},
          {"kind", Base64(kind)},
          {"text_begin", Base64(text_begin)},
          {"text", Base64(text)},
          {"wait_begin", Base64(wait_begin)},
          {"wait_counter", Base64(wait_counter)},
          {"wait_flags", Base64(wait_flags)}};
}

// Times are relative to the beginning of the visit.
Json EventsJson(const Dependencies& dependencies) {
  const Trace& trace = dependencies.trace();
  const std::vector<Visit> visits = Visits(trace);
  std::vector<double> begin, bytes;
  std::vector<int32_t> at, fetched, load_begin, load_end, publish;
  std::vector<uint32_t> row_begin, pass, pc, producer, last_buffer;
  std::vector<int8_t> last_wait;
  for (EventIndex i = 0; i < trace.events.size(); ++i) {
    const Event& event = trace.events[i];
    const Nanos base = visits[i].begin();
    row_begin.resize(event.worker + 1, i);
    pass.push_back(event.pass);
    pc.push_back(event.pc);
    begin.push_back(static_cast<double>(base));
    for (size_t k = 1; k < visits[i].at.size(); ++k) {
      at.push_back(Relative(visits[i].at[k], base));
    }
    bytes.push_back(static_cast<double>(event.bytes));
    fetched.push_back(Relative(event.fetched, base));
    load_begin.push_back(Relative(event.load_begin, base));
    load_end.push_back(Relative(event.load_end, base));
    last_wait.push_back(event.last_wait);
    last_buffer.push_back(event.last_buffer);
    for (int w = 0; w < dependencies.NumWaits(i); ++w) {
      const Edge edge = dependencies.EdgeOf(i, w);
      producer.push_back(edge.producer);
      publish.push_back(edge.producer == kNoEvent
                            ? kNeverInPage
                            : Relative(edge.publish, base));
    }
  }
  row_begin.resize(trace.program.num_workers() + 1,
                   static_cast<uint32_t>(trace.events.size()));
  return {{"count", trace.events.size()},
          {"row_begin", Base64(row_begin)},
          {"pass", Base64(pass)},
          {"pc", Base64(pc)},
          {"begin", Base64(begin)},
          {"at", Base64(at)},
          {"bytes", Base64(bytes)},
          {"fetched", Base64(fetched)},
          {"load_begin", Base64(load_begin)},
          {"load_end", Base64(load_end)},
          {"last_wait", Base64(last_wait)},
          {"last_buffer", Base64(last_buffer)},
          {"producer", Base64(producer)},
          {"publish", Base64(publish)}};
}

Json PathJson(const CriticalPath& path) {
  Json names = Json::array();
  for (size_t i = 0; i < kNumPathParts; ++i) {
    names.push_back(std::string(Name(static_cast<PathPart>(i))));
  }
  Json tokens = Json::array();
  for (const TokenPath& token : path.tokens) {
    std::vector<uint32_t> events;
    std::vector<double> begin, end;
    std::vector<uint8_t> hop;
    for (const PathStep& step : token.steps) {
      events.push_back(step.event);
      begin.push_back(static_cast<double>(step.begin));
      end.push_back(static_cast<double>(step.end));
      hop.push_back(step.is_hop ? 1 : 0);
    }
    tokens.push_back({{"pass", token.pass},
                      {"begin", token.begin},
                      {"end", token.end},
                      {"hops", token.hops},
                      {"parts", token.parts},
                      {"events", Base64(events)},
                      {"step_begin", Base64(begin)},
                      {"step_end", Base64(end)},
                      {"is_hop", Base64(hop)}});
  }
  return {{"part_names", std::move(names)}, {"tokens", std::move(tokens)}};
}

template <typename Named>
Json NamesJson(const std::vector<Named>& all) {
  Json names = Json::array();
  for (const Named& one : all) names.push_back(one.name);
  return names;
}

std::string DataJson(const Dependencies& dependencies,
                     const CriticalPath& path) {
  const Trace& trace = dependencies.trace();
  const ReadRate rate = RateOfReads(trace, kMaxRateBins, kMinRateBinNs);
  Json parts = Json::array();
  for (const Part part : kPartOrder) parts.push_back(std::string(Name(part)));
  const Json data = {
      {"about", AboutJson(trace)},
      {"part_order", std::move(parts)},
      {"counters", NamesJson(trace.program.counters)},
      {"buffers", NamesJson(trace.program.buffers)},
      {"instructions", InstructionsJson(trace.program)},
      {"events", EventsJson(dependencies)},
      {"path", PathJson(path)},
      {"rate", {{"bin_ns", rate.bin_ns}, {"gb_per_s", Base64(rate.gb_per_s)}}}};
  return data.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace

std::string ToHtml(const Dependencies& dependencies, const CriticalPath& path) {
  // A script element ends at "</script" and knows "<!--" wherever they stand;
  // JSON may write "<" as \u003c.
  const std::string data =
      absl::StrReplaceAll(DataJson(dependencies, path), {{"<", "\\u003c"}});
  // One pass over the page: what is put in is not looked at again.
  return absl::StrReplaceAll(
      ViewerPage(), {{"@title@", EscapeHtml(dependencies.trace().program.name)},
                     {"@style@", ViewerStyle()},
                     {"@data@", data},
                     {"@script@", ViewerScript()}});
}

}  // namespace mkvm::trace
