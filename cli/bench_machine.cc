#include "cli/bench_machine.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/compile.h"
#include "isa/traffic.h"
#include "vm/cpu_machine.h"

namespace mkvm::cli {
namespace {

// Weights that several machines use, one after the other.
class SharedWeights : public model::Weights {
 public:
  explicit SharedWeights(std::shared_ptr<model::Weights> weights)
      : weights_(std::move(weights)) {}

  const model::Config& config() const override { return weights_->config(); }
  const std::vector<std::string>& names() const override {
    return weights_->names();
  }
  absl::StatusOr<model::Tensor> Get(absl::string_view name) override {
    return weights_->Get(name);
  }
  uint64_t total_bytes() const override { return weights_->total_bytes(); }
  std::string description() const override { return weights_->description(); }

 private:
  std::shared_ptr<model::Weights> weights_;
};

// Ids that look like nothing in particular, the same on every machine.
std::vector<int32_t> PromptIds(int64_t count, uint32_t vocab_size) {
  std::vector<int32_t> ids;
  uint32_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator
    ids.push_back(static_cast<int32_t>((state >> 8) % vocab_size));
  }
  return ids;
}

absl::Status CheckLaunched(const BenchTest& test, int64_t wanted,
                           int64_t passes, size_t tokens) {
  // A prompt's last pass decides the one token that is generated.
  const bool generates = test.kind == BenchKind::kGenerate;
  const int64_t wanted_tokens =
      generates ? wanted : static_cast<int64_t>(wanted == test.tokens);
  if (passes == wanted && static_cast<int64_t>(tokens) == wanted_tokens) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrFormat(
      "%s: %d passes and %d tokens came from a launch of %d "
      "passes, which has %d tokens to give",
      BenchTestName(test), passes, tokens, wanted, wanted_tokens));
}

}  // namespace

absl::StatusOr<BenchMachine> BenchMachine::Create(
    const Device& device, isa::Program program,
    std::shared_ptr<model::Weights> weights, int threads) {
  absl::StatusOr<std::unique_ptr<Decoder>> decoder = Decoder::Create(
      device, std::move(program),
      std::make_unique<SharedWeights>(std::move(weights)), threads);
  if (!decoder.ok()) return decoder.status();
  BenchMachine machine;
  machine.decoder_ = *std::move(decoder);
  if (device.gpu) machine.watchdog_seconds_ = 5;
  return machine;
}

absl::StatusOr<BenchMachine> BenchMachine::Create(
    std::unique_ptr<vm::Machine> machine,
    std::shared_ptr<model::Weights> weights) {
  absl::StatusOr<std::unique_ptr<Decoder>> decoder = Decoder::Create(
      std::move(machine), std::make_unique<SharedWeights>(std::move(weights)));
  if (!decoder.ok()) return decoder.status();
  BenchMachine bench;
  bench.decoder_ = *std::move(decoder);
  return bench;
}

absl::StatusOr<Launched> BenchMachine::Launch(const BenchTest& test,
                                              int64_t passes) {
  using Clock = std::chrono::steady_clock;
  // To generate from the first pass on, the prompt ends with its token.
  const int64_t prompt_tokens =
      test.depth + (test.kind == BenchKind::kGenerate ? 1 : test.tokens);
  const std::vector<int32_t> ids =
      PromptIds(prompt_tokens, decoder_->config().vocab_size);
  const auto begin = Clock::now();
  if (absl::Status s =
          decoder_->SetTokens(ids, prompt_tokens, test.depth + test.tokens, {});
      !s.ok()) {
    return s;
  }
  Launched launched;
  vm::RunOptions options;
  options.first_position = test.depth;
  options.max_passes = passes;
  options.watchdog_seconds = watchdog_seconds_;
  options.on_token = [&](int64_t, int32_t token) {
    if (launched.tokens.empty()) {
      const std::chrono::duration<double> elapsed = Clock::now() - begin;
      launched.first_token_seconds = elapsed.count();
    }
    launched.tokens.push_back(token);
  };
  const absl::StatusOr<vm::RunResult> result = machine().Run(options);
  if (!result.ok()) return result.status();
  if (absl::Status s =
          CheckLaunched(test, passes, result->passes, launched.tokens.size());
      !s.ok()) {
    return s;
  }
  launched.seconds = result->seconds;
  return launched;
}

