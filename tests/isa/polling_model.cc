#include "tests/isa/polling_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mkvm::isa {
namespace {

void Add(const std::vector<uint64_t>& from, std::vector<uint64_t>& to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] |= from[i];
}

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdu;
}

}  // namespace

PollingModel::PollingModel(const Program& program, uint32_t passes)
    : program_(program), passes_(passes) {
  for (const auto& queue : program.queues) {
    first_.push_back(instructions_);
    for (const Instruction& i : queue) {
      ++instructions_;
      AppendAccesses(program, i, accesses_.emplace_back());
    }
  }
  CutIntoSegments();
}

void PollingModel::CutIntoSegments() {
  std::vector<std::vector<uint64_t>> cuts(program_.buffers.size());
  for (const auto& accesses : accesses_) {
    for (const Access& a : accesses) {
      cuts[a.buffer].push_back(a.begin);
      cuts[a.buffer].push_back(a.begin + a.count);
    }
  }
  // Where the inputs of an elementwise instruction fall apart, so do its
  // results.
  for (uint32_t index = 0; index < accesses_.size(); ++index) {
    for (const Access& read : accesses_[index]) {
      if (read.kind != AccessKind::kRead || !IsElementwise(index, read)) {
        continue;
      }
      for (const Access& write : accesses_[index]) {
        if (write.kind != AccessKind::kWrite) continue;
        for (uint64_t cut : std::vector<uint64_t>(cuts[read.buffer])) {
          if (cut > write.begin && cut < write.begin + write.count) {
            cuts[write.buffer].push_back(cut);
          }
        }
      }
    }
  }
  std::vector<uint32_t> first_segment;
  for (uint32_t b = 0; b < cuts.size(); ++b) {
    auto& c = cuts[b];
    std::sort(c.begin(), c.end());
    c.erase(std::unique(c.begin(), c.end()), c.end());
    first_segment.push_back(static_cast<uint32_t>(segments_.size()));
    for (size_t k = 0; k + 1 < c.size(); ++k) {
      segments_.push_back({b, c[k], c[k + 1]});
    }
  }
  const auto segment = [&](uint32_t buffer, uint64_t at) {
    const auto& c = cuts[buffer];
    return first_segment[buffer] +
           static_cast<uint32_t>(std::lower_bound(c.begin(), c.end(), at) -
                                 c.begin());
  };
  for (const auto& accesses : accesses_) {
    auto& ranges = ranges_.emplace_back();
    for (const Access& a : accesses) {
      ranges.push_back(
          {segment(a.buffer, a.begin), segment(a.buffer, a.begin + a.count)});
    }
  }
}

void PollingModel::Reset(uint64_t seed) {
  random_.seed(seed);
  const size_t words = (size_t{passes_} * instructions_ + 63) / 64;
  workers_.assign(program_.queues.size(), {});
  for (Worker& worker : workers_) worker.known.assign(words, 0);
  memory_.assign(segments_.size(), 0);
  counts_.assign(program_.counters.size(), 0);
  arrived_.assign(program_.counters.size(), std::vector<uint32_t>(passes_, 0));
  handed_.assign(program_.counters.size(), Set(words, 0));
  reads_.assign(size_t{passes_} * instructions_ + 1, 0);
}

bool PollingModel::Finished() const {
  return std::all_of(workers_.begin(), workers_.end(), [&](const Worker& w) {
    return w.pass == passes_ && w.pending.empty();
  });
}

void PollingModel::Arrive(Worker& worker, size_t index) {
  const Pending p = worker.pending[index];
  worker.pending.erase(worker.pending.begin() + static_cast<long>(index));
  if (p.is_signal) {
    ++counts_[p.what];
    ++arrived_[p.what][PassOf(p.event)];
  } else {
    memory_[p.what] = p.event + 1;
  }
}

void PollingModel::ArriveAll(Worker& worker) {
  while (!worker.pending.empty()) Arrive(worker, 0);
}

