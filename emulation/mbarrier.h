// An mbarrier as 64 bits of shared memory hold it here.
// Source: PTX ISA, "Parallel Synchronization and Communication Instructions:
// mbarrier".
#ifndef MKVM_EMULATION_MBARRIER_H_
#define MKVM_EMULATION_MBARRIER_H_

#include <bit>
#include <cstdint>

namespace mkvm::emulation {

class Mbarrier {
 public:
  static Mbarrier WithArrivals(uint32_t arrivals) {
    Mbarrier barrier;
    barrier.fields_ = {.expected = arrivals, .pending = arrivals};
    return barrier;
  }
  static Mbarrier Load(const uint64_t* word) {
    Mbarrier barrier;
    barrier.fields_ = std::bit_cast<Fields>(*word);
    return barrier;
  }
  void Store(uint64_t* word) const { *word = std::bit_cast<uint64_t>(fields_); }

  // False when more arrive than the phase has arrivals.
  bool Arrive(bool& completes) {
    if (fields_.pending == 0) return false;
    --fields_.pending;
    completes = CompleteIfDone();
    return true;
  }
  // Bytes that the phase waits for beside its arrivals; may be less than 0
  // meanwhile. True when that completes the phase.
  bool AddBytes(int64_t bytes) {
    fields_.bytes += bytes;
    return CompleteIfDone();
  }
  // The phase of that parity: the current one has not, the one before has.
  bool HasCompleted(uint32_t parity) const { return fields_.phase != parity; }

 private:
  struct Fields {
    uint64_t expected : 15 = 0;  // arrivals of a phase
    uint64_t pending : 15 = 0;   // of the current one
    uint64_t phase : 1 = 0;
    int64_t bytes : 33 = 0;  // announced and not yet copied
  };
  static_assert(sizeof(Fields) == sizeof(uint64_t));

  bool CompleteIfDone() {
    if (fields_.pending != 0 || fields_.bytes != 0) return false;
    fields_.pending = fields_.expected;
    fields_.phase ^= 1;
    return true;
  }

  Fields fields_;
};

}  // namespace mkvm::emulation

#endif  // MKVM_EMULATION_MBARRIER_H_
