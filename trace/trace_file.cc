// The trace file, written and read. docs/trace_format.md has the grammar.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "isa/check_program.h"
#include "nlohmann/json.hpp"
#include "trace/trace.h"

namespace mkvm::trace {
namespace {

using Json = nlohmann::ordered_json;

// Like a program's: line ends that a transfer converted show at once.
constexpr char kMagicBytes[] = "mktr\r\n\x1a\n";
constexpr absl::string_view kMagic(kMagicBytes, 8);
constexpr uint32_t kVersion = 1;
constexpr size_t kChecksumBytes = 8;
static_assert(std::endian::native == std::endian::little,
              "the file is little-endian, copied as it is");

// One event in the file. Times are relative to `base`, the visit.
struct EventRecord {
  uint64_t bytes;
  int64_t base;
  uint32_t worker, pass, pc;
  int32_t last_wait;
  uint32_t last_buffer;
  uint32_t stage_wait, operand_wait;
  // fetched, load_begin, load_end, waited, poll_begin, ready, stage_ready,
  // done, signaled
  int32_t times[9];
};
static_assert(sizeof(EventRecord) == 80);
constexpr int32_t kNeverInFile = std::numeric_limits<int32_t>::min();

uint64_t Checksum(absl::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, as in program files
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return hash;
}

template <typename E>
auto RelativeTimes(E& e) {
  return std::array{&e.fetched,     &e.load_begin, &e.load_end,
                    &e.waited,      &e.poll_begin, &e.ready,
                    &e.stage_ready, &e.done,       &e.signaled};
}

EventRecord ToRecord(const Event& event) {
  const auto clamp32 = [](Nanos value) {
    return static_cast<uint32_t>(std::clamp<Nanos>(value, 0, 0xffffffff));
  };
  EventRecord r = {.bytes = event.bytes,
                   .base = event.visited,
                   .worker = event.worker,
                   .pass = event.pass,
                   .pc = event.pc,
                   .last_wait = event.last_wait,
                   .last_buffer = event.last_buffer,
                   .stage_wait = clamp32(event.stage_wait),
                   .operand_wait = clamp32(event.operand_wait),
                   .times = {}};
  constexpr Nanos kMax = std::numeric_limits<int32_t>::max();
  int i = 0;
  for (const Nanos* time : RelativeTimes(event)) {
    r.times[i++] = *time == kNever ? kNeverInFile
                                   : static_cast<int32_t>(std::clamp(
                                         *time - event.visited, -kMax, kMax));
  }
  return r;
}

Event FromRecord(const EventRecord& r) {
  Event event;
  event.bytes = r.bytes;
  event.visited = r.base;
  event.worker = r.worker;
  event.pass = r.pass;
  event.pc = r.pc;
  event.last_wait = static_cast<int8_t>(r.last_wait);
  event.last_buffer = r.last_buffer;
  event.stage_wait = r.stage_wait;
  event.operand_wait = r.operand_wait;
  int i = 0;
  for (Nanos* time : RelativeTimes(event)) {
    const int32_t delta = r.times[i++];
    if (delta != kNeverInFile) *time = r.base + delta;
  }
  return event;
}

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a valid trace: ", what));
}

// Takes bytes off the front of what is left.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : rest_(bytes) {}

  template <typename T>
  bool Get(T& value) {
    if (rest_.size() < sizeof(T)) return false;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return true;
  }
  bool GetBytes(absl::string_view& bytes) {
    uint64_t size = 0;
    if (!Get(size) || size > rest_.size()) return false;
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  absl::string_view rest() const { return rest_; }

 private:
  absl::string_view rest_;
};

std::string MetaJson(const Trace& trace) {
  return Json{
      {"source", trace.source == Source::kMeasured ? "measured" : "predicted"},
      {"machine", trace.machine},
      {"command", trace.command},
      {"first_position", trace.first_position},
      {"first_pass", trace.first_pass},
      {"num_passes", trace.num_passes},
      {"dropped", trace.dropped},
      {"resolution_ns", trace.resolution_ns},
      {"skew_ns", trace.skew_ns},
      {"stream_gb_per_s", trace.stream_gb_per_s}}
      .dump(2, ' ', false, Json::error_handler_t::replace);
}

// Reads json[key] if its type is the field's.
template <typename T>
bool ReadKey(const Json& json, const char* key, T& field) {
  const auto it = json.find(key);
  if (it == json.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!it->is_string()) return false;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!it->is_number() || !std::isfinite(it->template get<double>())) {
      return false;
    }
  } else {
    if (!it->is_number_integer()) return false;
    if (std::is_unsigned_v<T> && !it->is_number_unsigned()) return false;
    if (Json(it->template get<T>()) != *it) return false;
  }
  field = it->template get<T>();
  return true;
}

