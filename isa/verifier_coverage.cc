// Every element of an activation is written exactly once in a pass, and no
// candidate of an argmax is lost.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "isa/verifier_dataflow.h"

namespace mkvm::isa {
namespace {

class CoverageChecker {
 public:
  CoverageChecker(const Program& program, const Dataflow& flow,
                  absl::Span<const Dataflow> all, Report& report)
      : program_(program), flow_(flow), all_(all), report_(report) {}

  void CheckBuffer(uint32_t buffer) {
    if (BelongsToOtherPasses(buffer)) return;
    uint64_t covered = 0;               // elements [0, covered) are written
    uint32_t widest = Dataflow::kNone;  // the write that reaches `covered`
    for (uint32_t k = flow_.first_write[buffer];
         k < flow_.first_write[buffer + 1]; ++k) {
      const uint32_t write = flow_.writes[k];
      const Access& access = flow_.accesses[write];
      if (access.begin < covered) {
        Overlap(widest, write, std::min(covered, access.begin + access.count));
      } else if (access.begin > covered) {
        Gap(buffer, covered, access.begin);
      }
      if (access.begin + access.count > covered) {
        covered = access.begin + access.count;
        widest = write;
      }
    }
    const uint64_t elements = NumElements(program_.buffers[buffer]);
    if (covered < elements) Gap(buffer, covered, elements);
  }

  // What is read is written in every pass in which it is read; and a part is
  // read in every pass in which it is written, lest it be forgotten in some.
  void CheckBegins(const Dataflow::Region& region) {
    if (region.first_write == region.last_write) return;
    const auto begins_before = [this](uint32_t a, uint32_t b) {
      return flow_.BeginOf(a) < flow_.BeginOf(b);
    };
    const auto [first_write, last_write] = std::minmax_element(
        flow_.writes.begin() + region.first_write,
        flow_.writes.begin() + region.last_write, begins_before);
    for (const uint32_t read : region.reads) {
      if (begins_before(read, *last_write)) return TooEarly(read, *last_write);
      if (flow_.accesses[read].is_part && begins_before(*first_write, read)) {
        return TooLate(read, *first_write);
      }
    }
  }

  // An instruction's writes must not touch its other operands.
  void CheckOperands(uint32_t instruction) {
    const uint32_t end = flow_.first_access[instruction + 1];
    for (uint32_t a = flow_.first_access[instruction]; a < end; ++a) {
      const Access& x = flow_.accesses[a];
      for (uint32_t b = a + 1; b < end; ++b) {
        const Access& y = flow_.accesses[b];
        if (x.buffer != y.buffer || x.begin >= y.begin + y.count ||
            y.begin >= x.begin + x.count || !(Writes(x) || Writes(y))) {
          continue;
        }
        const auto& operands =
            FindOpcode(Instruction(instruction).opcode)->operands;
        report_.Add(
            flow_.places[instruction],
            absl::StrCat(
                "its operands ", operands[x.operand].name, " and ",
                operands[y.operand].name, " overlap in ",
                report_.Name(x.buffer, std::max(x.begin, y.begin),
                             std::min(x.begin + x.count, y.begin + y.count))));
      }
    }
  }

 private:
  // Written in passes of another kind, and neither read nor written in these.
  bool BelongsToOtherPasses(uint32_t buffer) const {
    const auto writes = [buffer](const Dataflow& flow) {
      return flow.first_write[buffer] < flow.first_write[buffer + 1];
    };
    return !writes(flow_) &&
           flow_.first_region[buffer] == flow_.first_region[buffer + 1] &&
           std::any_of(all_.begin(), all_.end(), writes);
  }

  static bool Writes(const Access& access) {
    return access.kind == AccessKind::kWrite ||
           access.kind == AccessKind::kUpdate;
  }

  const isa::Instruction& Instruction(uint32_t index) const {
    const Place place = flow_.places[index];
    return program_.queues[place.worker][place.pc];
  }

  void Overlap(uint32_t first, uint32_t second, uint64_t end) {
    const Access& access = flow_.accesses[second];
    report_.Add(flow_.places[flow_.instruction_of[second]],
                absl::StrCat("writes ", report_.Name(access), ", but ",
                             report_.Name(access.buffer, access.begin, end),
                             " is written twice in a pass"),
                {absl::StrCat(
                    "note: the other write of ",
                    report_.Name(flow_.accesses[first]), " is by ",
                    report_.Name(flow_.places[flow_.instruction_of[first]]))});
  }

  std::string NameOf(uint32_t access) const {
    return report_.Name(flow_.places[flow_.instruction_of[access]]);
  }

  // Of what both accesses touch.
  std::string Common(uint32_t a, uint32_t b) const {
    const Access& x = flow_.accesses[a];
    const Access& y = flow_.accesses[b];
    return report_.Name(x.buffer, std::max(x.begin, y.begin),
                        std::min(x.begin + x.count, y.begin + y.count));
  }

  void TooEarly(uint32_t read, uint32_t write) {
    report_.Add(
        flow_.places[flow_.instruction_of[read]],
        absl::StrCat("reads ", report_.Name(flow_.accesses[read]),
                     " from position ", flow_.BeginOf(read), " on, but ",
                     Common(read, write), " is written from position ",
                     flow_.BeginOf(write), " on"),
        {absl::StrCat("note: it is written by ", NameOf(write))});
  }

