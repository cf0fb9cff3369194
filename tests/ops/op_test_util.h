// What the tests of the opcodes share: small programs of one worker with their
// data, run by the CPU reference and by the GPU machine.
#ifndef MKVM_TESTS_OPS_OP_TEST_UTIL_H_
#define MKVM_TESTS_OPS_OP_TEST_UTIL_H_

#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "isa/instruction.h"
#include "isa/opcode_table.h"
#include "isa/program.h"

namespace mkvm::ops {

// A program of one worker: the instructions added, in order, then a halt. It
// is a value: copy it and run the copy on another machine.
class OpProgram {
 public:
  // ---- buffers. Each returns the new buffer's id.
  uint32_t Weight(absl::string_view name, isa::DType dtype,
                  std::vector<uint64_t> shape);
  // A bf16 matrix for gemv, in panels.
  uint32_t Matrix(absl::string_view name, uint64_t rows, uint64_t columns);
  uint32_t Input(absl::string_view name, isa::DType dtype,
                 std::vector<uint64_t> shape);
  // Written whole in every pass; its elements are kUnwritten before.
  uint32_t Activation(absl::string_view name, isa::DType dtype,
                      std::vector<uint64_t> shape);
  uint32_t State(absl::string_view name, isa::DType dtype,
                 std::vector<uint64_t> shape);
  // A state buffer whose elements are kUnwritten: an output of which an
  // instruction may write a part.
  uint32_t Output(absl::string_view name, isa::DType dtype,
                  std::vector<uint64_t> shape);

  // ---- contents
  // Rounded to the buffer's dtype. The sizes must match.
  void Set(uint32_t id, absl::Span<const float> values);
  void SetInts(uint32_t id, absl::Span<const int32_t> values);
  void SetRanked(uint32_t id,
                 absl::Span<const std::pair<float, uint32_t>> values);
  // Uniform in [-scale, scale] + center; the same for the same seed.
  void SetRandom(uint32_t id, uint32_t seed, float scale = 1.0f,
                 float center = 0.0f);
  // Of a float buffer, as binary32.
  std::vector<float> Floats(uint32_t id) const;
  std::vector<double> Doubles(uint32_t id) const;
  std::vector<int32_t> Ints(uint32_t id) const;
  // {score, index} of each element.
  std::vector<std::pair<float, uint32_t>> Ranked(uint32_t id) const;
  const std::string& bytes(uint32_t id) const { return data_[id]; }

  // ---- instructions
  template <typename Operands>
  void Append(const Operands& op) {
    instructions_.push_back(isa::Encode(op));
  }
  void AppendInstruction(const isa::Instruction& instruction) {
    instructions_.push_back(instruction);
  }
  void ClearInstructions() { instructions_.clear(); }
  // Of the weight stream on the GPU; without, what a program has by default.
  void SetStages(uint32_t stages) { stages_ = stages; }

  isa::Program Build() const;
  // Before Build(), to test what happens with another shape, kind or dtype.
  isa::Buffer& buffer(uint32_t id) { return buffers_[id]; }
  size_t num_buffers() const { return buffers_.size(); }

  // ---- runs, in place
  absl::Status RunReference(int64_t position = 0);
  absl::Status RunGpu(int64_t position = 0, int64_t max_passes = 1);
  int64_t gpu_passes() const { return gpu_passes_; }
  // {position, token} of each generated token of the runs.
  const std::vector<std::pair<int64_t, int32_t>>& tokens() const {
    return tokens_;
  }

  // What a float activation or output holds before it is written.
  static constexpr float kUnwritten = -12288.0f;

 private:
  uint32_t AddBuffer(absl::string_view name, isa::DType dtype,
                     isa::BufferKind kind, isa::Layout layout,
                     std::vector<uint64_t> shape);
  void Poison(uint32_t id);
  // Whoever stores an activation rounds it; the GPU's tags stay inside.
  void ExpectAllF24() const;