absl::Status ReadMeta(absl::string_view text, Trace& trace) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return Bad("its description is not a JSON object");
  std::string source;
  const char* missing = nullptr;
  const auto read = [&](const char* key, auto& field) {
    if (missing == nullptr && !ReadKey(json, key, field)) missing = key;
  };
  read("source", source);
  read("machine", trace.machine);
  read("command", trace.command);
  read("first_position", trace.first_position);
  read("first_pass", trace.first_pass);
  read("num_passes", trace.num_passes);
  read("dropped", trace.dropped);
  read("resolution_ns", trace.resolution_ns);
  read("skew_ns", trace.skew_ns);
  read("stream_gb_per_s", trace.stream_gb_per_s);
  if (missing != nullptr) {
    return Bad(absl::StrCat("description: \"", missing,
                            "\" is missing or of another type"));
  }
  if (source != "measured" && source != "predicted") {
    return Bad(absl::StrCat("description: unknown source \"", source, "\""));
  }
  constexpr int64_t kMostPositions = int64_t{1} << 40;
  if (trace.first_position < 0 || trace.first_position > kMostPositions) {
    return Bad("description: \"first_position\" is out of range");
  }
  if (trace.num_passes >
      std::numeric_limits<uint32_t>::max() - trace.first_pass) {
    return Bad("description: \"num_passes\" is out of range");
  }
  for (const double figure :
       {trace.resolution_ns, trace.skew_ns, trace.stream_gb_per_s}) {
    if (figure < 0) return Bad("description: a figure is below 0");
  }
  trace.source = source == "measured" ? Source::kMeasured : Source::kPredicted;
  return absl::OkStatus();
}

// What follows relies on places and buffers that exist, on order, and on
// visits.
absl::Status CheckEvent(const Trace& trace, const Event& event, size_t index) {
  const auto bad = [index](absl::string_view what) {
    return Bad(absl::StrCat("event ", index, ": ", what));
  };
  const isa::Program& program = trace.program;
  if (event.worker >= program.num_workers()) return bad("no such worker");
  if (event.pc >= program.queues[event.worker].size()) return bad("no such pc");
  if (event.pass < trace.first_pass ||
      event.pass - trace.first_pass >= trace.num_passes) {
    return bad("pass outside the window");
  }
  const isa::Instruction& instruction = program.queues[event.worker][event.pc];
  if (event.last_wait < -1 || event.last_wait >= instruction.num_waits) {
    return bad("no such wait");
  }
  if (event.last_buffer != isa::kNoBuffer &&
      event.last_buffer >= program.buffers.size()) {
    return bad("no such buffer");
  }
  constexpr Nanos kLongest = Nanos{1} << 60;
  if (event.visited < 0 || event.visited > kLongest) return bad("visit time");
  if (event.done == kNever || event.signaled == kNever) {
    return bad("done or signaled is missing");
  }
  if (index == 0) return absl::OkStatus();
  const Event& before = trace.events[index - 1];
  if (std::tie(before.worker, before.pass, before.pc) >=
      std::tie(event.worker, event.pass, event.pc)) {
    return bad("out of order");
  }
  return absl::OkStatus();
}

absl::Status ReadEvents(Reader& reader, Trace& trace) {
  uint64_t count = 0;
  if (!reader.Get(count)) return Bad("the number of events is cut off");
  if (count * sizeof(EventRecord) / sizeof(EventRecord) != count ||
      reader.rest().size() != count * sizeof(EventRecord)) {
    return Bad(absl::StrCat("it should hold ", count, " events, but has ",
                            reader.rest().size(), " bytes for them"));
  }
  // Indices of events are 32 bits, with one to spare.
  if (count >= std::numeric_limits<uint32_t>::max()) {
    return Bad(absl::StrCat(count, " events are too many"));
  }
  trace.events.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    EventRecord record;
    reader.Get(record);
    const Event event = FromRecord(record);
    if (record.last_wait != event.last_wait) {
      return Bad(absl::StrCat("event ", i, ": no such wait"));
    }
    if (absl::Status s = CheckEvent(trace, event, i); !s.ok()) return s;
    trace.events.push_back(event);
  }
  return absl::OkStatus();
}

}  // namespace

std::string Serialize(const Trace& trace) {
  std::string out(kMagic.data(), kMagic.size());
  const auto put = [&out](const auto& value) {
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    out.append(bytes, sizeof(value));
  };
  const auto put_bytes = [&](const std::string& bytes) {
    put(uint64_t{bytes.size()});
    out += bytes;
  };
  put(kVersion);
  put_bytes(MetaJson(trace));
  put_bytes(isa::SerializeProgram(trace.program));
  put(uint64_t{trace.events.size()});
  out.reserve(out.size() + trace.events.size() * sizeof(EventRecord) +
              kChecksumBytes);
  for (const Event& event : trace.events) put(ToRecord(event));
  put(Checksum(out));
  return out;
}

absl::StatusOr<Trace> Parse(absl::string_view bytes) {
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return Bad("it does not begin like one (mkvm run --trace writes them)");
  }
  if (bytes.size() < kMagic.size() + 4 + kChecksumBytes) {
    return Bad("it is cut off");
  }
  const size_t content = bytes.size() - kChecksumBytes;
  uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + content, sizeof(checksum));
  Reader reader(bytes.substr(kMagic.size(), content - kMagic.size()));
  uint32_t version = 0;
  reader.Get(version);
  if (version != kVersion) {
    return Bad(absl::StrCat("version ", version, "; this mkvm reads version ",
                            kVersion));
  }
  if (checksum != Checksum(bytes.substr(0, content))) {
    return Bad("the checksum differs: the file is damaged or cut off");
  }
  Trace trace;
  absl::string_view meta, program;
  if (!reader.GetBytes(meta)) return Bad("its description is cut off");
  if (absl::Status s = ReadMeta(meta, trace); !s.ok()) return s;
  if (!reader.GetBytes(program)) return Bad("its program is cut off");
  absl::StatusOr<isa::Program> parsed = isa::ParseProgram(program);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status s = isa::CheckRunnable(*parsed); !s.ok()) {
    return Bad(absl::StrCat("its program: ", s.message()));
  }
  trace.program = *std::move(parsed);
  if (absl::Status s = ReadEvents(reader, trace); !s.ok()) return s;
  return trace;
}

}  // namespace mkvm::trace
