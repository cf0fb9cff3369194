// The binary form of a program. docs/program_format.md has the grammar; Writer
// and Parser below follow it rule by rule.
#include "isa/program_format.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"
#include "isa/program.h"

namespace mkvm::isa {
namespace {

static_assert(
    std::endian::native == std::endian::little,
    "the file and the encoding are little-endian, copied as they are");

constexpr size_t kHeaderBytes = 24;
constexpr size_t kTotalBytesOffset = 16;
constexpr size_t kChecksumBytes = 8;

// FNV-1a, 64 bits. Every step is a bijection of the state, so no change of a
// single byte goes unseen.
uint64_t Checksum(absl::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : bytes) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  return hash;
}

class Writer {
 public:
  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_.append(bytes, sizeof(T));
  }
  void PutCount(size_t count) { Put(static_cast<uint32_t>(count)); }
  void PutString(absl::string_view text) {
    PutCount(text.size());
    out_.append(text.data(), text.size());
  }
  void Align() { out_.append((0 - out_.size()) % sizeof(Instruction), '\0'); }

  void PutHeader();
  void PutIdentity(const Program& program);
  void PutBuffers(const Program& program);
  void PutCounters(const Program& program);
  void PutQueues(const Program& program);
  std::string Seal() &&;

 private:
  std::string out_;
};

void Writer::PutHeader() {
  out_.append(kMagic.data(), kMagic.size());
  Put(kFormatVersion);
  Put(kIsaVersion);
  Put(uint64_t{0});  // total_bytes, filled by Seal
}

void Writer::PutIdentity(const Program& program) {
  PutString(program.name);
  PutString(program.target.name);
  Put(program.target.stages);
  Put(program.target.stage_bytes);
  Put(program.target.shared_memory_bytes);
  Put(program.model_fingerprint);
  PutString(program.model);
}

void Writer::PutBuffers(const Program& program) {
  PutCount(program.buffers.size());
  for (const Buffer& buffer : program.buffers) {
    PutString(buffer.name);
    Put(buffer.dtype);
    Put(buffer.kind);
    Put(buffer.layout);
    Put(static_cast<uint8_t>(buffer.shape.size()));
    for (uint64_t size : buffer.shape) Put(size);
  }
}

void Writer::PutCounters(const Program& program) {
  PutCount(program.counters.size());
  for (const Counter& counter : program.counters) {
    PutString(counter.name);
    Put(counter.producers);
  }
}

void Writer::PutQueues(const Program& program) {
  auto label = [&](size_t worker, size_t pc) -> absl::string_view {
    if (worker >= program.labels.size()) return "";
    const std::vector<std::string>& labels = program.labels[worker];
    return pc < labels.size() ? absl::string_view(labels[pc]) : "";
  };
  // Distinct labels in the order of their first use.
  absl::flat_hash_map<absl::string_view, uint32_t> ids;
  std::vector<absl::string_view> labels;
  for (size_t worker = 0; worker < program.queues.size(); ++worker) {
    for (size_t pc = 0; pc < program.queues[worker].size(); ++pc) {
      const absl::string_view text = label(worker, pc);
      if (ids.try_emplace(text, labels.size()).second) labels.push_back(text);
    }
  }
  PutCount(labels.size());
  for (absl::string_view text : labels) PutString(text);

  PutCount(program.queues.size());
  for (size_t worker = 0; worker < program.queues.size(); ++worker) {
    PutCount(program.queues[worker].size());
    for (size_t pc = 0; pc < program.queues[worker].size(); ++pc) {
      Put(ids.at(label(worker, pc)));
    }
  }
  Align();
  for (const auto& queue : program.queues) {
    for (const Instruction& instruction : queue) Put(instruction);
  }
}

std::string Writer::Seal() && {
  const uint64_t total_bytes = out_.size() + kChecksumBytes;
  std::memcpy(&out_[kTotalBytesOffset], &total_bytes, sizeof(total_bytes));
  Put(Checksum(out_));
  return std::move(out_);
}

