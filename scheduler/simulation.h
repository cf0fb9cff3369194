// The state of a program that runs against a cost model, and its events in the
// order of time. Use scheduler/simulate.h.
#ifndef MKVM_SCHEDULER_SIMULATION_H_
#define MKVM_SCHEDULER_SIMULATION_H_

#include <array>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "isa/program.h"
#include "scheduler/activity.h"
#include "scheduler/completion.h"
#include "scheduler/costs.h"
#include "scheduler/target.h"
#include "scheduler/weight_stream.h"
#include "trace/trace.h"

namespace mkvm::scheduler {

class Simulation {
 public:
  // The arguments outlive this; with events_or_null every event is appended to
  // it. REQUIRES: as of Simulate.
  Simulation(const isa::Program& program, const Target& target,
             absl::Span<const uint64_t> positions,
             std::vector<trace::Event>* events_or_null);

  // False when waits form a cycle.
  bool Run();
  // Microseconds, by pass.
  const std::vector<double>& pass_ends() const { return pass_ends_; }

 private:
  // What doesn't change from pass to pass of one instruction.
  struct Step {
    const isa::Instruction* instruction;
    const OpCost* cost;
    uint64_t streamed_bytes;
    uint32_t stages = 0;               // copied by the loader
    uint32_t polled = isa::kNoBuffer;  // the first buffer polled
    bool reads_activations = false;
    bool is_attention = false;
    Positions active;  // at others it is idle
    // Of tagged waits, whose data they are for where all producers are idle.
    std::array<std::vector<Writers::StandIn>, isa::kMaxWaits> stand_ins;
  };

  // A counter in one pass.
  struct Round {
    Completion tagged;   // the producers' last writes
    Completion counted;  // their signals
    // Producers of either that have not come yet. Idle ones write nothing.
    uint32_t tagged_missing = 0, counted_missing = 0;
    bool is_written = false;  // by any producer
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
    double stage_us = 0, tail_us = 0;
    double visited = 0, stage_wait = 0;
    trace::Event event;
    // The loader, ahead of the above.
    uint32_t load_pass = 0, load_pc = 0, load_stage = 0;
    uint64_t load_sequence = 0;
    StageRing ring;
    std::vector<Slot> slots;

    Slot& SlotOf(uint64_t number) { return slots[number % slots.size()]; }
  };

  using Appointment = std::pair<double, uint32_t>;  // time, worker

  Step MakeStep(const isa::Instruction& instruction, const Writers& writers);
  void OpenRounds();
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
  // By instruction `pc` of the worker in that pass.
  void Signal(uint32_t w, uint32_t pass, uint32_t pc, double done,
              double signaled);

  const Step& StepOf(uint32_t w) const { return steps_[w][workers_[w].pc]; }
  bool IsIdle(uint32_t w) const {
    return !StepOf(w).active.Contains(positions_[workers_[w].pass]);
  }
  Round& RoundAt(uint32_t counter, uint32_t pass) {
    return rounds_[size_t{counter} * positions_.size() + pass];
  }
  // Calls see(counter, round) for what the worker's wait is for: nothing of a
  // lagged wait in the first pass, nor of a tagged one if it is idle.
  template <typename See>
  void ForEachRound(uint32_t w, int wait, See see);

  const isa::Program& program_;
  const Target& target_;
  const absl::Span<const uint64_t> positions_;  // of the passes
  std::vector<bool> kv_is_cold_;                // by pass
  std::vector<trace::Event>* const events_;
  Memory memory_;
  const double counter_hop_us_;
  std::vector<std::vector<Step>> steps_;
  std::vector<Worker> workers_;
  std::vector<Round> rounds_;                   // counter * passes + pass
  std::vector<std::vector<uint32_t>> waiting_;  // workers, by counter
  std::vector<double> pass_ends_;
  std::priority_queue<Appointment, std::vector<Appointment>,
                      std::greater<Appointment>>
      agenda_;
};

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_SIMULATION_H_
