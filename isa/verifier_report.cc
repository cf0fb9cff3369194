#include "isa/verifier_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mkvm::isa {

void Report::Add(absl::string_view subject, absl::string_view what,
                 const std::vector<std::string>& notes) {
  if (full()) return;
  std::string message = absl::StrCat(subject, ": error: ", what);
  for (const std::string& note : notes) {
    absl::StrAppend(&message, "\n  ", note);
  }
  diagnostics_.push_back({std::move(message)});
}

void Report::Merge(absl::Span<const std::pair<std::string, Report>> parts) {
  const auto finds = [](const Report& part, const Diagnostic& diagnostic) {
    return std::any_of(
        part.diagnostics_.begin(), part.diagnostics_.end(),
        [&](const Diagnostic& d) { return d.message == diagnostic.message; });
  };
  for (size_t i = 0; i < parts.size(); ++i) {
    for (const Diagnostic& diagnostic : parts[i].second.diagnostics_) {
      const auto has_it = [&](const auto& part) {
        return finds(part.second, diagnostic);
      };
      if (full() || std::any_of(parts.begin(), parts.begin() + i, has_it)) {
        continue;
      }
      std::string message = diagnostic.message;
      if (!std::all_of(parts.begin(), parts.end(), has_it)) {
        message.insert(std::min(message.find('\n'), message.size()),
                       absl::StrCat(" (", parts[i].first, ")"));
      }
      diagnostics_.push_back({std::move(message)});
    }
  }
}

void Report::Add(Place place, absl::string_view what,
                 const std::vector<std::string>& notes) {
  if (!full()) Add(Name(place), what, notes);
}

std::string Report::Name(Place place) const {
  std::string name =
      absl::StrCat("worker ", place.worker, ", pc ", place.pc, " (");
  if (place.worker < program_.labels.size() &&
      place.pc < program_.labels[place.worker].size() &&
      !program_.labels[place.worker][place.pc].empty()) {
    absl::StrAppend(&name, program_.labels[place.worker][place.pc], ", ");
  }
  const uint16_t opcode = program_.queues[place.worker][place.pc].opcode;
  const OpcodeInfo* info = FindOpcode(opcode);
  absl::StrAppend(
      &name, info ? std::string(info->name) : absl::StrCat("opcode ", opcode),
      ")");
  return name;
}

std::string Report::Name(const Access& access) const {
  return Name(access.buffer, access.begin, access.begin + access.count);
}

std::string Report::Name(uint32_t buffer, uint64_t begin, uint64_t end) const {
  return absl::StrCat(program_.buffers[buffer].name, "[", begin, "..", end,
                      ")");
}

std::string Report::CounterName(uint32_t counter) const {
  if (counter >= program_.counters.size()) {
    return absl::StrCat("counter number ", counter);
  }
  return absl::StrCat("counter ", program_.counters[counter].name);
}

std::string Report::WaitForIt(Place signaller, bool lagged) const {
  const uint32_t signal =
      program_.queues[signaller.worker][signaller.pc].signal;
  const absl::string_view lag = lagged ? " with lag 1" : "";
  if (signal == kNoCounter) {
    return absl::StrCat(
        "mend: let that instruction signal a counter, and wait "
        "for it",
        lag);
  }
  return absl::StrCat("mend: wait for ", CounterName(signal),
                      ", which that instruction signals", lag);
}

}  // namespace mkvm::isa