// A worker sees its own writes.
void PollingModel::ArriveOwn(Worker& worker, const SegmentRange& range) {
  for (size_t k = 0; k < worker.pending.size();) {
    const Pending& p = worker.pending[k];
    if (!p.is_signal && p.what >= range.first && p.what < range.last) {
      Arrive(worker, k);
    } else {
      ++k;
    }
  }
}

bool PollingModel::ArriveRandomly(Worker& worker) {
  if (worker.pending.empty()) return false;
  const size_t wanted = random_() % worker.pending.size();
  // The first to the same place goes first.
  size_t k = 0;
  while (worker.pending[k].is_signal != worker.pending[wanted].is_signal ||
         worker.pending[k].what != worker.pending[wanted].what) {
    ++k;
  }
  Arrive(worker, k);
  return true;
}

bool PollingModel::WaitsHold(const Worker& worker, const Instruction& i) const {
  for (int k = 0; k < i.num_waits; ++k) {
    if (i.WaitIsTagged(k)) continue;
    const uint64_t lag = i.WaitIsLagged(k) ? 1 : 0;
    if (lag > worker.pass) continue;
    const Wait& wait = i.waits[k];
    const uint64_t wanted =
        (worker.pass - lag) * program_.counters[wait.counter].producers +
        wait.threshold;
    if (counts_[wait.counter] < wanted) return true;
  }
  return false;
}

// Whether a wait was satisfied by signals of a later pass.
bool PollingModel::Miscounts(const Worker& worker, const Instruction& i) const {
  for (int k = 0; k < i.num_waits; ++k) {
    const uint32_t lag = i.WaitIsLagged(k) ? 1 : 0;
    if (i.WaitIsTagged(k) || lag > worker.pass) continue;
    const uint32_t counter = i.waits[k].counter;
    if (arrived_[counter][worker.pass - lag] <
        program_.counters[counter].producers) {
      return true;
    }
  }
  return false;
}

void PollingModel::TakeOver(Worker& worker, const Instruction& i) {
  for (int k = 0; k < i.num_waits; ++k) {
    if (i.WaitIsTagged(k)) continue;
    if (i.WaitIsLagged(k) && worker.pass == 0) continue;
    Add(handed_[i.waits[k].counter], worker.known);
  }
}

bool PollingModel::IsElementwise(uint32_t index, const Access& read) const {
  for (const Access& a : accesses_[index]) {
    if (a.kind == AccessKind::kWrite && a.begin == read.begin &&
        a.count == read.count) {
      return true;
    }
  }
  return false;
}

bool PollingModel::IsPiecemeal(const Instruction& i, uint32_t index,
                               const Access& read) const {
  return !WritesLast(static_cast<Opcode>(i.opcode)) &&
         IsElementwise(index, read);
}

PollingModel::Outcome PollingModel::Read(uint32_t w, const Access& access,
                                         uint32_t segment, uint64_t& hash,
                                         std::string& fault) {
  const Worker& worker = workers_[w];
  const Instruction& i = program_.queues[w][worker.pc];
  const uint32_t writer = memory_[segment] - 1;
  const bool written = memory_[segment] != 0;
  hash += Mix(Mix(segment, access.operand), memory_[segment]);
  if (i.OperandIsPolled(access.operand)) {
    if (written && PassOf(writer) > worker.pass) {
      fault = absl::StrCat(Name(EventOf(w)), " polls what ", Name(writer),
                           " has overwritten");
      return Outcome::kFault;
    }
    return written && PassOf(writer) == worker.pass ? Outcome::kDone
                                                    : Outcome::kBlocked;
  }
  if (program_.buffers[access.buffer].kind == BufferKind::kActivation &&
      (!written || PassOf(writer) != worker.pass)) {
    fault = absl::StrCat(Name(EventOf(w)), " reads operand ", access.operand,
                         " of another pass");
    return Outcome::kFault;
  }
  if (written && !(worker.known[writer / 64] >> (writer % 64) & 1)) {
    fault = absl::StrCat(Name(EventOf(w)), " may or may not see the write of ",
                         Name(writer));
    return Outcome::kFault;
  }
  return Outcome::kDone;
}

