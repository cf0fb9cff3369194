#include "scheduler/simulation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "isa/traffic.h"

namespace mkvm::scheduler {
namespace {

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

}  // namespace

Simulation::Simulation(const isa::Program& program, const Target& target,
                       absl::Span<const uint64_t> positions,
                       std::vector<trace::Event>* events_or_null)
    : program_(program),
      target_(target),
      positions_(positions),
      events_(events_or_null),
      memory_(target.stream_gb_per_s),
      counter_hop_us_(target.counter_hop_us.value_or(target.hop_us)),
      rounds_(program.counters.size() * positions.size()),
      waiting_(program.counters.size()),
      pass_ends_(positions.size(), 0) {
  for (const uint64_t position : positions) {
    kv_is_cold_.push_back(KvIsCold(target, program, position));
  }
  const Writers writers(program);
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    steps_.emplace_back();
    for (const isa::Instruction& instruction : queue) {
      steps_.back().push_back(MakeStep(instruction, writers));
    }
    workers_.emplace_back(program.target.stages, target.slots);
  }
  OpenRounds();
}

// Who is to come, by counter and pass.
void Simulation::OpenRounds() {
  for (const std::vector<Step>& queue : steps_) {
    for (const Step& step : queue) {
      const uint32_t counter = step.instruction->signal;
      if (counter == isa::kNoCounter) continue;
      for (uint32_t pass = 0; pass < positions_.size(); ++pass) {
        Round& round = RoundAt(counter, pass);
        ++round.counted_missing;
        if (!step.active.Contains(positions_[pass])) continue;
        ++round.tagged_missing;
        round.is_written = true;
      }
    }
  }
}

bool Simulation::Run() {
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

Simulation::Step Simulation::MakeStep(const isa::Instruction& instruction,
                                      const Writers& writers) {
  Step step;
  step.instruction = &instruction;
  step.cost = &FindCost(target_.costs, ClassOf(instruction));
  step.streamed_bytes = isa::StreamedBytes(program_.buffers, instruction);
  step.is_attention =
      instruction.opcode == static_cast<uint16_t>(isa::Opcode::kAttention);
  if (target_.panels && step.streamed_bytes > 0) {
    step.stages = WorkOf(instruction, {})[static_cast<size_t>(Unit::kStages)];
  }
  step.reads_activations = ReadsActivations(program_, instruction);
  for (uint32_t i = 0; i < isa::kOperandWords; ++i) {
    if (instruction.OperandIsPolled(static_cast<int>(i))) {
      step.polled = instruction.operands[i];
      break;
    }
  }
  step.active = ActivePositions(program_, instruction);
  for (int i = 0; i < instruction.num_waits; ++i) {
    if (!instruction.WaitIsTagged(i)) continue;
    step.stand_ins[i] =
        writers.StandInsOf(instruction, instruction.waits[i].counter);
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

template <typename See>
void Simulation::ForEachRound(uint32_t w, int wait, See see) {
  const Step& step = StepOf(w);
  const uint32_t lag = step.instruction->WaitIsLagged(wait) ? 1 : 0;
  if (workers_[w].pass < lag) return;
  const uint32_t pass = workers_[w].pass - lag;
  const uint32_t counter = step.instruction->waits[wait].counter;
  const Round& round = RoundAt(counter, pass);
  if (!step.instruction->WaitIsTagged(wait)) return see(counter, round);
  if (IsIdle(w)) return;
  if (round.is_written) return see(counter, round);
  for (const Writers::StandIn& other : step.stand_ins[wait]) {
    if (other.positions.Contains(positions_[pass])) {
      see(other.counter, RoundAt(other.counter, pass));
    }
  }
}

// Whether a wait holds the worker; if so, it is told when that changes.
bool Simulation::Park(uint32_t w) {
  const isa::Instruction& instruction = *StepOf(w).instruction;
  uint32_t missing = isa::kNoCounter;
  for (int i = 0; i < instruction.num_waits; ++i) {
    const bool tagged = instruction.WaitIsTagged(i);
    ForEachRound(w, i, [&](uint32_t counter, const Round& round) {
      if ((tagged ? round.tagged_missing : round.counted_missing) > 0) {
        missing = counter;
      }
    });
  }
  if (missing == isa::kNoCounter) return false;
  waiting_[missing].push_back(w);
  return true;
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
    const bool tagged = step.instruction->WaitIsTagged(i);
    ForEachRound(w, i, [&](uint32_t, const Round& round) {
      if (tagged) {
        data = std::max(data, round.tagged.SeenBy(w, target_.hop_us));
        return;
      }
      const double seen = round.counted.SeenBy(w, counter_hop_us_);
      waited = std::max({waited, worker.visited + target_.load_us, seen});
      if (worker.event.last_wait < 0 || seen > last) {
        worker.event.last_wait = static_cast<int8_t>(i);
        last = seen;
      }
    });
  }
  worker.event.waited = ToNanos(waited);
  const bool reads = step.reads_activations && !IsIdle(w);
  const double load_us =
      reads ? step.cost->load_us.value_or(target_.load_us) : 0;
  const double ready = std::max(waited + load_us, data);
  if (step.polled != isa::kNoBuffer && reads) {
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
  if (IsIdle(w)) {
    worker.state = Worker::State::kDone;
    return Schedule(w, now);
  }
  const PerUnit<uint32_t> work =
      WorkOf(*step.instruction, {.position = position,
                                 .panels = target_.panels,
                                 .kv_is_cold = kv_is_cold_[worker.pass]});
  const double spread =
      SpreadAt(*step.cost, LevelOf(w, worker.pc, worker.pass));
  double body_us = WorkUs(*step.cost, work) * (1 + spread);
  worker.event.bytes = step.streamed_bytes;
  if (step.stages > 0) {
    // Of what comes once, the last group's part is after the last stage; all
    // else is taken to be spread evenly over the stages.
    const uint32_t groups = work[static_cast<size_t>(Unit::kGroups)] + 1;
    worker.tail_us = step.cost->fixed_us * (1 + spread) / groups;
    worker.stage_us = (body_us - worker.tail_us) / step.stages;
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
  const double arrival = worker.ring.Oldest();
  if (arrival > now) {
    worker.stage_wait += arrival - now;
    worker.event.stage_ready = ToNanos(arrival);
  }
  Schedule(w, std::max(now, arrival) + worker.stage_us);
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
  const uint32_t pass = worker.pass, pc = worker.pc;
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
    Signal(w, pass, pc, now, signaled);
  }
}

// Tells the counter's round; if that completes it, those who wait look again.
void Simulation::Signal(uint32_t w, uint32_t pass, uint32_t pc, double done,
                        double signaled) {
  const Step& step = steps_[w][pc];
  const uint32_t counter = step.instruction->signal;
  Round& round = RoundAt(counter, pass);
  round.counted.Publish(signaled, w);
  bool complete = --round.counted_missing == 0;
  if (step.active.Contains(positions_[pass])) {
    round.tagged.Publish(done, w);
    complete |= --round.tagged_missing == 0;
  }
  if (!complete) return;
  for (const uint32_t waiter : std::exchange(waiting_[counter], {})) {
    Visit(waiter, done);
  }
}

}  // namespace mkvm::scheduler
