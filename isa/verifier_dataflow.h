// Who writes and who reads which elements: the facts that coverage and order
// are proven from. Regions are summed up so that their size, not the product of
// readers and writers, is what a check costs.
#ifndef MKVM_ISA_VERIFIER_DATAFLOW_H_
#define MKVM_ISA_VERIFIER_DATAFLOW_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "isa/opcode_table.h"
#include "isa/program.h"
#include "isa/verifier_report.h"

namespace mkvm::isa {

// A list of numbers for each of `n` keys, in one piece of memory.
class Lists {
 public:
  Lists() = default;
  // `pairs`: (key, value); a key's values keep their order.
  Lists(size_t n, const std::vector<std::pair<uint32_t, uint32_t>>& pairs);

  absl::Span<const uint32_t> operator[](size_t key) const {
    return absl::MakeConstSpan(values_).subspan(first_[key],
                                                first_[key + 1] - first_[key]);
  }

 private:
  std::vector<size_t> first_;
  std::vector<uint32_t> values_;
};

// Of a set of instructions, the last one on each worker, ascending by worker.
// Queue order makes it stand for all of them.
using Frontier = std::vector<Place>;

// Of the passes of one kind: nothing ends while the position is in [first,
// end), but accesses may begin; lists who reads and writes what in them.
struct Dataflow {
  // REQUIRES: CheckDeclarations and CheckInstructions found nothing; no access
  // has its end between the two positions.
  Dataflow(const Program& program, uint64_t first_position,
           uint64_t end_position);

  static constexpr uint32_t kNone = 0xffffffffu;

  uint64_t first_position;
  uint64_t end_position;

  // Instructions are numbered queue by queue; accesses instruction by
  // instruction. These, and the state regions, are the same for all kinds of
  // pass: also accesses that don't happen in this one are among them.
  std::vector<uint32_t> first_instruction;  // of each worker, and the total
  std::vector<Place> places;                // of each instruction
  std::vector<uint32_t> first_access;  // of each instruction, and the total
  std::vector<Access> accesses;
  std::vector<uint32_t> instruction_of;  // each access

  uint32_t IndexOf(Place place) const {
    return first_instruction[place.worker] + place.pc;
  }

  // In some of the passes. If so, from one of them on until the last.
  bool Happens(uint32_t access) const {
    const Access& a = accesses[access];
    return a.first_position < end_position && a.end_position > first_position;
  }
  // In all of them: what orders others must.
  bool HappensAlways(uint32_t access) const {
    return Happens(access) && BeginOf(access) == first_position;
  }
  // The position from which it happens. REQUIRES: it does.
  uint64_t BeginOf(uint32_t access) const {
    return std::max(first_position, accesses[access].first_position);
  }

  // Writes to activations that happen, buffer by buffer, ascending by begin.
  std::vector<uint32_t> writes;       // accesses
  std::vector<uint32_t> first_write;  // of each buffer, and the total

  // Those that overlap the interval: [first, last) of `writes`. REQUIRES: no
  // two writes overlap each other.
  std::pair<uint32_t, uint32_t> WritesOf(uint32_t buffer, uint64_t begin,
                                         uint64_t end) const;

  // A distinct interval of an activation that somebody reads. Buffer by buffer,
  // ascending by begin.
  struct Region {
    uint32_t buffer;
    uint64_t begin;
    uint64_t end;
    std::vector<uint32_t> reads;  // accesses
    uint32_t polled_reads = 0;
    bool read_whole = false;  // by some read, all of it, in every pass
    // The overlapping writes: [first_write, last_write) of `writes`.
    uint32_t first_write = 0;
    uint32_t last_write = 0;
    Frontier writers;
    Frontier readers;
  };
  std::vector<Region> regions;
  std::vector<uint32_t> first_region;  // of each buffer, and the total
  std::vector<uint32_t>
      region_of;          // each access; kNone unless it is such a read
  Lists regions_written;  // by access: the regions it overlaps
  // By instruction: the regions that it polls, and those of which it polls only
  // some elements, or not in all passes; the polled regions that hold
  // everything it writes, and those that hold a part.
  Lists polls;
  Lists polls_some;
  Lists feeds_wholly;
  Lists feeds_partly;

  // A distinct interval of a state buffer that somebody accesses.
  struct StateRegion {
    uint32_t buffer;
    uint64_t begin;
    uint64_t end;
  };
  std::vector<StateRegion> state_regions;
  std::vector<uint32_t> state_region_of;  // each access; kNone: not state
  Lists overlapping;                      // by state region, itself included

  // Producers of each counter.
  std::vector<Frontier> producers;

 private:
  void ListAccesses(const Program& program);
  void ListWrites(const Program& program);
  void ListRegions(const Program& program);
  bool IsOnlyWrite(uint32_t write) const;
  void ListStateRegions(const Program& program);
  void ListProducers(const Program& program);
};

// Every element of every activation is written exactly once in a pass, an
// instruction's writes don't touch its other operands, and every row of a
// matrix and every candidate takes part in its argmax. `all`: of each of the
// program's kinds of pass, `flow` among them, which is the one to check.
void CheckCoverage(const Program& program, const Dataflow& flow,
                   absl::Span<const Dataflow> all, Report& report);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_VERIFIER_DATAFLOW_H_
