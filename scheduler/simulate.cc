#include "scheduler/simulate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "isa/traffic.h"
#include "scheduler/completion.h"
#include "scheduler/costs.h"
#include "scheduler/weight_stream.h"

namespace mkvm::scheduler {
namespace {

// What doesn't change from pass to pass of one instruction.
struct Step {
  const isa::Instruction* instruction;
  const OpCost* cost;
  uint64_t streamed_bytes;
  uint32_t stages = 0;               // copied by the loader
  uint32_t slabs = 0;                // of those stages
  uint32_t polled = isa::kNoBuffer;  // the first buffer polled
  bool reads_activations = false;
  bool is_attention = false;
};

// A counter in one pass.
struct Round {
  Completion tagged;   // the producers' last writes
  Completion counted;  // their signals
};

// What a slot of the worker knows before the compute side comes to it.
struct Slot {
  double fetched = 0;
  double load_begin = -1, load_end = -1;  // -1: no copy
};

struct Worker {
  Worker(uint32_t stages, uint32_t slots) : ring(stages), slots(slots) {}

  enum class State : uint8_t { kVisit, kBody, kStage, kDone, kLeft };
  State state = State::kVisit;
  bool parked = false;
  uint32_t pass = 0, pc = 0;
  uint64_t sequence = 0;  // instructions left behind
  uint32_t stage = 0;     // of this instruction
  double stage_us = 0, slab_us = 0, tail_us = 0;
  double visited = 0, stage_wait = 0;
  trace::Event event;
  // The loader, ahead of the above.
  uint32_t load_pass = 0, load_pc = 0, load_stage = 0;
  uint64_t load_sequence = 0;
  StageRing ring;
  std::vector<Slot> slots;

  Slot& SlotOf(uint64_t number) { return slots[number % slots.size()]; }
};

trace::Nanos ToNanos(double us) { return std::llround(us * 1e3); }

// In [0, 1), the same for the same place and pass.
double LevelOf(uint32_t worker, uint32_t pc, uint32_t pass) {
  uint64_t x = (uint64_t{worker} << 40) ^ (uint64_t{pass} << 24) ^ pc;
  x += 0x9e3779b97f4a7c15u;  // splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  return static_cast<double>(x >> 11) * 0x1p-53;
}

class Simulation {
 public:
  Simulation(const isa::Program& program, const Target& target,
             absl::Span<const uint64_t> positions,
             std::vector<trace::Event>* events_or_null)
      : program_(program),
        target_(target),
        positions_(positions),
        events_(events_or_null),
        memory_(target.stream_gb_per_s),
        counter_hop_us_(target.counter_hop_us.value_or(target.hop_us)),
        signals_(program.counters.size(), 0),
        rounds_(program.counters.size() * positions.size()),
        waiting_(program.counters.size()),
        pass_ends_(positions.size(), 0) {
    for (const std::vector<isa::Instruction>& queue : program.queues) {
      steps_.emplace_back();
      for (const isa::Instruction& instruction : queue) {
        steps_.back().push_back(MakeStep(instruction));
      }
      workers_.emplace_back(program.target.stages, target.slots);
    }
  }

  // False when waits form a cycle.
  bool Run() {
    for (uint32_t w = 0; w < workers_.size(); ++w) {
      if (steps_[w].empty()) {
        workers_[w].state = Worker::State::kLeft;
      } else {
        Schedule(w, target_.instruction_us);
        Pump(w, 0);
      }
    }
    while (!agenda_.empty()) {
      const auto [now, w] = agenda_.top();
      agenda_.pop();
      Advance(w, now);
    }
    return std::all_of(workers_.begin(), workers_.end(), [](const Worker& w) {
      return w.state == Worker::State::kLeft;
    });
  }

  const std::vector<double>& pass_ends() const { return pass_ends_; }

 private:
  using Appointment = std::pair<double, uint32_t>;  // time, worker

  Step MakeStep(const isa::Instruction& instruction);
  void Schedule(uint32_t w, double time) { agenda_.emplace(time, w); }
  void Advance(uint32_t w, double now);
  void Pump(uint32_t w, double now);
  bool Park(uint32_t w);
  double ReadyTime(uint32_t w);
  void Visit(uint32_t w, double now);
  void BeginBody(uint32_t w, double now);
  void BeginStage(uint32_t w, double now);
  void EndStage(uint32_t w, double now);
  void Finish(uint32_t w, double now);
  void Signal(uint32_t counter, uint32_t w, double done, double signaled);