uint64_t WeightBytesPerToken(const isa::Program& program) {
  uint64_t bytes = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      bytes += isa::StreamedBytes(program.buffers, instruction);
    }
  }
  return bytes;
}

double BytesPerToken(const isa::Program& program, const BenchTest& test) {
  uint64_t kv_bytes = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      if (instruction.opcode !=
          static_cast<uint16_t>(isa::Opcode::kAttention)) {
        continue;
      }
      for (int64_t i = 0; i < test.tokens; ++i) {
        kv_bytes += isa::KvBytes(instruction, test.depth + i);
      }
    }
  }
  return static_cast<double>(WeightBytesPerToken(program)) +
         static_cast<double>(kv_bytes) / static_cast<double>(test.tokens);
}

absl::StatusOr<Reference> MakeReference(const isa::Program& compiled,
                                        const std::string& transport,
                                        const Device& device, int threads) {
  const char* other = transport == "tagged" ? "counters" : "tagged";
  absl::StatusOr<isa::Program> program = WithTransport(compiled, other);
  if (!program.ok()) return program.status();
  absl::StatusOr<isa::Program> measured = WithTransport(compiled, transport);
  if (!measured.ok()) return measured.status();
  Reference reference;
  reference.device = device;
  reference.device.ablations = {};
  reference.threads = threads;
  std::vector<std::string> differences;
  // A program compiled without tags is the same with either.
  if (isa::SerializeProgram(*program) != isa::SerializeProgram(*measured)) {
    differences.emplace_back(other);
  }
  reference.program = *std::move(program);
  if (!device.gpu) {
    reference.threads = threads == 1 ? 2 : 1;
    differences.emplace_back(threads == 1 ? "2 threads" : "1 thread");
  }
  if (device.ablations != reference.device.ablations) {
    differences.emplace_back("nothing left out");
  }
  reference.name = differences.empty() ? "another machine of that kind"
                                       : absl::StrJoin(differences, " and ");
  return reference;
}

absl::Status CompareWithCheckingMachine(const Device& device,
                                        const std::string& transport,
                                        int threads,
                                        scheduler::CompileOptions options) {
  constexpr BenchTest kTest = {BenchKind::kGenerate, 24, 0};
  absl::StatusOr<model::Config> config =
      model::FindConfig(DefaultConfig(Device()));
  if (!config.ok()) return config.status();
  options.kv_block = 8;  // so that some positions lie past the first block
  absl::StatusOr<isa::Program> compiled =
      CompileFor(*config, device, kTest.tokens, false, options);
  if (!compiled.ok()) return compiled.status();
  absl::StatusOr<isa::Program> program =
      WithTransport(*std::move(compiled), transport);
  if (!program.ok()) return program.status();
  const std::shared_ptr<model::Weights> weights =
      model::MakeSynthetic(*config, 1);
  absl::StatusOr<BenchMachine> measured =
      BenchMachine::Create(device, *program, weights, threads);
  if (!measured.ok()) return measured.status();
  const absl::StatusOr<Launched> seen = measured->Launch(kTest, kTest.tokens);
  if (!seen.ok()) return seen.status();

  vm::CpuMachineOptions checks;
  checks.check_races = true;
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine =
      vm::CreateCpuMachine(*std::move(program), checks);
  if (!machine.ok()) return machine.status();
  absl::StatusOr<BenchMachine> checking =
      BenchMachine::Create(*std::move(machine), weights);
  if (!checking.ok()) return checking.status();
  const absl::StatusOr<Launched> expected =
      checking->Launch(kTest, kTest.tokens);
  if (!expected.ok()) return expected.status();
  return CompareTokens(
      expected->tokens, seen->tokens,
      absl::StrCat("of ", config->name, ", against the checking CPU machine,"));
}

}  // namespace mkvm::cli
