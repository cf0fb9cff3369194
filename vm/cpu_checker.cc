#include "vm/cpu_checker.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "isa/opcode_table.h"
#include "vm/access_history.h"
#include "vm/fault_status.h"

namespace mkvm::vm {
namespace {

// What one counter has received.
class CounterHistory {
 public:
  // Of one pass: signals, and the join of the signallers' clocks.
  struct Tally {
    uint64_t signals = 0;
    VectorClock clock;
  };

  void Signal(uint32_t pass, const VectorClock& clock) {
    ++total_;
    Tally& tally = At(pass, clock.size());
    ++tally.signals;
    Join(clock, tally.clock);
  }

  // nullptr when nothing has come in that pass.
  const Tally* Find(uint32_t pass) const {
    if (pass < first_pass_ || pass - first_pass_ >= tallies_.size()) {
      return nullptr;
    }
    return &tallies_[pass - first_pass_];
  }

  // Forgets the passes before `pass`, for which nobody can wait any more.
  void ForgetBefore(uint32_t pass) {
    for (; first_pass_ < pass && !tallies_.empty(); ++first_pass_) {
      tallies_.pop_front();
    }
    first_pass_ = std::max(first_pass_, pass);
  }

  uint64_t total() const { return total_; }

 private:
  Tally& At(uint32_t pass, size_t workers) {
    while (pass - first_pass_ >= tallies_.size()) {
      tallies_.push_back({0, VectorClock(workers, 0)});
    }
    return tallies_[pass - first_pass_];
  }

  uint64_t total_ = 0;
  uint32_t first_pass_ = 0;
  std::deque<Tally> tallies_;  // of passes first_pass_, first_pass_ + 1, ...
};

class CheckedRun {
 public:
  CheckedRun(const isa::Program& program,
             absl::Span<const ops::HostBuffer> buffers,
             const RunOptions& options, uint64_t seed);

  absl::StatusOr<LaunchEnd> Run();

 private:
  uint32_t PassOf(const Actor& actor) const;
  std::string Describe(const Actor& actor, bool with_pass) const;
  bool HeldByWait(uint32_t w) const;
  // The next worker to run, or nothing when all are held.
  std::optional<uint32_t> Choose();
  absl::Status Step(uint32_t w);
  absl::Status JoinWaits(uint32_t w);
  absl::Status CheckAccesses(uint32_t w);
  absl::Status CheckAccess(const isa::Access& access, const Actor& actor);
  absl::Status CheckWritten(const isa::Access& access, const Actor& actor);
  absl::Status CheckNotWritten(const isa::Access& access, const Actor& actor);
  absl::Status RaceError(const isa::Access& access, const Actor& actor,
                         const AccessHistory::Race& race) const;
  absl::Status Deadlock() const;
  void ForgetOldPasses();
  // "x[512..520)"
  std::string Region(uint32_t buffer, uint64_t begin, uint64_t end) const {
    return absl::StrFormat("%s[%d..%d)", program_.buffers[buffer].name, begin,
                           end);
  }

