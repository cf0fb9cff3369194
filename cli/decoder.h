// A decode program on a machine, with its weights loaded: what `run` and
// `score` have in common.
#ifndef MKVM_CLI_DECODER_H_
#define MKVM_CLI_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cli/device.h"
#include "cli/npy.h"
#include "isa/program.h"
#include "model/weights.h"
#include "vm/machine.h"

namespace mkvm::cli {

// Compiled from a model (scheduler/compile.h): it has the buffers tokens, run
// and eos, and a fingerprint.
bool IsDecodeProgram(const isa::Program& program);

// Positions that fit the program. REQUIRES: IsDecodeProgram.
int64_t MaxContextTokens(const isa::Program& program);

// The verifier's verdict as one error with `path` in it.
absl::Status CheckProgram(const isa::Program& program, absl::string_view path);

// Same program, other transport: "tagged" as compiled, "counters" without tags.
absl::StatusOr<isa::Program> WithTransport(isa::Program program,
                                           absl::string_view transport);

class Decoder {
 public:
  // Creates the machine and binds every weight by name, with a progress bar.
  // Errors: a weight or input of the program that the model lacks, a tensor of
  // the model that the program does not use, and what the machine refuses.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(
      const Device& device, isa::Program program,
      std::unique_ptr<model::Weights> weights, int threads);
  // The same on a machine that is there, with nothing bound.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(
      std::unique_ptr<vm::Machine> machine,
      std::unique_ptr<model::Weights> weights);

  // BindFile for each, over what the model gave: another rotary table, say.
  absl::Status Override(const std::vector<std::string>& bindings);

  // Puts `ids` at positions 0, 1, ...; generation begins after `prompt_tokens`
  // of them and stops when `end_position` is reached or a token is in `eos`.
  // Errors: ids outside the vocabulary, more than fit the context.
  absl::Status SetTokens(absl::Span<const int32_t> ids, int64_t prompt_tokens,
                         int64_t end_position, absl::Span<const int32_t> eos);

  vm::Machine& machine() { return *machine_; }
  const model::Config& config() const { return weights_->config(); }

 private:
  Decoder() = default;
  absl::Status BindWeights();
  absl::Status BindIds(absl::string_view buffer,
                       const std::vector<int32_t>& ids);

  // The machine may alias all of these: it goes first.
  std::unique_ptr<model::Weights> weights_;
  std::vector<float> rope_;
  std::vector<NpyArray> overrides_;
  std::unique_ptr<vm::Machine> machine_;
};

// "name=file.npy" -> bound, with the file in every error. The array must
// outlive the machine.
absl::Status BindFile(vm::Machine& machine, const std::string& binding,
                      std::vector<NpyArray>& arrays);
// "name=file.npy" -> written.
absl::Status DumpFile(vm::Machine& machine, const std::string& binding);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_DECODER_H_
