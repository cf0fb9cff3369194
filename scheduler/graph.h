// Pass 1: the Qwen3 forward pass of one token as operations over whole tensors.
//
// A tensor is a buffer of the program to be. An operation holds the operands
// of the one instruction that would do all of it: its buffer operands are
// indices into Graph::tensors, its ranges cover everything. The next pass cuts
// such an instruction into many.
#ifndef MKVM_SCHEDULER_GRAPH_H_
#define MKVM_SCHEDULER_GRAPH_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "isa/instruction.h"
#include "isa/program.h"
#include "model/config.h"
#include "scheduler/compile.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

// What of target and options the graph and its tiles depend on.
struct Geometry {
  uint32_t workers = 1;        // used: never more than the LM head can feed
  uint32_t splits = 1;         // attention instructions per kv head and layer
  uint32_t row_unit = 1;       // weight rows that are never parted
  uint32_t min_gemv_rows = 1;  // of an instruction, where there are as many
  uint32_t max_context = 0;    // positions
  uint32_t kv_block = 64;      // positions
  uint32_t alone = 0;          // below this position split 0 holds them all
  uint32_t kv_capacity = 0;    // positions of one split, whole blocks
  bool idle_splits = false;    // those that hold no positions yet are idle
  bool panels = false;
  bool fuse = true;
  bool logits = false;
  bool sampling = false;
  uint32_t logprobs = 0;  // most recorded, with sampling
};

// Errors: InvalidArgument naming the field of config, target or options.
absl::StatusOr<Geometry> MakeGeometry(const model::Config& config,
                                      const Target& target,
                                      const CompileOptions& options);

using Part =
    std::variant<isa::EmbedOperands, isa::RmsNormOperands, isa::AddOperands,
                 isa::SiluMulOperands, isa::GemvOperands,
                 isa::QkNormRopeAppendOperands, isa::AttentionOperands,
                 isa::AttentionMergeOperands, isa::ArgmaxOperands,
                 isa::SampleSliceOperands, isa::SampleOperands,
                 isa::AdvanceOperands, isa::HaltOperands>;

struct Op {
  std::string name;         // stem of its tiles' labels, e.g. "L03.qkv"
  std::vector<Part> parts;  // several: cut and placed as one
  std::string counter;      // its tiles signal it; empty: none
  // Each kv head has a counter of its own, `counter`.<kv head>.
  bool per_kv_head = false;
  // Every worker has a share, however small: the LM head (MakeGeometry says
  // why).
  bool every_worker = false;
  // Each share has a counter of its own, `counter`.<share>: who reads what one
  // share writes waits for nobody else.
  bool per_share = false;
};

struct Graph {
  std::vector<isa::Buffer> tensors;
  std::vector<Op> ops;  // topological
  uint32_t kv_heads = 0;
};

// Where the slices of the logits begin, for a program that samples, and
// vocab_size at the end. Each share of the LM head is a slice, so that it needs
// nothing of another worker, or several that are as long as a slice may be.
std::vector<uint32_t> SampleSlices(uint32_t vocab_size,
                                   const Geometry& geometry);

// REQUIRES: `geometry` is of `config`.
Graph BuildGraph(const model::Config& config, const Geometry& geometry);

// One line per operation: "L00.o  gemv x=L00.att ... -> L00.x1".
std::string DumpGraph(const Graph& graph);

// The part as an instruction without edges.
isa::Instruction EncodePart(const Part& part);

// "gemv x=L00.x w=... rows=8": operands by name, buffers by theirs; absent
// ones and zeros left out.
std::string FormatInstruction(const std::vector<isa::Buffer>& buffers,
                              const isa::Instruction& instruction);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_GRAPH_H_
