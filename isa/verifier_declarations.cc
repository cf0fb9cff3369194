// What a program declares before its instructions: buffers, counters, labels.
#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "isa/verifier_fields.h"

namespace mkvm::isa {
namespace {

// Far above any tensor, and low enough that regions can't wrap around.
constexpr uint64_t kMaxElements = uint64_t{1} << 40;

bool IsName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-';
  });
}

std::string Subject(absl::string_view what, size_t index,
                    absl::string_view name) {
  return IsName(name) ? absl::StrCat(what, " ", name)
                      : absl::StrCat(what, " number ", index);
}

// Names that are well-formed and unique.
class Names {
 public:
  Names(absl::string_view what, Report& report)
      : what_(what), report_(report) {}

  void Check(size_t index, const std::string& name) {
    if (!IsName(name)) {
      report_.Add(Subject(what_, index, name),
                  "its name is not of the form [A-Za-z0-9_.-]+");
    } else if (const auto [first, fresh] = seen_.try_emplace(name, index);
               !fresh) {
      report_.Add(Subject(what_, index, name),
                  absl::StrCat("numbers ", first->second, " and ", index,
                               " have the same name"));
    }
  }

 private:
  absl::string_view what_;
  Report& report_;
  absl::flat_hash_map<std::string, size_t> seen_;
};

void CheckShape(const Buffer& buffer, const std::string& subject,
                Report& report) {
  if (buffer.shape.empty() || buffer.shape.size() > 4) {
    report.Add(subject, absl::StrCat("it has ", buffer.shape.size(),
                                     " dimensions, not 1 to 4"));
    return;
  }
  uint64_t elements = 1;
  for (uint64_t size : buffer.shape) {
    if (size == 0) {
      report.Add(subject, "a dimension is 0");
      return;
    }
    if (size > kMaxElements / elements) {
      report.Add(subject, "it has more than 2^40 elements");
      return;
    }
    elements *= size;
  }
}

void CheckBuffer(const Buffer& buffer, const std::string& subject,
                 Report& report) {
  if (buffer.dtype > DType::kRanked || buffer.kind > BufferKind::kState ||
      buffer.layout > Layout::kPanels) {
    report.Add(subject, "its dtype, kind or layout is unknown");
    return;
  }
  CheckShape(buffer, subject, report);
  if (buffer.layout == Layout::kPanels &&
      (buffer.dtype != DType::kBf16 || buffer.kind != BufferKind::kWeight ||
       buffer.shape.size() != 2)) {
    report.Add(subject, "only a bf16 weight of 2 dimensions is kept in panels");
  }
}

void CheckLabels(const Program& program, Report& report) {
  if (program.labels.empty()) return;
  bool same = program.labels.size() == program.queues.size();
  for (size_t w = 0; same && w < program.labels.size(); ++w) {
    same = program.labels[w].size() == program.queues[w].size();
  }
  if (!same) {
    report.Add("program", "the labels do not have the shape of the queues");
  }
}

}  // namespace

void CheckDeclarations(const Program& program, Report& report) {
  Names buffers("buffer", report);
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    buffers.Check(i, buffer.name);
    CheckBuffer(buffer, Subject("buffer", i, buffer.name), report);
  }
  Names counters("counter", report);
  for (size_t i = 0; i < program.counters.size(); ++i) {
    counters.Check(i, program.counters[i].name);
  }
  if (program.queues.empty()) report.Add("program", "it has no worker");
  CheckLabels(program, report);
}

}  // namespace mkvm::isa
