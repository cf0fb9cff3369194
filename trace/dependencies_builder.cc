// Which instructions each wait of a program is for, and when.
#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "isa/opcode_table.h"
#include "trace/dependencies.h"

namespace mkvm::trace {
namespace {

using isa::Access;
using isa::AccessKind;

bool Reads(const Access& access) {
  return access.kind == AccessKind::kRead || access.kind == AccessKind::kUpdate;
}

bool Writes(const Access& access) {
  return access.kind == AccessKind::kWrite ||
         access.kind == AccessKind::kUpdate;
}

}  // namespace

// The sets of producers, found once per program: waiters that read the same
// regions share one, so that nothing below is done per waiter and producer.
class Dependencies::Builder {
 public:
  explicit Builder(Dependencies& out)
      : out_(out), program_(out.trace_.program) {}

  void Run() {
    FindWriters();
    for (uint32_t w = 0; w < program_.num_workers(); ++w) {
      instruction_begin_.push_back(static_cast<uint32_t>(set_of_.size()));
      for (const isa::Instruction& i : program_.queues[w]) AddSets(i);
    }
    MakeJoins();
  }

 private:
  // Elements [begin, end) written by one of a counter's producers.
  struct Range {
    uint64_t begin, end;
    ProducerPlace producer;
  };
  // Written in passes below alone_, too.
  static bool IsBelow(const Range& range) {
    return range.producer.first_position == 0;
  }
  struct Signallers {
    std::vector<ProducerPlace> places;
    absl::flat_hash_map<uint32_t, std::vector<Range>> writes;  // by buffer
  };
  // Counter, then the regions read: buffer, begin, count, ...
  using SetKey = std::vector<uint64_t>;

  void FindWriters() {
    signallers_.resize(program_.counters.size());
    for (uint32_t w = 0; w < program_.num_workers(); ++w) {
      const std::vector<isa::Instruction>& queue = program_.queues[w];
      for (uint32_t pc = 0; pc < queue.size(); ++pc) {
        if (queue[pc].signal == isa::kNoCounter) continue;
        Signallers& signallers = signallers_[queue[pc].signal];
        signallers.places.push_back({w, pc});
        accesses_.clear();
        isa::AppendAccesses(program_, queue[pc], accesses_);
        for (const Access& a : accesses_) {
          if (a.end_position != Access::kNoEnd) alone_ = a.end_position;
          if (!Writes(a)) continue;
          const Range range = {
              a.begin, a.begin + a.count, {w, pc, a.first_position}};
          signallers.writes[a.buffer].push_back(range);
          if (IsBelow(range)) writes_below_[a.buffer].push_back(range);
        }
      }
    }
  }

  void AddSets(const isa::Instruction& instruction) {
    accesses_.clear();
    isa::AppendAccesses(program_, instruction, accesses_);
    std::array<uint32_t, isa::kMaxWaits> sets = {};
    std::array<uint32_t, isa::kMaxWaits> below = {};
    std::array<uint64_t, isa::kMaxWaits> reads_from = {};
    for (int i = 0; i < instruction.num_waits; ++i) {
      sets[i] = SetFor(instruction.waits[i].counter);
      reads_from[i] = ReadsFrom(instruction.waits[i].counter);
      below[i] = sets[i];
      if (alone_ > 0 && out_.polls_ && instruction.WaitIsTagged(i)) {
        below[i] = SetBelow(instruction.waits[i].counter, sets[i]);
      }
    }
    set_of_.push_back(sets);
    set_below_of_.push_back(below);
    reads_from_.push_back(reads_from);
  }

  // The position from which the reader whose accesses are in accesses_ reads
  // what the counter's producers write; 0 if it reads none of it.
  uint64_t ReadsFrom(uint32_t counter) const {
    uint64_t first = Access::kNoEnd;
    for (const Access& a : accesses_) {
      if (Reads(a) && signallers_[counter].writes.contains(a.buffer)) {
        first = std::min(first, a.first_position);
      }
    }
    return first == Access::kNoEnd ? 0 : first;
  }

  // The set of `counter` for the reader whose accesses are in accesses_.
  uint32_t SetFor(uint32_t counter) {
    const Signallers& signallers = signallers_[counter];
    SetKey key = {counter};
    for (const Access& a : accesses_) {
      if (Reads(a) && signallers.writes.contains(a.buffer)) {
        key.insert(key.end(), {a.buffer, a.begin, a.count});
      }
    }
    const uint32_t fresh = static_cast<uint32_t>(out_.set_begin_.size() - 1);
    const auto [it, inserted] = sets_.try_emplace(std::move(key), fresh);
    if (inserted) AppendSet(signallers, it->first);
    return it->second;
  }

  // The set for the same reader in a pass below alone_, for a wait that is left
  // to polling: whoever then writes what it polls, be it another counter's
  // producer. `set` is that of other passes.
  uint32_t SetBelow(uint32_t counter, uint32_t set) {
    const Signallers& signallers = signallers_[counter];
    bool differs = false;
    // No key of SetFor has this length.
    SetKey key = {counter, 0};
    for (const Access& a : accesses_) {
      if (!Reads(a) || !signallers.writes.contains(a.buffer) ||
          !a.HappensAt(0)) {
        continue;
      }
      key.insert(key.end(), {a.buffer, a.begin, a.count});
      for (const Range& r : signallers.writes.at(a.buffer)) {
        differs |=
            !IsBelow(r) && r.begin < a.begin + a.count && a.begin < r.end;
      }
    }
    if (!differs) return set;
    const auto known = sets_.find(key);
    if (known != sets_.end()) return known->second;
    std::vector<ProducerPlace> places;
    for (size_t i = 2; i < key.size(); i += 3) {
      const auto writes = writes_below_.find(static_cast<uint32_t>(key[i]));
      if (writes == writes_below_.end()) continue;
      AppendWriters(writes->second, key[i + 1], key[i + 2], places);
    }
    if (places.empty()) return set;
    const uint32_t fresh = static_cast<uint32_t>(out_.set_begin_.size() - 1);
    AppendPlaces(std::move(places));
    sets_.emplace(std::move(key), fresh);
    return fresh;
  }

