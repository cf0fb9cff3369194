// The binary form of a program, read. docs/program_format.md has the grammar;
// Parser follows it rule by rule, as program_writer.cc does.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "isa/opcode_table.h"
#include "isa/program.h"
#include "isa/program_format.h"

namespace mkvm::isa {
namespace {

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
  const uint64_t computed = FileChecksum(bytes_.substr(0, end_));
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

absl::StatusOr<Program> ParseProgram(absl::string_view bytes) {
  return Parser(bytes).Parse();
}

}  // namespace mkvm::isa
