#include "cli/tune_measure.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "cli/bench_machine.h"
#include "cli/bench_measure.h"
#include "cli/compile.h"
#include "cli/decoder.h"
#include "isa/instruction.h"
#include "isa/opcode.h"

namespace mkvm::cli {

std::string Arithmetic(const isa::Program& program) {
  std::set<uint32_t> splits;
  std::set<uint16_t> opcodes;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      opcodes.insert(instruction.opcode);
      if (instruction.opcode ==
          static_cast<uint16_t>(isa::Opcode::kAttention)) {
        splits.insert(
            isa::DecodeOperands<isa::AttentionOperands>(instruction).splits);
      }
    }
  }
  std::string text = "splits";
  for (const uint32_t count : splits) absl::StrAppend(&text, " ", count);
  absl::StrAppend(&text, ", opcodes");
  for (const uint16_t opcode : opcodes) absl::StrAppend(&text, " ", opcode);
  absl::StrAppend(&text, ", activations");
  for (const isa::Buffer& buffer : program.buffers) {
    if (buffer.kind != isa::BufferKind::kActivation) continue;
    absl::StrAppend(&text, " ", buffer.name, " ", isa::Name(buffer.dtype));
  }
  return text;
}

absl::Status TokenCheck::Check(absl::string_view shape,
                               const std::string& arithmetic,
                               std::vector<std::vector<int32_t>> tokens) {
  const auto known = expected_.find(arithmetic);
  if (known == expected_.end()) {
    expected_[arithmetic] = {std::string(shape), std::move(tokens)};
    return absl::OkStatus();
  }
  const Expected& expected = known->second;
  for (size_t i = 0; i < expected.tokens.size(); ++i) {
    if (absl::Status s = CompareTokens(
            expected.tokens[i], tokens[i],
            absl::StrCat("from position ", i + 1, " of the list on, against ",
                         expected.shape, ","));
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Measurement> MeasureSteady(const BenchTest& test,
                                          int repetitions,
                                          const Launcher& launch) {
  // A steady time is a difference of two launches: on a machine that does
  // something else beside, the noise of one can exceed it.
  constexpr int kTries = 5;
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<Measurement> measurement =
        Measure(test, repetitions, /*warm_up=*/i == 0, launch);
    if (!measurement.ok()) return measurement.status();
    if (measurement->steady_us.empty()) {
      return absl::InternalError(
          absl::StrCat(test.tokens, " tokens are too few to measure by"));
    }
    if (Summarize(measurement->steady_us).median > 0) return measurement;
  }
  return absl::UnavailableError(absl::StrCat(
      BenchTestName(test), " took no longer than a part of it, ", kTries,
      " times: the machine is too busy to measure; stop what else runs on it"));
}

absl::StatusOr<isa::Program> TuneMeasurer::Compile(
    const scheduler::Target& target) const {
  const int64_t last =
      *std::max_element(plan_.positions.begin(), plan_.positions.end());
  return CompileFor(weights_->config(), target, last + plan_.tokens, false);
}

absl::StatusOr<std::vector<double>> TuneMeasurer::Run(const std::string& shape,
                                                      isa::Program program) {
  const std::string arithmetic = Arithmetic(program);
  absl::StatusOr<BenchMachine> machine = BenchMachine::Create(
      plan_.device, std::move(program), weights_, plan_.threads);
  if (!machine.ok()) return machine.status();
  std::vector<double> us;
  std::vector<std::vector<int32_t>> tokens;
  for (const int64_t position : plan_.positions) {
    absl::StatusOr<Measurement> measurement = MeasureSteady(
        {BenchKind::kGenerate, plan_.tokens, position}, plan_.repetitions,
        [&](const BenchTest& test, int64_t passes) {
          return machine->Launch(test, passes);
        });
    if (!measurement.ok()) return measurement.status();
    us.push_back(Summarize(std::move(measurement->steady_us)).median);
    tokens.push_back(std::move(measurement->tokens));
  }
  if (absl::Status s = check_.Check(shape, arithmetic, std::move(tokens));
      !s.ok()) {
    return s;
  }
  return us;
}

absl::StatusOr<std::vector<double>> TuneMeasurer::Measure(
    const scheduler::Target& target) {
  absl::StatusOr<isa::Program> program = Compile(target);
  if (!program.ok()) return program.status();
  if (absl::Status s = CheckProgram(*program, "its program"); !s.ok()) {
    return s;
  }
  return Run(scheduler::DescribeShape(target, plan_.keys), *std::move(program));
}

std::string TuneMeasurer::ProgramOf(const scheduler::Target& target) const {
  const absl::StatusOr<isa::Program> program = Compile(target);
  return program.ok() ? isa::SerializeProgram(*program) : "";
}

}  // namespace mkvm::cli
