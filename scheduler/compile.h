// The compiler: a model's geometry and a target -> a program.
#ifndef MKVM_SCHEDULER_COMPILE_H_
#define MKVM_SCHEDULER_COMPILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "isa/program.h"
#include "model/config.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

inline constexpr uint32_t kMaxLogprobs = 64;

struct CompileOptions {
  uint32_t max_context = 0;  // positions; 0: the model's own limit
  bool logits = false;       // also write f32 logits to buffer "logits"
  bool sampling = false;     // choose tokens by vm::SamplingOptions
  // With sampling: room to record the log-probabilities of so many of the most
  // probable tokens, up to kMaxLogprobs, beside that of the chosen one.
  uint32_t logprobs = 0;
  bool fuse = true;        // prologues and epilogues; false: one op each
  bool split_kv = true;    // attention over several workers per kv head
  uint32_t kv_block = 64;  // positions of a block
  // With split_kv and fuse: while all positions are in the first block, one
  // worker per kv head attends to them, and nobody merges.
  bool attend_alone = true;
  bool nops = false;  // one before every instruction (isa::WithNops)
};

// Names of the buffers that a compiled decode program shares with its host:
//   "tokens" state i32 [max_context + 1]   token at each position
//   "run"    input i32 [2]                 prompt tokens, end position
//   "eos"    input i32 [8]                 ids that end the text, -1: none
//   "stop"   state i32 [1]
//   "rope.cos_sin" weight f32 [max_context, head_dim]  cos(head_dim/2), sin
//   "logits" activation f32 [vocab]        with CompileOptions::logits,
//   sampling "sampling.numbers", "sampling.ints", "token_counts", "logprobs"
//                                          with sampling: vm/sampling.h
// Weights carry their HuggingFace names ("model.layers.0.mlp.up_proj.weight").
absl::StatusOr<isa::Program> Compile(const model::Config& config,
                                     const Target& target,
                                     const CompileOptions& options = {});

// Text dumps of the passes, for `mkvm compile --dump`.
struct Dumps {
  std::string graph, tiles, placement, queues;
};
absl::StatusOr<isa::Program> CompileWithDumps(const model::Config& config,
                                              const Target& target,
                                              const CompileOptions& options,
                                              Dumps& dumps);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_COMPILE_H_
