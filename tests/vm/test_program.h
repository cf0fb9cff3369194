// Small programs for the tests of the machines.
#ifndef MKVM_TESTS_VM_TEST_PROGRAM_H_
#define MKVM_TESTS_VM_TEST_PROGRAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "isa/program.h"
#include "vm/cpu_machine.h"
#include "vm/machine.h"

namespace mkvm::vm {

// Builds a program queue by queue. Producers and thresholds follow from the
// signals, as the all-join rule has it.
class ProgramBuilder {
 public:
  struct WaitFor {
    uint32_t counter;
    bool lag = false;
  };

  explicit ProgramBuilder(uint32_t workers);

  uint32_t Buffer(const std::string& name, isa::DType dtype,
                  isa::BufferKind kind, std::vector<uint64_t> shape);
  uint32_t Activation(const std::string& name, uint64_t n) {
    return Buffer(name, isa::DType::kF24, isa::BufferKind::kActivation, {n});
  }
  uint32_t State(const std::string& name, uint64_t n) {
    return Buffer(name, isa::DType::kF24, isa::BufferKind::kState, {n});
  }
  uint32_t Counter(const std::string& name);

  template <typename Operands>
  void Add(uint32_t worker, const std::string& label, const Operands& op,
           const std::vector<WaitFor>& waits = {},
           uint32_t signal = isa::kNoCounter) {
    const isa::Instruction instruction = isa::Encode(op);
    Append(worker, label, instruction, waits, signal);
  }

  isa::Program Build() const;

 private:
  void Append(uint32_t worker, const std::string& label,
              const isa::Instruction& instruction,
              const std::vector<WaitFor>& waits, uint32_t signal);

  isa::Program program_;
};

// y[begin..begin+count) = a + b.
isa::AddOperands Sum(uint32_t a, uint32_t b, uint32_t y, uint32_t begin,
                     uint32_t count);

// The instruction with that label. REQUIRES: there is exactly one.
isa::Instruction& Labelled(isa::Program& program, const std::string& label);
void RemoveWaits(isa::Instruction& instruction);
void RemoveWait(isa::Instruction& instruction, int i);

// A decode loop in small: embed, gemv over tiles, rms_norm over tiles, gemv to
// scores with argmax partials, argmax, advance; every worker has its tile of
// each. Its weights (BindCounting) make it count: after token t comes
// (t + 1) % kVocabulary.
inline constexpr uint32_t kVocabulary = 64;
inline constexpr uint32_t kPositions = 600;  // that have a token
// REQUIRES: workers divides kVocabulary.
isa::Program CountingProgram(uint32_t workers);
// `first`: the token of position 0; `prompt` tokens are given; `end` and `eos`
// stop it.
void BindCounting(Machine& machine, int32_t first, int32_t end,
                  int32_t eos = -1);

// Worker 0 makes x = c + c in every pass, worker 1 adds x to the state sum. No
// barrier between passes: worker 0 may write x again once worker 1 has read
// it, which a lagged wait says.
isa::Program AccumulatingProgram();

// Binds a vector under that name, or fails the test.
void BindFloats(Machine& machine, const std::string& name,
                const std::vector<float>& values);
void BindInts(Machine& machine, const std::string& name,
              const std::vector<int32_t>& values);
std::vector<float> ReadFloats(Machine& machine, const std::string& name);
std::vector<int32_t> ReadInts(Machine& machine, const std::string& name);

// The norm of the difference over the norm of `want`.
double RelativeError(const std::vector<float>& got,
                     const std::vector<float>& want);

// Whether the GPU is the one that the host emulates (docs/emulation.md): it is
// slow, and its warps lag one another by far more than a GPU's.
bool GpuIsEmulated();
// What a test may ask of the GPU that there is: of an emulated one less.
int32_t GpuPasses(int32_t passes);
uint32_t GpuWorkers(uint32_t workers);

// CreateCpuMachine, or fails the test.
std::unique_ptr<Machine> MakeMachine(const isa::Program& program,
                                     const CpuMachineOptions& options = {});

}  // namespace mkvm::vm

#endif  // MKVM_TESTS_VM_TEST_PROGRAM_H_