  const isa::Program& program_;
  const absl::Span<const ops::HostBuffer> buffers_;
  const RunOptions& options_;
  std::mt19937_64 random_;
  // How often, in 16ths, the worker that ran last goes on: some mistakes show
  // only when one worker runs far ahead, others only in a fine mixture.
  const uint32_t stickiness_;
  uint32_t last_ = 0;
  ops::OpContext context_;
  std::vector<WorkerPlace> places_;
  std::vector<VectorClock> clocks_;         // by worker
  std::vector<CounterHistory> counters_;    // by counter
  std::vector<uint32_t> signals_per_pass_;  // by counter, as found in queues
  std::vector<std::optional<AccessHistory>> histories_;  // by buffer
  std::vector<isa::Access> accesses_;  // of the instruction at hand
  std::vector<uint32_t> runnable_;
  uint32_t oldest_pass_ = 0;
};

CheckedRun::CheckedRun(const isa::Program& program,
                       absl::Span<const ops::HostBuffer> buffers,
                       const RunOptions& options, uint64_t seed)
    : program_(program),
      buffers_(buffers),
      options_(options),
      random_(seed),
      stickiness_(std::array<uint32_t, 3>{0, 8, 15}[seed % 3]),
      context_(buffers),
      places_(program.num_workers()),
      clocks_(program.num_workers(), VectorClock(program.num_workers(), 0)),
      counters_(program.counters.size()),
      signals_per_pass_(program.counters.size(), 0),
      histories_(program.buffers.size()) {
  context_.on_token = options.on_token;
  if (context_.on_token == nullptr) context_.on_token = [](int64_t, int32_t) {};
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      if (instruction.signal != isa::kNoCounter) {
        ++signals_per_pass_[instruction.signal];
      }
    }
  }
  for (size_t id = 0; id < program.buffers.size(); ++id) {
    const isa::Buffer& buffer = program.buffers[id];
    if (buffer.kind == isa::BufferKind::kActivation ||
        buffer.kind == isa::BufferKind::kState) {
      histories_[id].emplace(isa::NumElements(buffer), program.num_workers());
    }
  }
}

// Steps are numbered pass by pass, queue by queue.
uint32_t CheckedRun::PassOf(const Actor& actor) const {
  return static_cast<uint32_t>((actor.step - 1) /
                               program_.queues[actor.worker].size());
}

std::string CheckedRun::Describe(const Actor& actor, bool with_pass) const {
  const std::vector<isa::Instruction>& queue = program_.queues[actor.worker];
  const uint32_t pc = static_cast<uint32_t>((actor.step - 1) % queue.size());
  std::string text = absl::StrFormat(
      "worker %d pc %d (%s)", actor.worker, pc,
      isa::LabelAndOpcode(program_, actor.worker, pc, queue[pc].opcode));
  if (with_pass) absl::StrAppend(&text, " in pass ", PassOf(actor));
  return text;
}

bool CheckedRun::HeldByWait(uint32_t w) const {
  const isa::Instruction& instruction = program_.queues[w][places_[w].pc];
  for (int i = 0; i < instruction.num_waits; ++i) {
    if (counters_[instruction.waits[i].counter].total() <
        WaitTarget(program_, instruction, i, places_[w].pass)) {
      return true;
    }
  }
  return false;
}

std::optional<uint32_t> CheckedRun::Choose() {
  if (!places_[last_].left && random_() % 16 < stickiness_ &&
      !HeldByWait(last_)) {
    return last_;
  }
  runnable_.clear();
  for (uint32_t w = 0; w < places_.size(); ++w) {
    if (!places_[w].left && !HeldByWait(w)) runnable_.push_back(w);
  }
  if (runnable_.empty()) return std::nullopt;
  return runnable_[random_() % runnable_.size()];
}

// Takes over what the instruction's waits order before it.
absl::Status CheckedRun::JoinWaits(uint32_t w) {
  const WorkerPlace& place = places_[w];
  const isa::Instruction& instruction = program_.queues[w][place.pc];
  for (int i = 0; i < instruction.num_waits; ++i) {
    const isa::Wait& wait = instruction.waits[i];
    const isa::Counter& counter = program_.counters[wait.counter];
    const bool lagged = instruction.WaitIsLagged(i);
    if (lagged && place.pass == 0) continue;
    // A count short of all producers, or of more than those declared, doesn't
    // say who has finished, so it orders nothing.
    if (wait.threshold != counter.producers ||
        signals_per_pass_[wait.counter] != counter.producers) {
      continue;
    }
    const uint32_t pass = place.pass - (lagged ? 1 : 0);
    const CounterHistory::Tally* tally = counters_[wait.counter].Find(pass);
    const uint64_t signals = tally == nullptr ? 0 : tally->signals;
    if (signals < counter.producers) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "counter %s ran ahead: worker %d pc %d (%s) in pass %d goes on at %d "
          "with %d of the %d signals of pass %d, the others being of later "
          "passes",
          counter.name, w, place.pc,
          isa::LabelAndOpcode(program_, w, place.pc, instruction.opcode),
          place.pass, counters_[wait.counter].total(), signals,
          counter.producers, pass));
    }
    // A counter without producers orders nothing.
    if (tally != nullptr) Join(tally->clock, clocks_[w]);
  }
  return absl::OkStatus();
}

