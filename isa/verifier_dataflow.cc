#include "isa/verifier_dataflow.h"

#include <algorithm>
#include <tuple>

namespace mkvm::isa {
namespace {

// Collects frontiers one after another.
class FrontierMaker {
 public:
  explicit FrontierMaker(size_t workers) : last_(workers, kNobody) {}

  void Add(Place place) {
    uint32_t& last = last_[place.worker];
    if (last == kNobody) {
      seen_.push_back(place.worker);
      last = place.pc;
    } else {
      last = std::max(last, place.pc);
    }
  }

  Frontier Take() {
    std::sort(seen_.begin(), seen_.end());
    Frontier frontier;
    frontier.reserve(seen_.size());
    for (uint32_t w : seen_) {
      frontier.push_back({w, last_[w]});
      last_[w] = kNobody;
    }
    seen_.clear();
    return frontier;
  }

 private:
  static constexpr uint32_t kNobody = 0xffffffffu;
  std::vector<uint32_t> last_;
  std::vector<uint32_t> seen_;
};

bool IsActivation(const Program& program, const Access& access) {
  return program.buffers[access.buffer].kind == BufferKind::kActivation;
}

bool IsWrite(const Access& access) {
  return access.kind == AccessKind::kWrite ||
         access.kind == AccessKind::kUpdate;
}

// The accesses for which `wanted` holds, sorted so that those of one interval
// of one buffer are neighbours, in order of their begin.
template <typename Predicate>
std::vector<uint32_t> SortedAccesses(const std::vector<Access>& accesses,
                                     Predicate wanted) {
  std::vector<uint32_t> sorted;
  for (uint32_t a = 0; a < accesses.size(); ++a) {
    if (accesses[a].count > 0 && wanted(a)) sorted.push_back(a);
  }
  std::sort(sorted.begin(), sorted.end(), [&](uint32_t a, uint32_t b) {
    const Access& x = accesses[a];
    const Access& y = accesses[b];
    return std::tie(x.buffer, x.begin, x.count, a) <
           std::tie(y.buffer, y.begin, y.count, b);
  });
  return sorted;
}

bool SameInterval(const Access& a, const Access& b) {
  return a.buffer == b.buffer && a.begin == b.begin && a.count == b.count;
}

}  // namespace

Lists::Lists(size_t n, const std::vector<std::pair<uint32_t, uint32_t>>& pairs)
    : first_(n + 1, 0), values_(pairs.size()) {
  for (const auto& [key, value] : pairs) ++first_[key + 1];
  for (size_t key = 0; key < n; ++key) first_[key + 1] += first_[key];
  std::vector<size_t> next(first_.begin(), first_.end() - 1);
  for (const auto& [key, value] : pairs) values_[next[key]++] = value;
}

Dataflow::Dataflow(const Program& program, uint64_t first_position,
                   uint64_t end_position)
    : first_position(first_position), end_position(end_position) {
  ListAccesses(program);
  ListWrites(program);
  ListRegions(program);
  ListStateRegions(program);
  ListProducers(program);
}

void Dataflow::ListAccesses(const Program& program) {
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    first_instruction.push_back(static_cast<uint32_t>(places.size()));
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      const uint32_t instruction = static_cast<uint32_t>(places.size());
      first_access.push_back(static_cast<uint32_t>(accesses.size()));
      AppendAccesses(program, program.queues[w][pc], accesses);
      instruction_of.resize(accesses.size(), instruction);
      places.push_back({w, pc});
    }
  }
  first_instruction.push_back(static_cast<uint32_t>(places.size()));
  first_access.push_back(static_cast<uint32_t>(accesses.size()));
}

void Dataflow::ListWrites(const Program& program) {
  writes = SortedAccesses(accesses, [&](uint32_t a) {
    return Happens(a) && IsWrite(accesses[a]) &&
           IsActivation(program, accesses[a]);
  });
  first_write.assign(program.buffers.size() + 1, 0);
  for (uint32_t a : writes) ++first_write[accesses[a].buffer + 1];
  for (size_t b = 0; b < program.buffers.size(); ++b) {
    first_write[b + 1] += first_write[b];
  }
}