  std::vector<isa::Buffer> buffers_;
  std::vector<std::string> data_;  // of each buffer, row-major
  std::vector<isa::Instruction> instructions_;
  std::vector<std::pair<int64_t, int32_t>> tokens_;
  uint32_t stages_ = isa::Target().stages;
  int64_t gpu_passes_ = 0;
};

// Encode writes `code` and exactly `words` (floats as their bits), Decode
// returns what was encoded, and the table knows the opcode as `name`.
template <typename Operands>
void ExpectEncodes(const Operands& op, uint16_t code, absl::string_view name,
                   const std::vector<uint32_t>& words);

// The verifier accepts the program; its binary and its text form lead back to
// the same bytes.
void ExpectValidAndRoundTrips(const OpProgram& program);

// Tests that bad operands are rejected by name. Built from a valid program of
// one instruction.
template <typename Operands>
class Rejections {
 public:
  Rejections(const OpProgram& program, const Operands& op)
      : program_(program), op_(op) {}

  // The requirement `message` is broken after `spoil`, the verifier says so,
  // and neither before.
  void Expect(absl::string_view message,
              const std::function<void(Operands&)>& spoil) {
    Expect(message, [&](OpProgram&, Operands& op) { spoil(op); });
  }
  void Expect(absl::string_view message,
              const std::function<void(OpProgram&, Operands&)>& spoil);

  // Every requirement of the opcode has been Expect()ed, and every buffer
  // operand is rejected by name when it is missing, out of range, of another
  // dtype or kind, or too short, every enum when its value is unknown.
  void ExpectComplete();

 private:
  OpProgram program_;
  Operands op_;
  std::set<std::string> seen_;
};

// |got[i] - want[i]| <= tolerance[i] for all i, and no NaN.
void ExpectNear(absl::Span<const float> got, absl::Span<const double> want,
                absl::Span<const double> tolerance);

// The relative error of rounding to f24.
inline constexpr double kF24Epsilon = 0x1p-16;

// Skips the test visibly where there is no GPU to run it on.
#define MKVM_SKIP_WITHOUT_GPU()                                     \
  if (const absl::Status gpu = ::mkvm::ops::GpuStatus(); !gpu.ok()) \
  GTEST_SKIP() << gpu
absl::Status GpuStatus();

// ---- the rest is how the templates above are made

void ExpectEncodedWords(const isa::Instruction& instruction, uint16_t code,
                        absl::string_view name,
                        const std::vector<uint32_t>& words);
void ExpectRequirement(const OpProgram& good, const OpProgram& bad,
                       absl::string_view message);
void ExpectAllRequirements(const isa::Instruction& instruction,
                           const std::set<std::string>& seen);
void ExpectOperandsCheckedByName(const OpProgram& program,
                                 const isa::Instruction& instruction);

template <typename Operands>
void ExpectEncodes(const Operands& op, uint16_t code, absl::string_view name,
                   const std::vector<uint32_t>& words) {
  const isa::Instruction instruction = isa::Encode(op);
  ExpectEncodedWords(instruction, code, name, words);
  const isa::Instruction again =
      isa::Encode(isa::DecodeOperands<Operands>(instruction));
  EXPECT_EQ(std::memcmp(&again, &instruction, sizeof(again)), 0);
}

template <typename Operands>
void Rejections<Operands>::Expect(
    absl::string_view message,
    const std::function<void(OpProgram&, Operands&)>& spoil) {
  OpProgram good = program_;
  good.ClearInstructions();
  OpProgram bad = good;
  good.Append(op_);
  Operands op = op_;
  spoil(bad, op);
  bad.Append(op);
  ExpectRequirement(good, bad, message);
  seen_.emplace(message);
}

template <typename Operands>
void Rejections<Operands>::ExpectComplete() {
  const isa::Instruction instruction = isa::Encode(op_);
  ExpectAllRequirements(instruction, seen_);
  OpProgram program = program_;
  program.ClearInstructions();
  ExpectOperandsCheckedByName(program, instruction);
}

}  // namespace mkvm::ops

#endif  // MKVM_TESTS_OPS_OP_TEST_UTIL_H_