  static void AppendWriters(const std::vector<Range>& writes, uint64_t begin,
                            uint64_t count,
                            std::vector<ProducerPlace>& places) {
    for (const Range& r : writes) {
      if (r.begin < begin + count && begin < r.end) {
        places.push_back(r.producer);
      }
    }
  }

  void AppendSet(const Signallers& signallers, const SetKey& key) {
    std::vector<ProducerPlace> places;
    for (size_t i = 1; i < key.size(); i += 3) {
      AppendWriters(signallers.writes.at(static_cast<uint32_t>(key[i])),
                    key[i + 1], key[i + 2], places);
    }
    AppendPlaces(places.empty() ? signallers.places : places);
  }

  void AppendPlaces(std::vector<ProducerPlace> places) {
    const auto order = [](const ProducerPlace& a, const ProducerPlace& b) {
      return std::tie(a.worker, a.pc, a.first_position) <
             std::tie(b.worker, b.pc, b.first_position);
    };
    std::sort(places.begin(), places.end(), order);
    const auto same = [](const ProducerPlace& a, const ProducerPlace& b) {
      return a.worker == b.worker && a.pc == b.pc;
    };
    places.erase(std::unique(places.begin(), places.end(), same), places.end());
    out_.producers_.insert(out_.producers_.end(), places.begin(), places.end());
    out_.set_begin_.push_back(static_cast<uint32_t>(out_.producers_.size()));
  }

  void MakeJoins() {
    const std::vector<Event>& events = out_.trace_.events;
    out_.joins_of_.resize(events.size());
    for (size_t e = 0; e < events.size(); ++e) {
      const Event& event = events[e];
      const isa::Instruction& instruction =
          program_.queues[event.worker][event.pc];
      const uint32_t index = instruction_begin_[event.worker] + event.pc;
      const uint64_t position =
          static_cast<uint64_t>(out_.trace_.first_position) + event.pass;
      const auto& sets = (position < alone_ ? set_below_of_ : set_of_)[index];
      out_.joins_of_[e].fill(kNoJoin);
      for (int i = 0; i < instruction.num_waits; ++i) {
        const uint32_t lag = instruction.WaitIsLagged(i) ? 1 : 0;
        if (event.pass < lag) continue;
        const Transport transport = out_.polls_ && instruction.WaitIsTagged(i)
                                        ? Transport::kTagged
                                        : Transport::kCounter;
        // Who is idle polls nothing.
        if (transport == Transport::kTagged &&
            position < reads_from_[index][i]) {
          continue;
        }
        out_.joins_of_[e][i] = JoinFor(sets[i], event.pass - lag, transport);
      }
    }
  }

  uint32_t JoinFor(uint32_t set, uint32_t pass, Transport transport) {
    const uint32_t fresh = static_cast<uint32_t>(out_.joins_.size());
    const auto [it, inserted] =
        joins_.try_emplace(std::make_tuple(set, pass, transport), fresh);
    if (!inserted) return it->second;
    Join join;
    join.set = set;
    join.pass = pass;
    join.transport = transport;
    join.last = LastOf(join, kAnyWorker);
    if (join.last != kNoEvent) {
      join.last_elsewhere = LastOf(join, out_.trace_.events[join.last].worker);
    }
    out_.joins_.push_back(join);
    return fresh;
  }

  static constexpr uint32_t kAnyWorker = std::numeric_limits<uint32_t>::max();

  // The producer that published last, of those not on worker `except`.
  EventIndex LastOf(const Join& join, uint32_t except) const {
    EventIndex last = kNoEvent;
    Nanos latest = 0;
    for (const ProducerPlace& place : out_.Producers(join.set)) {
      if (place.worker == except || !out_.WaitsFor(join, place)) continue;
      const EventIndex producer = out_.Find(place.worker, join.pass, place.pc);
      if (producer == kNoEvent) continue;
      const Nanos publish = out_.Publish(producer, join.transport);
      if (last == kNoEvent || publish > latest) {
        last = producer;
        latest = publish;
      }
    }
    return last;
  }

  Dependencies& out_;
  const isa::Program& program_;
  std::vector<Signallers> signallers_;  // by counter
  std::vector<uint32_t> instruction_begin_;
  // The position below which some instructions work alone and others idle.
  uint64_t alone_ = 0;
  absl::flat_hash_map<uint32_t, std::vector<Range>> writes_below_;  // by buffer
  std::vector<std::array<uint32_t, isa::kMaxWaits>> set_of_;
  // The same in passes below alone_.
  std::vector<std::array<uint32_t, isa::kMaxWaits>> set_below_of_;
  std::vector<std::array<uint64_t, isa::kMaxWaits>> reads_from_;
  absl::flat_hash_map<SetKey, uint32_t> sets_;
  absl::flat_hash_map<std::tuple<uint32_t, uint32_t, Transport>, uint32_t>
      joins_;
  std::vector<Access> accesses_;
};

void Dependencies::FindJoins() { Builder(*this).Run(); }

}  // namespace mkvm::trace