// The operands that are taken in whole.
PollingModel::Outcome PollingModel::ReadInputs(uint32_t w, uint64_t& hash,
                                               std::string& fault) {
  Worker& worker = workers_[w];
  const Instruction& i = program_.queues[w][worker.pc];
  const uint32_t index = first_[w] + worker.pc;
  for (size_t a = 0; a < accesses_[index].size(); ++a) {
    const Access& access = accesses_[index][a];
    // What it updates it may have changed itself since it began.
    if (!Happens(worker, access) || access.kind == AccessKind::kWrite ||
        (access.kind == AccessKind::kUpdate && worker.started)) {
      continue;
    }
    if (i.OperandIsPolled(access.operand) && IsPiecemeal(i, index, access)) {
      continue;
    }
    const bool some = i.OperandIsPolled(access.operand) &&
                      FindOpcode(i.opcode)->operands[access.operand].reads_some;
    if (some && (worker.skips || worker.started)) continue;
    ArriveOwn(worker, ranges_[index][a]);
    for (uint32_t s = ranges_[index][a].first; s < ranges_[index][a].last;
         ++s) {
      // Neither is part of what is compared later.
      const bool update = access.kind == AccessKind::kUpdate;
      uint64_t other = 0;
      const Outcome outcome =
          Read(w, access, s, update || some ? other : hash, fault);
      if (outcome != Outcome::kDone) return outcome;
      if (update) reads_[EventOf(w)] += other;
    }
  }
  return Outcome::kDone;
}

// What goes into the elements of one segment that is to be published.
PollingModel::Outcome PollingModel::ReadElements(uint32_t w, uint32_t published,
                                                 uint64_t& hash,
                                                 std::string& fault) {
  Worker& worker = workers_[w];
  const Instruction& i = program_.queues[w][worker.pc];
  const uint32_t index = first_[w] + worker.pc;
  const Segment& target = segments_[published];
  for (size_t a = 0; a < accesses_[index].size(); ++a) {
    const Access& access = accesses_[index][a];
    if (!Happens(worker, access) || access.kind != AccessKind::kRead ||
        !i.OperandIsPolled(access.operand) || !IsPiecemeal(i, index, access)) {
      continue;
    }
    ArriveOwn(worker, ranges_[index][a]);
    for (uint32_t s = ranges_[index][a].first; s < ranges_[index][a].last;
         ++s) {
      if (segments_[s].end <= target.begin ||
          target.end <= segments_[s].begin) {
        continue;
      }
      const Outcome outcome = Read(w, access, s, hash, fault);
      if (outcome != Outcome::kDone) return outcome;
    }
  }
  return Outcome::kDone;
}

PollingModel::Outcome PollingModel::Start(uint32_t w, std::string& fault) {
  Worker& worker = workers_[w];
  const Instruction& i = program_.queues[w][worker.pc];
  if (WaitsHold(worker, i)) return Outcome::kBlocked;
  if (Miscounts(worker, i)) {
    fault = absl::StrCat(Name(EventOf(w)), " miscounts");
    return Outcome::kFault;
  }
  TakeOver(worker, i);
  worker.inputs = 0;
  worker.skips = random_() % 2 == 0;
  const uint32_t event = EventOf(w);
  reads_[event] = 0;
  const Outcome outcome = ReadInputs(w, worker.inputs, fault);
  if (outcome != Outcome::kDone) return outcome;
  reads_[event] += worker.inputs;
  worker.known[event / 64] |= uint64_t{1} << (event % 64);
  worker.started = true;
  worker.unpublished.clear();
  const uint32_t index = first_[w] + worker.pc;
  for (size_t a = 0; a < accesses_[index].size(); ++a) {
    const Access& access = accesses_[index][a];
    if (!Happens(worker, access) || (access.kind != AccessKind::kWrite &&
                                     access.kind != AccessKind::kUpdate)) {
      continue;
    }
    for (uint32_t s = ranges_[index][a].first; s < ranges_[index][a].last;
         ++s) {
      worker.unpublished.push_back(s);
    }
  }
  std::shuffle(worker.unpublished.begin(), worker.unpublished.end(), random_);
  return Outcome::kDone;
}

