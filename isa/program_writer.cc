// The binary form of a program, written. docs/program_format.md has the
// grammar; Writer follows it rule by rule, as program_parser.cc does.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/program.h"
#include "isa/program_format.h"

namespace mkvm::isa {
namespace {

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
  Put(FileChecksum(out_));
  return std::move(out_);
}

}  // namespace

uint64_t FileChecksum(absl::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : bytes) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  return hash;
}

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

}  // namespace mkvm::isa
