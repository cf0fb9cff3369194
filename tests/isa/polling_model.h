// The laziest machine that the ISA allows, in the abstract: the oracle for what
// the checking CPU machine, which waits on counters, can't see.
//
//  - a tagged wait is left to polling: only the polled elements hold it up;
//  - an access happens in passes of its positions; pass 0 is at position 0;
//  - an instruction publishes its results piece by piece, reads a polled
//  operand
//    over the interval that it writes piece by piece too, and may read the
//    others again until the last piece is out; one that writes last reads all
//    of them first;
//  - of an operand that the ISA table calls only partly read, it may poll
//    nothing at all;
//  - a worker's writes and signals arrive in memory late and in any order, save
//    that those to one place keep theirs;
//  - a release makes everything before it arrive first, and hands the
//    signaller's knowledge to whoever counts the signal;
//  - a count goes by the number of signals, whoever they came from;
//  - a read that is not polled sees what its worker knows of: anything newer
//    may or may not be seen, which is a fault.
//
// Nothing is computed: memory holds who wrote each element last. Sets of
// events, not clocks, so that it shares no idea with the verifier.
#ifndef MKVM_TESTS_ISA_POLLING_MODEL_H_
#define MKVM_TESTS_ISA_POLLING_MODEL_H_

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "isa/opcode_table.h"
#include "isa/program.h"

namespace mkvm::isa {

class PollingModel {
 public:
  // REQUIRES: valid fields, operands and bounds, no overflow of regions.
  PollingModel(const Program& program, uint32_t passes);

  // Runs in a random order. Empty, or what went wrong. `trace`: for every
  // instruction and pass a hash of whose values it read, and at last one of
  // whose values memory holds; the same for all seeds if the program is safe.
  std::string Run(uint64_t seed, std::vector<uint64_t>& trace);

 private:
  using Set = std::vector<uint64_t>;  // of events, a bit each

  // Something on its way to memory.
  struct Pending {
    bool is_signal;
    uint32_t what;  // segment or counter
    uint32_t event;
  };
  struct Worker {
    uint32_t pass = 0;
    uint32_t pc = 0;
    // Of the instruction under way, in the order in which they are published.
    bool started = false;
    std::vector<uint32_t> unpublished;  // segments
    uint64_t inputs = 0;                // what it read at its start
    bool skips = false;                 // the polls of partly read operands
    uint64_t asleep = 0;                // steps to come that it lets pass
    Set known;
    std::deque<Pending> pending;
  };
  // Elements of a buffer that no access tells apart.
  struct Segment {
    uint32_t buffer;
    uint64_t begin;
    uint64_t end;
  };
  struct SegmentRange {
    uint32_t first;
    uint32_t last;
  };
  enum class Outcome { kBlocked, kDone, kFault };

  void CutIntoSegments();
  void Reset(uint64_t seed);
  uint32_t PassOf(uint32_t event) const { return event / instructions_; }
  uint32_t EventOf(uint32_t w) const {
    return workers_[w].pass * instructions_ + first_[w] + workers_[w].pc;
  }
  bool Finished() const;
  void Arrive(Worker& worker, size_t index);
  void ArriveAll(Worker& worker);
  void ArriveOwn(Worker& worker, const SegmentRange& range);
  bool ArriveRandomly(Worker& worker);
  bool WaitsHold(const Worker& worker, const Instruction& i) const;
  bool Miscounts(const Worker& worker, const Instruction& i) const;
  void TakeOver(Worker& worker, const Instruction& i);
  bool IsElementwise(uint32_t index, const Access& read) const;
  bool IsPiecemeal(const Instruction& i, uint32_t index,
                   const Access& read) const;
  bool Happens(const Worker& worker, const Access& access) const {
    return access.HappensAt(worker.pass);
  }
  // Reads one segment. Adds to `hash` whose it was.
  Outcome Read(uint32_t w, const Access& access, uint32_t segment,
               uint64_t& hash, std::string& fault);
  Outcome ReadInputs(uint32_t w, uint64_t& hash, std::string& fault);
  Outcome ReadElements(uint32_t w, uint32_t published, uint64_t& hash,
                       std::string& fault);
  Outcome Start(uint32_t w, std::string& fault);
  Outcome Publish(uint32_t w, std::string& fault);
  void End(uint32_t w);
  Outcome Step(uint32_t w, std::string& fault);
  std::string Name(uint32_t event) const;

  const Program& program_;
  const uint32_t passes_;
  uint32_t instructions_ = 0;
  std::vector<uint32_t> first_;                // number of a queue's first
  std::vector<std::vector<Access>> accesses_;  // by instruction
  std::vector<std::vector<SegmentRange>> ranges_;
  std::vector<Segment> segments_;

  std::mt19937_64 random_;
  std::vector<Worker> workers_;
  std::vector<uint32_t> memory_;  // by segment: 1 + the event that wrote it
  std::vector<uint64_t> counts_;  // by counter
  std::vector<std::vector<uint32_t>> arrived_;  // by counter, of each pass
  std::vector<Set> handed_;      // by counter: what its releases tell
  std::vector<uint64_t> reads_;  // by event
};

}  // namespace mkvm::isa

#endif  // MKVM_TESTS_ISA_POLLING_MODEL_H_