  void TooLate(uint32_t read, uint32_t write) {
    report_.Add(flow_.places[flow_.instruction_of[read]],
                absl::StrCat("reads ", report_.Name(flow_.accesses[read]),
                             " from position ", flow_.BeginOf(read),
                             " on, but ", Common(read, write),
                             " is written from position ", flow_.BeginOf(write),
                             " on, so that a part is forgotten until then"),
                {absl::StrCat("note: it is written by ", NameOf(write))});
  }

  void Gap(uint32_t buffer, uint64_t begin, uint64_t end) {
    // A reader of the gap says more than the buffer alone.
    const auto region = std::find_if(flow_.regions.begin(), flow_.regions.end(),
                                     [&](const Dataflow::Region& r) {
                                       return r.buffer == buffer &&
                                              r.begin < end && begin < r.end;
                                     });
    if (region == flow_.regions.end()) {
      report_.Add(absl::StrCat("buffer ", program_.buffers[buffer].name),
                  absl::StrCat(report_.Name(buffer, begin, end),
                               " is not written, but every element of an "
                               "activation is written in every pass"));
      return;
    }
    const uint32_t read = region->reads.front();
    std::vector<std::string> notes;
    if (region->reads.size() > 1) {
      notes.push_back(absl::StrCat("note: ", region->reads.size() - 1,
                                   " more instructions read the same"));
    }
    report_.Add(
        flow_.places[flow_.instruction_of[read]],
        absl::StrCat("reads ", report_.Name(flow_.accesses[read]), ", but ",
                     report_.Name(buffer, std::max(begin, region->begin),
                                  std::min(end, region->end)),
                     " is not written in this pass"),
        notes);
  }

  const Program& program_;
  const Dataflow& flow_;
  const absl::Span<const Dataflow> all_;
  Report& report_;
};

// Part of a matrix that goes into an argmax.
struct Rows {
  uint64_t begin;
  uint64_t end;
  Place place;
};

// The writes of partial argmaxes cover their slots whatever rows they look at,
// so the rows are counted here: those of a matrix take part exactly once.
void CheckArgmaxRows(const Program& program, const Dataflow& flow,
                     Report& report) {
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Rows>> groups;
  for (const Place& place : flow.places) {
    const Instruction& i = program.queues[place.worker][place.pc];
    if (i.opcode != static_cast<uint16_t>(Opcode::kGemv)) continue;
    const auto op = DecodeOperands<GemvOperands>(i);
    if (op.epilogue != Epilogue::kArgmax) continue;
    groups[{op.best, op.w}].push_back(
        {op.row_begin, uint64_t{op.row_begin} + op.rows, place});
  }
  for (auto& [buffers, tiles] : groups) {
    const auto complain = [&, best = buffers.first, w = buffers.second](
                              Place place, uint64_t begin, uint64_t end,
                              absl::string_view how) {
      report.Add(place, absl::StrCat("rows [", begin, "..", end, ") of ",
                                     program.buffers[w].name, " take part ",
                                     how, " in the argmax into ",
                                     program.buffers[best].name));
    };
    std::sort(tiles.begin(), tiles.end(), [](const Rows& a, const Rows& b) {
      return std::make_pair(a.begin, a.end) < std::make_pair(b.begin, b.end);
    });
    uint64_t covered = 0;
    for (const Rows& tile : tiles) {
      if (tile.begin > covered) {
        complain(tile.place, covered, tile.begin, "not once");
      } else if (tile.begin < covered) {
        complain(tile.place, tile.begin, std::min(covered, tile.end), "twice");
      }
      covered = std::max(covered, tile.end);
    }
    const uint64_t rows = program.buffers[buffers.second].shape[0];
    if (covered < rows) {
      complain(tiles.back().place, covered, rows, "not once");
    }
  }
}

// Whoever reads some candidates of a list must not forget the others.
void CheckCandidates(const Program& program, const Dataflow& flow,
                     Report& report) {
  for (size_t r = 0; r < flow.regions.size();) {
    const uint32_t buffer = flow.regions[r].buffer;
    uint64_t covered = 0;
    bool lost = false;
    uint32_t last = flow.regions[r].reads.front();
    for (; r < flow.regions.size() && flow.regions[r].buffer == buffer; ++r) {
      lost = lost || flow.regions[r].begin > covered;
      if (lost) continue;
      if (flow.regions[r].end > covered) last = flow.regions[r].reads.front();
      covered = std::max(covered, flow.regions[r].end);
    }
    const uint64_t elements = NumElements(program.buffers[buffer]);
    if (program.buffers[buffer].dtype != DType::kRanked ||
        covered == elements) {
      continue;
    }
    report.Add(flow.places[flow.instruction_of[last]],
               absl::StrCat("reads ", report.Name(flow.accesses[last]),
                            ", but nobody reads the candidate ",
                            report.Name(buffer, covered, covered + 1)));
  }
}

}  // namespace

void CheckCoverage(const Program& program, const Dataflow& flow,
                   absl::Span<const Dataflow> all, Report& report) {
  CoverageChecker checker(program, flow, all, report);
  for (uint32_t i = 0; i < flow.places.size() && !report.full(); ++i) {
    checker.CheckOperands(i);
  }
  for (uint32_t b = 0; b < program.buffers.size() && !report.full(); ++b) {
    if (program.buffers[b].kind == BufferKind::kActivation) {
      checker.CheckBuffer(b);
    }
  }
  for (const Dataflow::Region& region : flow.regions) {
    if (report.full()) return;
    checker.CheckBegins(region);
  }
  CheckArgmaxRows(program, flow, report);
  CheckCandidates(program, flow, report);
}

}  // namespace mkvm::isa