// Reads the grammar front to back. The first error sticks and every later read
// yields zeros, so callers look at ok() only where a loop could run away.
class Parser {
 public:
  explicit Parser(absl::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<Program> Parse();

 private:
  bool ok() const { return status_.ok(); }
  void Fail(size_t offset, absl::string_view field, absl::string_view what) {
    if (!ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat("program, offset ", offset, ": ", field, ": ", what));
  }
  size_t left() const { return end_ - offset_; }

  template <typename T>
  T Get(absl::string_view field) {
    T value{};
    if (!ok()) return value;
    if (left() < sizeof(T)) {
      Fail(offset_, field, "the data end here");
      return value;
    }
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }
  // A number of things of at least `bytes_each` bytes, so that nothing is
  // allocated that the file can't hold.
  uint32_t GetCount(absl::string_view field, size_t bytes_each);
  std::string GetString(absl::string_view field);
  std::string GetName(absl::string_view field,
                      absl::flat_hash_set<std::string>& taken);
  template <typename Enum>
  Enum GetEnum(absl::string_view field, Enum last);

  void ParseHeader();
  void ParseIdentity(Program& program);
  void ParseBuffers(Program& program);
  void ParseCounters(Program& program);
  void ParseQueues(Program& program);
  void ParseInstructions(Program& program);

  const absl::string_view bytes_;
  size_t offset_ = 0;
  size_t end_ = 0;
  absl::Status status_;
};

uint32_t Parser::GetCount(absl::string_view field, size_t bytes_each) {
  const size_t at = offset_;
  const uint32_t count = Get<uint32_t>(field);
  if (count <= left() / bytes_each) return count;
  Fail(at, field,
       absl::StrCat(count, " is more than the ", left(),
                    " bytes that follow can hold"));
  return 0;
}

std::string Parser::GetString(absl::string_view field) {
  const uint32_t size = GetCount(field, 1);
  if (!ok()) return "";
  std::string text(bytes_.substr(offset_, size));
  offset_ += size;
  return text;
}

std::string Parser::GetName(absl::string_view field,
                            absl::flat_hash_set<std::string>& taken) {
  const size_t at = offset_;
  std::string name = GetString(field);
  if (!ok()) return name;
  if (!IsWellFormedName(name)) {
    Fail(at, field,
         absl::StrCat("\"", absl::CHexEscape(name),
                      "\" is not made of letters, digits, '_', '.' and '-'"));
  } else if (!taken.insert(name).second) {
    Fail(at, field, absl::StrCat("\"", name, "\" is taken already"));
  }
  return name;
}

template <typename Enum>
Enum Parser::GetEnum(absl::string_view field, Enum last) {
  const size_t at = offset_;
  const uint8_t value = Get<uint8_t>(field);
  if (value <= static_cast<uint8_t>(last)) return static_cast<Enum>(value);
  Fail(at, field, absl::StrCat(value, " is not known"));
  return Enum{};
}

void Parser::ParseHeader() {
  end_ = bytes_.size();
  if (bytes_.substr(0, kMagic.size()) != kMagic) {
    Fail(0, "magic",
         absl::StartsWith(bytes_, "mkvm")
             ? "damaged; were line ends converted in a transfer?"
             : "this is not a binary program");
    return;
  }
  offset_ = kMagic.size();
  size_t at = offset_;
  const uint32_t format = Get<uint32_t>("format_version");
  if (ok() && format != kFormatVersion) {
    Fail(at, "format_version",
         absl::StrCat(format, "; this build reads ", kFormatVersion));
  }
  at = offset_;
  const uint32_t isa = Get<uint32_t>("isa_version");
  if (ok() && isa != kIsaVersion) {
    Fail(at, "isa_version",
         absl::StrCat(isa, "; this build reads ", kIsaVersion,
                      ", so compile the program again"));
  }
  const uint64_t total_bytes = Get<uint64_t>("total_bytes");
  if (!ok()) return;
  if (total_bytes != bytes_.size()) {
    Fail(kTotalBytesOffset, "total_bytes",
         absl::StrCat(
             total_bytes, " written, ", bytes_.size(), " here: ",
             bytes_.size() < total_bytes ? "cut short" : "something follows"));
  } else if (total_bytes < kHeaderBytes + kChecksumBytes) {
    Fail(kTotalBytesOffset, "total_bytes", "no room for a checksum");
  }
  if (!ok()) return;
  end_ = bytes_.size() - kChecksumBytes;
  uint64_t stored;
  std::memcpy(&stored, bytes_.data() + end_, sizeof(stored));
  const uint64_t computed = Checksum(bytes_.substr(0, end_));
  if (stored != computed) {
    Fail(end_, "checksum",
         absl::StrFormat("%016x written, %016x computed: damaged", stored,
                         computed));
  }
}

void Parser::ParseIdentity(Program& program) {
  program.name = GetString("name");
  program.target.name = GetString("target.name");
  program.target.stages = Get<uint32_t>("target.stages");
  program.target.stage_bytes = Get<uint32_t>("target.stage_bytes");
  program.target.shared_memory_bytes =
      Get<uint32_t>("target.shared_memory_bytes");
  program.model_fingerprint = Get<uint64_t>("model_fingerprint");
  program.model = GetString("model");
}

void Parser::ParseBuffers(Program& program) {
  // Name, four bytes, one dimension.
  const uint32_t count = GetCount("num_buffers", 4 + 1 + 4 + 8);
  program.buffers.reserve(count);
  absl::flat_hash_set<std::string> taken;
  for (uint32_t i = 0; i < count && ok(); ++i) {
    const std::string field = absl::StrCat("buffers[", i, "]");
    Buffer& buffer = program.buffers.emplace_back();
    buffer.name = GetName(field + ".name", taken);
    buffer.dtype = GetEnum(field + ".dtype", DType::kRanked);
    buffer.kind = GetEnum(field + ".kind", BufferKind::kState);
    buffer.layout = GetEnum(field + ".layout", Layout::kPanels);
    const size_t at = offset_;
    const uint8_t dimensions = Get<uint8_t>(field + ".dimensions");
    for (uint32_t d = 0; d < dimensions && ok(); ++d) {
      buffer.shape.push_back(Get<uint64_t>(field + ".shape"));
    }
    const absl::string_view wrong =
        WhyShapeIsMalformed(buffer.shape, SizeOf(buffer.dtype));
    if (!wrong.empty()) Fail(at, field + ".shape", wrong);
  }
}

void Parser::ParseCounters(Program& program) {
  const uint32_t count = GetCount("num_counters", 4 + 1 + 4);
  program.counters.reserve(count);
  absl::flat_hash_set<std::string> taken;
  for (uint32_t i = 0; i < count && ok(); ++i) {
    const std::string field = absl::StrCat("counters[", i, "]");
    Counter& counter = program.counters.emplace_back();
    counter.name = GetName(field + ".name", taken);
    counter.producers = Get<uint32_t>(field + ".producers");
  }
}

void Parser::ParseQueues(Program& program) {
  const uint32_t num_labels = GetCount("num_labels", 4);
  std::vector<std::string> labels;
  labels.reserve(num_labels);
  for (uint32_t i = 0; i < num_labels && ok(); ++i) {
    const size_t at = offset_;
    labels.push_back(GetString("labels"));
    if (labels.back().size() > kMaxLabelBytes) {
      Fail(at, absl::StrCat("labels[", i, "]"), "longer than 256 bytes");
    }
  }
  const uint32_t num_queues = GetCount("num_queues", 4);
  program.queues.resize(num_queues);
  program.labels.resize(num_queues);
  for (uint32_t worker = 0; worker < num_queues && ok(); ++worker) {
    const std::string field = absl::StrCat("queues[", worker, "]");
    const uint32_t count =
        GetCount(field + ".num_instructions", 4 + sizeof(Instruction));
    program.labels[worker].reserve(count);
    for (uint32_t pc = 0; pc < count && ok(); ++pc) {
      const size_t at = offset_;
      const uint32_t label = Get<uint32_t>(field);
      if (label < labels.size()) {
        program.labels[worker].push_back(labels[label]);
      } else {
        Fail(at, absl::StrCat(field, ".labels[", pc, "]"),
             absl::StrCat(label, " is not below num_labels"));
      }
    }
  }
}

void Parser::ParseInstructions(Program& program) {
  while (ok() && offset_ % sizeof(Instruction) != 0) {
    const size_t at = offset_;
    if (Get<uint8_t>("padding") != 0) Fail(at, "padding", "is not zero");
  }
  for (size_t worker = 0; worker < program.queues.size() && ok(); ++worker) {
    const size_t count = program.labels[worker].size();
    const std::string field = absl::StrCat("queues[", worker, "]");
    // The bytes are there for this queue: its labels were.
    program.queues[worker].reserve(count);
    for (size_t pc = 0; pc < count && ok(); ++pc) {
      const size_t at = offset_;
      const auto i = Get<Instruction>(field);
      if (!ok()) return;
      if (FindOpcode(i.opcode) == nullptr) {
        Fail(at + offsetof(Instruction, opcode),
             absl::StrCat(field, "[", pc, "].opcode"),
             absl::StrFormat("0x%02x is not known", i.opcode));
      } else if (i.num_waits > kMaxWaits) {
        Fail(at + offsetof(Instruction, num_waits),
             absl::StrCat(field, "[", pc, "].num_waits"),
             absl::StrCat(i.num_waits, " is more than ", kMaxWaits));
      }
      program.queues[worker].push_back(i);
    }
  }
  if (ok() && offset_ != end_) {
    Fail(offset_, "end",
         absl::StrCat(left(), " bytes follow the last instruction"));
  }
}

absl::StatusOr<Program> Parser::Parse() {
  Program program;
  ParseHeader();
  if (ok()) ParseIdentity(program);
  if (ok()) ParseBuffers(program);
  if (ok()) ParseCounters(program);
  if (ok()) ParseQueues(program);
  if (ok()) ParseInstructions(program);
  if (!ok()) return status_;
  return program;
}

}  // namespace

bool IsWellFormedName(absl::string_view name) {
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' &&
        c != '.' && c != '-') {
      return false;
    }
  }
  return !name.empty();
}

absl::string_view WhyShapeIsMalformed(absl::Span<const uint64_t> shape,
                                      uint32_t element_bytes) {
  if (shape.empty() || shape.size() > kMaxDimensions) {
    return "a buffer has 1 to 4 dimensions";
  }
  uint64_t bytes = element_bytes;
  for (uint64_t size : shape) {
    if (size == 0) return "a dimension is 0";
    if (size > kMaxBufferBytes / bytes) return "larger than 2^48 bytes";
    bytes *= size;
  }
  return "";
}

std::string SerializeProgram(const Program& program) {
  Writer writer;
  writer.PutHeader();
  writer.PutIdentity(program);
  writer.PutBuffers(program);
  writer.PutCounters(program);
  writer.PutQueues(program);
  return std::move(writer).Seal();
}

absl::StatusOr<Program> ParseProgram(absl::string_view bytes) {
  return Parser(bytes).Parse();
}

}  // namespace mkvm::isa
