// The happens-before relations of a program, by running two passes of it in the
// abstract: each worker goes through its queue twice and stops wherever a wait
// or a poll is not yet satisfied. docs/verifier.md says why two passes stand
// for all, and what each relation means on a machine.
#ifndef MKVM_ISA_HAPPENS_BEFORE_H_
#define MKVM_ISA_HAPPENS_BEFORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "isa/program.h"
#include "isa/verifier_dataflow.h"

namespace mkvm::isa {

enum class Relation : uint8_t {
  // Every wait taken as a counter wait for all producers: the order on a
  // machine that ignores tags, and the order that the program declares.
  kDeclared = 0,
  // What holds whichever way tagged waits are carried out: queue order, waits
  // that are not tagged, and polled data themselves. The earlier instruction's
  // reads are done before the later one writes anything.
  kOrdered = 1,
  // As kOrdered, and the earlier instruction's writes can be read without
  // polling: queue order, and waits that are not tagged for signals that are
  // releases.
  kVisible = 2,
};
inline constexpr size_t kNumRelations = 3;

// A wait, or a polled region, that an instruction can't get past.
struct Obstacle {
  bool is_counter = true;
  uint32_t index = 0;  // counter, or Dataflow::regions
  uint32_t pass = 0;   // whose producers are missing
};

// One stuck instruction and the producer that it lacks.
struct StuckStep {
  Place place;
  uint32_t pass = 0;
  Obstacle obstacle;
};

class HappensBefore {
 public:
  // Of a pass that does what `flow` says and one after it that does what `next`
  // says. REQUIRES: CheckCounters and CheckCoverage found nothing. All outlive
  // this.
  HappensBefore(const Program& program, const Dataflow& flow,
                const Dataflow& next);
  ~HappensBefore();

  // Calls `visit` for each instruction of passes 0 and 1 when it may start, in
  // an order that every relation agrees with. False when not all can start.
  bool Run(const std::function<void(Place place, uint32_t pass)>& visit);

  // During a visit: whether `earlier` of pass `pass` comes before the visited
  // instruction of that worker.
  bool Before(Relation relation, Place earlier, uint32_t pass,
              uint32_t worker) const {
    return Clock(relation, worker)[earlier.worker] > Step(earlier, pass);
  }
  // The same by the number of the step: pass * queue length + pc.
  bool StepBefore(Relation relation, uint32_t other, uint32_t step,
                  uint32_t worker) const {
    return Clock(relation, worker)[other] > step;
  }
  uint32_t Step(Place place, uint32_t pass) const {
    return pass * length_[place.worker] + place.pc;
  }
  Place PlaceOfStep(uint32_t worker, uint32_t step) const {
    return {worker, step % length_[worker]};
  }

  // After Run returned false: steps that wait for one another in a circle, each
  // for something that comes at or after the next one in its queue.
  std::vector<StuckStep> FindCircle() const;

 private:
  // A point where the clocks of several instructions meet: a counter in one
  // pass, or a polled region in one pass.
  struct Join;

  const uint32_t* Clock(Relation relation, uint32_t worker) const {
    return clocks_[static_cast<size_t>(relation)].data() +
           size_t{worker} * workers_;
  }
  uint32_t* Clock(Relation relation, uint32_t worker) {
    return clocks_[static_cast<size_t>(relation)].data() +
           size_t{worker} * workers_;
  }
  const Dataflow& Flow(uint32_t pass) const { return *flows_[pass]; }
  Join& JoinOf(const Obstacle& obstacle);
  const Join& JoinOf(const Obstacle& obstacle) const;
  // Calls fn(obstacle, tagged) for every wait and poll of the instruction.
  template <typename Fn>
  void ForEachObstacle(Place place, uint32_t pass, Fn fn) const;

  bool IsBlocked(Place place, uint32_t pass, uint32_t worker);
  void Begin(Place place, uint32_t pass);
  void End(Place place, uint32_t pass);
  // Brings the clock of a join to a worker, and a worker's to a join.
  void Acquire(const Join& join, Relation relation, uint32_t worker);
  void Contribute(Join& join, Relation relation, uint32_t worker);
  void Arrive(Join& join);
  void Leave(Join& join);
  // The worker of a producer that `obstacle` lacks, and its step.
  Place MissingProducer(const Obstacle& obstacle) const;

  const Program& program_;
  const std::array<const Dataflow*, 2> flows_;  // of each pass
  const size_t workers_;
  std::vector<uint32_t> length_;  // of each queue
  std::vector<uint32_t> next_;    // the step at which each worker stands
  std::vector<uint32_t> ready_;   // workers to try
  std::array<std::vector<uint32_t>, kNumRelations> clocks_;
  std::vector<Join> counters_;  // pass * counters + counter
  std::vector<Join> regions_;   // those of pass 0, then those of pass 1
};

}  // namespace mkvm::isa

#endif  // MKVM_ISA_HAPPENS_BEFORE_H_