absl::Status CheckedRun::RaceError(const isa::Access& access,
                                   const Actor& actor,
                                   const AccessHistory::Race& race) const {
  const bool writes = access.kind != isa::AccessKind::kRead;
  const bool with_pass = PassOf(actor) != PassOf(race.other);
  return absl::FailedPreconditionError(absl::StrFormat(
      "race on %s: %s by %s and %s by %s, no order between them",
      Region(access.buffer, race.begin, race.end),
      race.other_writes ? "written" : "read", Describe(race.other, with_pass),
      writes ? "written" : "read", Describe(actor, with_pass)));
}

// An activation's elements are read in the pass that wrote them.
absl::Status CheckedRun::CheckWritten(const isa::Access& access,
                                      const Actor& actor) {
  const uint32_t pass = PassOf(actor);
  for (const AccessHistory::Written& written :
       histories_[access.buffer]->Writers(access.begin,
                                          access.begin + access.count)) {
    if (written.writer.step != 0 && PassOf(written.writer) == pass) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("%s read by %s is not written in pass %d: %s",
                        Region(access.buffer, written.begin, written.end),
                        Describe(actor, false), pass,
                        written.writer.step == 0
                            ? "nothing ever wrote it"
                            : absl::StrCat("last written by ",
                                           Describe(written.writer, true))));
  }
  return absl::OkStatus();
}

absl::Status CheckedRun::CheckNotWritten(const isa::Access& access,
                                         const Actor& actor) {
  for (const AccessHistory::Written& written :
       histories_[access.buffer]->Writers(access.begin,
                                          access.begin + access.count)) {
    if (written.writer.step == 0 || PassOf(written.writer) != PassOf(actor)) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s is written twice in pass %d: by %s and by %s",
        Region(access.buffer, written.begin, written.end), PassOf(actor),
        Describe(written.writer, false), Describe(actor, false)));
  }
  return absl::OkStatus();
}

absl::Status CheckedRun::CheckAccess(const isa::Access& access,
                                     const Actor& actor) {
  AccessHistory& history = *histories_[access.buffer];
  const uint64_t end = access.begin + access.count;
  const VectorClock& clock = clocks_[actor.worker];
  const bool activation =
      program_.buffers[access.buffer].kind == isa::BufferKind::kActivation;
  const bool reads = access.kind == isa::AccessKind::kRead ||
                     access.kind == isa::AccessKind::kUpdate;
  if (access.kind == isa::AccessKind::kRead) {
    const auto race = history.Read(access.begin, end, actor, clock);
    if (race.has_value()) return RaceError(access, actor, *race);
  }
  // Before the write is recorded, but only if it doesn't race.
  absl::Status coverage = absl::OkStatus();
  if (activation) {
    coverage =
        reads ? CheckWritten(access, actor) : CheckNotWritten(access, actor);
  }
  if (access.kind != isa::AccessKind::kRead) {
    const auto race = history.Write(access.begin, end, actor, clock);
    if (race.has_value()) return RaceError(access, actor, *race);
  }
  return coverage;
}

