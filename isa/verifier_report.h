// How the verifier speaks: names of things, and the diagnostics found so far.
#ifndef MKVM_ISA_VERIFIER_REPORT_H_
#define MKVM_ISA_VERIFIER_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/opcode_table.h"
#include "isa/program.h"
#include "isa/verifier.h"

namespace mkvm::isa {

// Where an instruction stands.
struct Place {
  uint32_t worker;
  uint32_t pc;

  friend bool operator==(const Place&, const Place&) = default;
};

class Report {
 public:
  // `program` outlives the report.
  Report(const Program& program, size_t max_diagnostics)
      : program_(program), max_(max_diagnostics < 1 ? 1 : max_diagnostics) {}

  // What is found of some passes only, to be merged into `whole`.
  static Report PartOf(const Report& whole) {
    return Report(whole.program_, whole.max_);
  }
  // Takes over what `parts` found. What all of them found is said once, other
  // things with the name of the first part that found them: "error: ... (in
  // passes below position 64)".
  void Merge(absl::Span<const std::pair<std::string, Report>> parts);

  bool full() const { return diagnostics_.size() >= max_; }
  bool empty() const { return diagnostics_.empty(); }
  std::vector<Diagnostic> Take() { return std::move(diagnostics_); }

  // "SUBJECT: error: WHAT", then one line per note. Dropped when full.
  void Add(absl::string_view subject, absl::string_view what,
           const std::vector<std::string>& notes = {});
  void Add(Place place, absl::string_view what,
           const std::vector<std::string>& notes = {});

  // "worker 3, pc 17 (L03.qkv[17], gemv)"
  std::string Name(Place place) const;
  // "x[512..520)"
  std::string Name(const Access& access) const;
  std::string Name(uint32_t buffer, uint64_t begin, uint64_t end) const;
  // "counter L03.x"
  std::string CounterName(uint32_t counter) const;
  // "mend: wait for counter L03.x, which that instruction signals", or what to
  // do where it signals none.
  std::string WaitForIt(Place signaller, bool lagged) const;

 private:
  const Program& program_;
  const size_t max_;
  std::vector<Diagnostic> diagnostics_;
};

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_REPORT_H_