PollingModel::Outcome PollingModel::Publish(uint32_t w, std::string& fault) {
  Worker& worker = workers_[w];
  const uint32_t event = EventOf(w);
  while (!worker.unpublished.empty()) {
    uint64_t again = 0;
    Outcome outcome = ReadInputs(w, again, fault);
    if (outcome == Outcome::kFault) return outcome;
    if (outcome == Outcome::kBlocked || again != worker.inputs) {
      fault = absl::StrCat(Name(event), " still reads what was overwritten");
      return Outcome::kFault;
    }
    const uint32_t segment = worker.unpublished.back();
    uint64_t hash = 0;
    outcome = ReadElements(w, segment, hash, fault);
    if (outcome != Outcome::kDone) return outcome;
    reads_[event] += hash;
    worker.unpublished.pop_back();
    worker.pending.push_back({false, segment, event});
    if (random_() % 4 == 0) {
      if (random_() % 2 == 0) worker.asleep = random_() % 128;
      return Outcome::kDone;
    }
  }
  End(w);
  return Outcome::kDone;
}

void PollingModel::End(uint32_t w) {
  Worker& worker = workers_[w];
  const Instruction& i = program_.queues[w][worker.pc];
  if (i.signal != kNoCounter) {
    worker.pending.push_back({true, i.signal, EventOf(w)});
    if (i.flags & kFlagRelease) {
      ArriveAll(worker);
      Add(worker.known, handed_[i.signal]);
    }
  }
  worker.started = false;
  if (++worker.pc == program_.queues[w].size()) {
    worker.pc = 0;
    ++worker.pass;
  }
}

PollingModel::Outcome PollingModel::Step(uint32_t w, std::string& fault) {
  Worker& worker = workers_[w];
  if (worker.pass == passes_) return Outcome::kBlocked;
  if (worker.asleep > 0) {
    --worker.asleep;
    return Outcome::kBlocked;
  }
  if (!worker.started) {
    const Outcome outcome = Start(w, fault);
    if (outcome != Outcome::kDone) return outcome;
  }
  return Publish(w, fault);
}

std::string PollingModel::Run(uint64_t seed, std::vector<uint64_t>& trace) {
  Reset(seed);
  // Some mistakes show only when arrivals are rare, or one worker runs ahead.
  const uint64_t laziness = uint64_t{1} << (seed % 3 * 3);
  const uint64_t stickiness = seed / 3 % 3 * 7;
  size_t idle = 0;
  uint32_t w = 0;
  std::string fault;
  while (!Finished()) {
    if (random_() % 16 >= stickiness || idle > 0) {
      w = static_cast<uint32_t>(random_() % workers_.size());
    }
    const bool arrived =
        (random_() % laziness == 0 || idle > workers_.size()) &&
        ArriveRandomly(workers_[w]);
    const Outcome outcome = Step(w, fault);
    if (outcome == Outcome::kFault) return fault;
    idle = arrived || outcome == Outcome::kDone ? 0 : idle + 1;
    if (idle < 16 * workers_.size() + 64) continue;
    // Certainly stuck? Let everything arrive and try every worker.
    idle = 0;
    for (Worker& worker : workers_) {
      ArriveAll(worker);
      worker.asleep = 0;
    }
    bool moved = Finished();
    for (uint32_t k = 0; k < workers_.size() && !moved; ++k) {
      const Outcome again = Step(k, fault);
      if (again == Outcome::kFault) return fault;
      moved = again == Outcome::kDone;
    }
    if (!moved) return "stuck";
  }
  uint64_t hash = 0;
  for (uint32_t s : memory_) hash = Mix(hash, s);
  reads_.back() = hash;
  trace = reads_;
  return "";
}

std::string PollingModel::Name(uint32_t event) const {
  const uint32_t index = event % instructions_;
  size_t w = first_.size() - 1;
  while (first_[w] > index) --w;
  return absl::StrCat("worker ", w, " pc ", index - first_[w], " pass ",
                      PassOf(event));
}

}  // namespace mkvm::isa