void Dataflow::ListRegions(const Program& program) {
  region_of.assign(accesses.size(), kNone);
  const std::vector<uint32_t> reads = SortedAccesses(accesses, [&](uint32_t a) {
    return Happens(a) && !IsWrite(accesses[a]) &&
           IsActivation(program, accesses[a]);
  });
  FrontierMaker frontier(program.queues.size());
  std::vector<std::pair<uint32_t, uint32_t>> written, polled, polled_some,
      whole, part;
  for (size_t i = 0; i < reads.size();) {
    const Access& access = accesses[reads[i]];
    const uint32_t index = static_cast<uint32_t>(regions.size());
    Region region{access.buffer,
                  access.begin,
                  access.begin + access.count,
                  {},
                  0,
                  false,
                  0,
                  0,
                  {},
                  {}};
    for (; i < reads.size() && SameInterval(access, accesses[reads[i]]); ++i) {
      const uint32_t read = reads[i];
      const uint32_t instruction = instruction_of[read];
      const Place place = places[instruction];
      region.reads.push_back(read);
      region_of[read] = index;
      frontier.Add(place);
      const Instruction& reader = program.queues[place.worker][place.pc];
      const uint8_t operand = accesses[read].operand;
      const bool some =
          FindOpcode(reader.opcode)->operands[operand].reads_some ||
          !HappensAlways(read);
      if (!some) region.read_whole = true;
      if (reader.OperandIsPolled(operand)) {
        ++region.polled_reads;
        (some ? polled_some : polled).emplace_back(instruction, index);
      }
    }
    region.readers = frontier.Take();
    // Where writes do overlap one another, nothing is proven from this.
    std::tie(region.first_write, region.last_write) =
        WritesOf(region.buffer, region.begin, region.end);
    for (uint32_t k = region.first_write; k < region.last_write; ++k) {
      const uint32_t a = writes[k];
      const uint32_t instruction = instruction_of[a];
      frontier.Add(places[instruction]);
      written.emplace_back(a, index);
      if (region.polled_reads == 0) continue;
      const bool wholly = accesses[a].begin >= region.begin &&
                          accesses[a].begin + accesses[a].count <= region.end &&
                          IsOnlyWrite(a);
      (wholly ? whole : part).emplace_back(instruction, index);
    }
    region.writers = frontier.Take();
    regions.push_back(std::move(region));
  }
  first_region.assign(program.buffers.size() + 1, 0);
  for (const Region& region : regions) ++first_region[region.buffer + 1];
  for (size_t b = 0; b < program.buffers.size(); ++b) {
    first_region[b + 1] += first_region[b];
  }
  regions_written = Lists(accesses.size(), written);
  polls = Lists(places.size(), polled);
  polls_some = Lists(places.size(), polled_some);
  feeds_wholly = Lists(places.size(), whole);
  feeds_partly = Lists(places.size(), part);
}

std::pair<uint32_t, uint32_t> Dataflow::WritesOf(uint32_t buffer,
                                                 uint64_t begin,
                                                 uint64_t end) const {
  const auto low = writes.begin() + first_write[buffer];
  const auto high = writes.begin() + first_write[buffer + 1];
  const auto first = std::partition_point(low, high, [&](uint32_t a) {
    return accesses[a].begin + accesses[a].count <= begin;
  });
  const auto last = std::partition_point(
      first, high, [&](uint32_t a) { return accesses[a].begin < end; });
  return {static_cast<uint32_t>(first - writes.begin()),
          static_cast<uint32_t>(last - writes.begin())};
}

bool Dataflow::IsOnlyWrite(uint32_t write) const {
  const uint32_t instruction = instruction_of[write];
  for (uint32_t a = first_access[instruction];
       a < first_access[instruction + 1]; ++a) {
    if (a != write && Happens(a) && IsWrite(accesses[a])) return false;
  }
  return true;
}

void Dataflow::ListStateRegions(const Program& program) {
  state_region_of.assign(accesses.size(), kNone);
  const std::vector<uint32_t> sorted =
      SortedAccesses(accesses, [&](uint32_t a) {
        return program.buffers[accesses[a].buffer].kind == BufferKind::kState;
      });
  for (size_t i = 0; i < sorted.size(); ++i) {
    const Access& access = accesses[sorted[i]];
    if (i == 0 || !SameInterval(access, accesses[sorted[i - 1]])) {
      state_regions.push_back(
          {access.buffer, access.begin, access.begin + access.count});
    }
    state_region_of[sorted[i]] =
        static_cast<uint32_t>(state_regions.size() - 1);
  }
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (uint32_t r = 0; r < state_regions.size(); ++r) {
    pairs.emplace_back(r, r);
    for (uint32_t s = r + 1;
         s < state_regions.size() &&
         state_regions[s].buffer == state_regions[r].buffer &&
         state_regions[s].begin < state_regions[r].end;
         ++s) {
      pairs.emplace_back(r, s);
      pairs.emplace_back(s, r);
    }
  }
  overlapping = Lists(state_regions.size(), pairs);
}

void Dataflow::ListProducers(const Program& program) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (uint32_t i = 0; i < places.size(); ++i) {
    const uint32_t signal =
        program.queues[places[i].worker][places[i].pc].signal;
    if (signal != kNoCounter) pairs.emplace_back(signal, i);
  }
  const Lists lists(program.counters.size(), pairs);
  FrontierMaker frontier(program.queues.size());
  for (uint32_t c = 0; c < program.counters.size(); ++c) {
    for (uint32_t i : lists[c]) frontier.Add(places[i]);
    producers.push_back(frontier.Take());
  }
}

}  // namespace mkvm::isa