  const Step& StepOf(uint32_t w) const { return steps_[w][workers_[w].pc]; }
  // The round of the counter that the wait is for; nullptr when it is for none.
  const Round* RoundOf(const isa::Instruction& instruction, int wait,
                       uint32_t pass) const {
    const uint32_t lag = instruction.WaitIsLagged(wait) ? 1 : 0;
    if (pass < lag) return nullptr;
    return &rounds_[size_t{instruction.waits[wait].counter} *
                        positions_.size() +
                    pass - lag];
  }

  const isa::Program& program_;
  const Target& target_;
  const absl::Span<const uint64_t> positions_;  // of the passes
  std::vector<trace::Event>* const events_;
  Memory memory_;
  const double counter_hop_us_;
  std::vector<std::vector<Step>> steps_;
  std::vector<Worker> workers_;
  std::vector<uint64_t> signals_;               // of each counter, so far
  std::vector<Round> rounds_;                   // counter * passes + pass
  std::vector<std::vector<uint32_t>> waiting_;  // workers, by counter
  std::vector<double> pass_ends_;
  std::priority_queue<Appointment, std::vector<Appointment>,
                      std::greater<Appointment>>
      agenda_;
};

Step Simulation::MakeStep(const isa::Instruction& instruction) {
  Step step;
  step.instruction = &instruction;
  step.cost = &FindCost(target_.costs, ClassOf(instruction));
  step.streamed_bytes = isa::StreamedBytes(program_.buffers, instruction);
  step.is_attention =
      instruction.opcode == static_cast<uint16_t>(isa::Opcode::kAttention);
  if (target_.panels && step.streamed_bytes > 0) {
    const PerUnit<uint32_t> work = WorkOf(instruction, 0);
    step.stages = work[static_cast<size_t>(Unit::kStages)];
    step.slabs = work[static_cast<size_t>(Unit::kSlabs)];
  }
  step.reads_activations = ReadsActivations(program_, instruction);
  for (uint32_t i = 0; i < isa::kOperandWords; ++i) {
    if (instruction.OperandIsPolled(static_cast<int>(i))) {
      step.polled = instruction.operands[i];
      break;
    }
  }
  return step;
}

void Simulation::Advance(uint32_t w, double now) {
  switch (workers_[w].state) {
    case Worker::State::kVisit:
      return Visit(w, now);
    case Worker::State::kBody:
      return BeginBody(w, now);
    case Worker::State::kStage:
      return EndStage(w, now);
    case Worker::State::kDone:
      return Finish(w, now);
    case Worker::State::kLeft:
      return;
  }
}

// The loader issues what the ring has room for, as far as slots are filled.
void Simulation::Pump(uint32_t w, double now) {
  Worker& worker = workers_[w];
  while (worker.load_pass < positions_.size() &&
         worker.load_sequence < worker.sequence + worker.slots.size()) {
    const Step& step = steps_[w][worker.load_pc];
    Slot& slot = worker.SlotOf(worker.load_sequence);
    const double bytes =
        step.stages == 0
            ? 0
            : static_cast<double>(step.streamed_bytes) / step.stages;
    for (; worker.load_stage < step.stages; ++worker.load_stage) {
      if (!worker.ring.HasRoom()) return;
      worker.ring.Issue(memory_.Serve(now, bytes) + target_.copy_us);
      slot.load_end = now;
      if (slot.load_begin < 0) slot.load_begin = now;
    }
    worker.load_stage = 0;
    ++worker.load_sequence;
    if (++worker.load_pc == steps_[w].size()) {
      worker.load_pc = 0;
      ++worker.load_pass;
    }
  }
}

// Whether a wait holds the worker; if so, it is told when that changes.
bool Simulation::Park(uint32_t w) {
  const Worker& worker = workers_[w];
  const isa::Instruction& instruction = *StepOf(w).instruction;
  for (int i = 0; i < instruction.num_waits; ++i) {
    const uint32_t lag = instruction.WaitIsLagged(i) ? 1 : 0;
    if (worker.pass < lag) continue;
    const uint32_t counter = instruction.waits[i].counter;
    const uint64_t producers = program_.counters[counter].producers;
    if (signals_[counter] < (worker.pass - lag + 1) * producers) {
      waiting_[counter].push_back(w);
      return true;
    }
  }
  return false;
}

void Simulation::Visit(uint32_t w, double now) {
  Worker& worker = workers_[w];
  if (!worker.parked) {
    Pump(w, now);
    worker.visited = now;
    worker.stage_wait = 0;
    worker.event = {};
    worker.event.worker = w;
    worker.event.pass = worker.pass;
    worker.event.pc = worker.pc;
    worker.event.visited = ToNanos(now);
  }
  worker.parked = Park(w);
  if (worker.parked) return;
  worker.state = Worker::State::kBody;
  Schedule(w, std::max(now, ReadyTime(w)));
}

// When the operands are there, all waits being over.
double Simulation::ReadyTime(uint32_t w) {
  Worker& worker = workers_[w];
  const Step& step = StepOf(w);
  double waited = worker.visited;
  double data = 0;
  double last = 0;
  for (int i = 0; i < step.instruction->num_waits; ++i) {
    const Round* round = RoundOf(*step.instruction, i, worker.pass);
    if (round == nullptr) continue;
    if (step.instruction->WaitIsTagged(i)) {
      data = std::max(data, round->tagged.SeenBy(w, target_.hop_us));
      continue;
    }
    const double seen = round->counted.SeenBy(w, counter_hop_us_);
    waited = std::max({waited, worker.visited + target_.load_us, seen});
    if (worker.event.last_wait < 0 || seen > last) {
      worker.event.last_wait = static_cast<int8_t>(i);
      last = seen;
    }
  }
  worker.event.waited = ToNanos(waited);
  const double load_us =
      step.reads_activations ? step.cost->load_us.value_or(target_.load_us) : 0;
  const double ready = std::max(waited + load_us, data);
  if (step.polled != isa::kNoBuffer) {
    worker.event.poll_begin = ToNanos(ready - load_us);
    worker.event.last_buffer = step.polled;
  }
  worker.event.ready = ToNanos(ready);
  return ready;
}

void Simulation::BeginBody(uint32_t w, double now) {
  Worker& worker = workers_[w];
  const Step& step = StepOf(w);
  const uint64_t position = positions_[worker.pass];
  const PerUnit<uint32_t> work = WorkOf(*step.instruction, position);
  const double spread =
      SpreadAt(*step.cost, LevelOf(w, worker.pc, worker.pass));
  double body_us = WorkUs(*step.cost, work) * (1 + spread);
  worker.event.bytes = step.streamed_bytes;
  if (step.stages > 0) {
    worker.stage_us = step.cost->unit_us[static_cast<size_t>(Unit::kStages)];
    worker.slab_us = step.cost->unit_us[static_cast<size_t>(Unit::kSlabs)];
    worker.tail_us = std::max(0.0, body_us - worker.stage_us * step.stages -
                                       worker.slab_us * step.slabs);
    worker.stage = 0;
    worker.state = Worker::State::kStage;
    return BeginStage(w, now);
  }
  if (step.cost->IsFree()) {
    // Nothing is known but the bytes, which are read in the body.
    body_us = static_cast<double>(step.streamed_bytes) * workers_.size() /
              (target_.stream_gb_per_s * 1e3);
  }
  double done = now + body_us;
  if (step.is_attention) {
    const uint64_t kv_bytes = isa::KvBytes(*step.instruction, position);
    worker.event.bytes += kv_bytes;
    done = std::max(done, memory_.Serve(now, static_cast<double>(kv_bytes)));
  }
  worker.state = Worker::State::kDone;
  Schedule(w, done);
}

void Simulation::BeginStage(uint32_t w, double now) {
  Worker& worker = workers_[w];
  const Step& step = StepOf(w);
  const auto slab_of = [&](uint64_t stage) {
    return stage * step.slabs / step.stages;
  };
  const bool new_slab =
      worker.stage == 0 || slab_of(worker.stage) != slab_of(worker.stage - 1);
  const double wanted = now + (new_slab ? worker.slab_us : 0);
  const double arrival = worker.ring.Oldest();
  if (arrival > wanted) {
    worker.stage_wait += arrival - wanted;
    worker.event.stage_ready = ToNanos(arrival);
  }
  Schedule(w, std::max(wanted, arrival) + worker.stage_us);
}

void Simulation::EndStage(uint32_t w, double now) {
  Worker& worker = workers_[w];
  worker.ring.Free();
  Pump(w, now);
  if (++worker.stage < StepOf(w).stages) return BeginStage(w, now);
  worker.state = Worker::State::kDone;
  Schedule(w, now + worker.tail_us);
}

void Simulation::Finish(uint32_t w, double now) {
  Worker& worker = workers_[w];
  const isa::Instruction& instruction = *StepOf(w).instruction;
  const bool releases = instruction.signal != isa::kNoCounter &&
                        (instruction.flags & isa::kFlagRelease) != 0;
  const double signaled =
      now + target_.signal_us + (releases ? target_.release_us : 0);
  pass_ends_[worker.pass] = std::max(pass_ends_[worker.pass], now);
  Slot& slot = worker.SlotOf(worker.sequence);
  if (events_ != nullptr) {
    trace::Event& event = worker.event;
    event.fetched = ToNanos(slot.fetched);
    if (slot.load_begin >= 0) {
      event.load_begin = ToNanos(slot.load_begin);
      event.load_end = ToNanos(slot.load_end);
    }
    event.stage_wait = ToNanos(worker.stage_wait);
    event.done = ToNanos(now);
    event.signaled = ToNanos(signaled);
    events_->push_back(event);
  }
  slot = {.fetched = signaled};
  ++worker.sequence;
  if (++worker.pc == steps_[w].size()) {
    worker.pc = 0;
    ++worker.pass;
  }
  worker.state = Worker::State::kLeft;
  if (worker.pass < positions_.size()) {
    worker.state = Worker::State::kVisit;
    Schedule(w, std::max(signaled, worker.SlotOf(worker.sequence).fetched) +
                    target_.instruction_us);
  }
  if (instruction.signal != isa::kNoCounter) {
    Signal(instruction.signal, w, now, signaled);
  }
}

// Ticks the counter; if that completes a round, those who wait look again.
void Simulation::Signal(uint32_t counter, uint32_t w, double done,
                        double signaled) {
  const uint64_t producers = program_.counters[counter].producers;
  const uint64_t round = producers == 0 ? 0 : signals_[counter] / producers;
  ++signals_[counter];
  if (round >= positions_.size()) return;
  Round& r = rounds_[size_t{counter} * positions_.size() + round];
  r.tagged.Publish(done, w);
  r.counted.Publish(signaled, w);
  if (signals_[counter] % std::max<uint64_t>(producers, 1) != 0) return;
  for (const uint32_t waiter : std::exchange(waiting_[counter], {})) {
    Visit(waiter, done);
  }
}

}  // namespace

std::vector<double> SimulatePassEnds(const isa::Program& program,
                                     const Target& target,
                                     absl::Span<const uint64_t> positions) {
  Simulation simulation(program, target, positions, nullptr);
  if (!simulation.Run()) return {};
  return simulation.pass_ends();
}

absl::StatusOr<trace::Trace> Simulate(const isa::Program& program,
                                      const Target& target,
                                      const SimulateOptions& options) {
  if (options.passes == 0) {
    return absl::InvalidArgumentError("simulate: passes is 0");
  }
  std::vector<uint64_t> positions(options.passes);
  for (uint32_t p = 0; p < options.passes; ++p) {
    positions[p] = options.first_position + p;
  }
  trace::Trace trace;
  Simulation simulation(program, target, positions, &trace.events);
  if (!simulation.Run()) {
    return absl::InvalidArgumentError(
        "simulate: the program's waits form a cycle");
  }
  trace.program = program;
  trace.program.labels.resize(program.num_workers());
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    trace.program.labels[w].resize(program.queues[w].size());
  }
  trace.source = trace::Source::kPredicted;
  trace.machine =
      absl::StrFormat("target %s (%d workers, %d stages)", target.name,
                      program.num_workers(), program.target.stages);
  trace.first_position = static_cast<int64_t>(options.first_position);
  trace.resolution_ns = 1;
  trace.stream_gb_per_s = target.stream_gb_per_s;
  trace::Normalize(trace);
  return trace;
}

}  // namespace mkvm::scheduler