// Reads come before writes: an instruction may write what it has read.
absl::Status CheckedRun::CheckAccesses(uint32_t w) {
  const WorkerPlace& place = places_[w];
  accesses_.clear();
  isa::AppendAccesses(program_, program_.queues[w][place.pc], accesses_);
  const Actor actor = {w, clocks_[w][w]};
  const auto position =
      static_cast<uint64_t>(options_.first_position + place.pass);
  for (const bool writes : {false, true}) {
    for (isa::Access access : accesses_) {
      if (!histories_[access.buffer].has_value() || access.count == 0) continue;
      if (!access.HappensAt(position)) continue;
      if (access.kind == isa::AccessKind::kWeight) {
        access.kind = isa::AccessKind::kRead;
      }
      if ((access.kind != isa::AccessKind::kRead) != writes) continue;
      const absl::Status status = CheckAccess(access, actor);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

void CheckedRun::ForgetOldPasses() {
  uint32_t oldest = static_cast<uint32_t>(options_.max_passes);
  for (const WorkerPlace& place : places_) {
    if (!place.left) oldest = std::min(oldest, place.pass);
  }
  if (oldest == oldest_pass_) return;
  oldest_pass_ = oldest;
  for (CounterHistory& counter : counters_) {
    // Lagged waits look one pass back.
    counter.ForgetBefore(oldest == 0 ? 0 : oldest - 1);
  }
}

absl::Status CheckedRun::Step(uint32_t w) {
  WorkerPlace& place = places_[w];
  const isa::Instruction& instruction = program_.queues[w][place.pc];
  const absl::Status joined = JoinWaits(w);
  if (!joined.ok()) return joined;
  clocks_[w][w] =
      uint64_t{place.pass} * program_.queues[w].size() + place.pc + 1;
  const absl::Status checked = CheckAccesses(w);
  if (!checked.ok()) return checked;
  context_.pass = place.pass;
  context_.position = options_.first_position + place.pass;
  const absl::Status status = ops::RunInstruction(instruction, context_);
  if (!status.ok()) return AtPlace(program_, w, place, status);
  if (instruction.signal != isa::kNoCounter) {
    counters_[instruction.signal].Signal(place.pass, clocks_[w]);
  }
  const uint32_t pass = place.pass;
  MovePast(instruction, buffers_, static_cast<uint32_t>(options_.max_passes),
           place);
  if (place.pass != pass) ForgetOldPasses();
  return absl::OkStatus();
}

absl::Status CheckedRun::Deadlock() const {
  constexpr size_t kMaxNamed = 16;
  std::vector<uint64_t> counts;
  for (const CounterHistory& counter : counters_) {
    counts.push_back(counter.total());
  }
  const std::vector<Fault> stuck = StuckWorkers(program_, places_, counts);
  std::vector<std::string> lines;
  for (size_t i = 0; i < std::min(stuck.size(), kMaxNamed); ++i) {
    lines.emplace_back(FaultStatus(program_, stuck[i]).message());
  }
  if (stuck.size() > kMaxNamed) {
    lines.push_back(absl::StrCat("and ", stuck.size() - kMaxNamed, " more"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("deadlock: ", absl::StrJoin(lines, "; ")));
}

absl::StatusOr<LaunchEnd> CheckedRun::Run() {
  while (std::any_of(places_.begin(), places_.end(),
                     [](const WorkerPlace& place) { return !place.left; })) {
    const std::optional<uint32_t> w = Choose();
    if (!w.has_value()) return Deadlock();
    last_ = *w;
    const absl::Status status = Step(*w);
    if (!status.ok()) return status;
  }
  LaunchEnd end = {.passes = options_.max_passes,
                   .stopped = places_[0].stopped};
  for (const WorkerPlace& place : places_) {
    end.passes = std::min<int64_t>(end.passes, place.pass);
  }
  return end;
}

}  // namespace

absl::StatusOr<LaunchEnd> RunChecked(const isa::Program& program,
                                     absl::Span<const ops::HostBuffer> buffers,
                                     const RunOptions& options, uint64_t seed) {
  return CheckedRun(program, buffers, options, seed).Run();
}

}  // namespace mkvm::vm
