#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "scheduler/graph.h"

namespace mkvm::scheduler {
namespace {

absl::Status CheckConfig(const model::Config& c) {
  const struct {
    const char* key;
    uint64_t value;
  } positive[] = {
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_layers", c.num_layers},
      {"num_q_heads", c.num_q_heads},
      {"num_kv_heads", c.num_kv_heads},
      {"head_dim", c.head_dim},
      {"vocab_size", c.vocab_size},
      {"max_positions", c.max_positions},
  };
  for (const auto& field : positive) {
    if (field.value == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("model: ", field.key, " is 0"));
    }
  }
  if (c.num_q_heads % c.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model: ", c.num_q_heads, " query heads are not a multiple of ",
        c.num_kv_heads, " kv heads"));
  }
  if (c.num_q_heads / c.num_kv_heads > 16) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: ", c.num_q_heads / c.num_kv_heads,
                     " query heads per kv head; at most 16 are supported"));
  }
  if (c.head_dim % 8 != 0 || c.head_dim > 256) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: head_dim is ", c.head_dim,
                     "; supported: multiples of 8 up to 256"));
  }
  if (c.vocab_size - 1 > isa::kMaxRankedIndex) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: vocab_size is ", c.vocab_size,
                     "; at most 2^24 rows are supported"));
  }
  return absl::OkStatus();
}

absl::Status CheckTarget(const Target& t) {
  if (t.workers == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("target ", t.name, ": workers is 0"));
  }
  if (t.stages == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("target ", t.name, ": stages is 0"));
  }
  const uint64_t needed =
      uint64_t{t.stages} * isa::kStageBytes + isa::kWorkerReserveBytes;
  if (t.shared_memory_bytes != 0 && needed > t.shared_memory_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "target ", t.name, ": ", t.stages, " stages need ", needed,
        " bytes of shared memory per worker, it has ", t.shared_memory_bytes));
  }
  return absl::OkStatus();
}

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

}  // namespace

absl::StatusOr<Geometry> MakeGeometry(const model::Config& config,
                                      const Target& target,
                                      const CompileOptions& options) {
  if (absl::Status status = CheckConfig(config); !status.ok()) return status;
  if (absl::Status status = CheckTarget(target); !status.ok()) return status;
  if (options.kv_block == 0) {
    return absl::InvalidArgumentError("options: kv_block is 0");
  }
  if (options.logprobs > kMaxLogprobs) {
    return absl::InvalidArgumentError(absl::StrCat(
        "options: logprobs is ", options.logprobs, ", above ", kMaxLogprobs));
  }
  if (options.max_context > config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("options: max_context is ", options.max_context,
                     ", the model has ", config.max_positions, " positions"));
  }

  Geometry g;
  g.panels = target.panels;
  g.row_unit = target.panels ? isa::kPanelRows : 1;
  g.min_gemv_rows = target.min_gemv_rows;
  g.fuse = options.fuse;
  g.logits = options.logits;
  g.sampling = options.sampling;
  g.logprobs = options.logprobs;
  g.kv_block = options.kv_block;
  g.max_context =
      options.max_context != 0 ? options.max_context : config.max_positions;
  // Every worker gets a tile of the LM head. That is what lets a queue start
  // its next pass without looking at the others: the next token depends on
  // every worker having left this pass's halt.
  g.workers = static_cast<uint32_t>(std::min<uint64_t>(
      target.workers, CeilDiv(config.vocab_size, g.row_unit)));
  if (options.split_kv) {
    g.splits = std::clamp(g.workers / config.num_kv_heads, 1u,
                          std::max(1u, target.max_kv_splits));
  }
  if (options.attend_alone && g.fuse && g.splits > 1) {
    g.alone = g.kv_block;
    g.idle_splits = g.splits <= isa::kMaxParts;
  }
  const uint64_t blocks = CeilDiv(g.max_context, g.kv_block);
  g.kv_capacity = static_cast<uint32_t>(CeilDiv(blocks, g.splits) * g.kv_block);
  return g;
}

}  // namespace mkvm::scheduler
