#include "scheduler/compile.h"

#include <utility>

#include "scheduler/counters.h"
#include "scheduler/graph.h"
#include "scheduler/lower.h"
#include "scheduler/order.h"
#include "scheduler/place.h"

namespace mkvm::scheduler {
namespace {

absl::StatusOr<isa::Program> Run(const model::Config& config,
                                 const Target& target,
                                 const CompileOptions& options, Dumps* dumps) {
  const absl::StatusOr<Geometry> geometry =
      MakeGeometry(config, target, options);
  if (!geometry.ok()) return geometry.status();

  const Graph graph = BuildGraph(config, *geometry);
  const Tiles tiles = Lower(graph, *geometry);
  const Placement placement = Place(tiles);
  const Queues queues = Order(tiles, placement);

  isa::Program program;
  program.name = "qwen3_decode";
  program.target.name = target.name;
  program.target.stages = target.stages;
  program.target.stage_bytes = isa::kStageBytes;
  program.target.shared_memory_bytes =
      static_cast<uint32_t>(target.shared_memory_bytes);
  program.model_fingerprint = model::Fingerprint(config);
  program.model = model::Describe(config);
  program.buffers = graph.tensors;
  // Unfused, the KV cache is appended to by one worker and read by others; and
  // nobody polls the logits.
  const EdgeOptions edges{.tagged = target.tagged,
                          .release_at_end = !geometry->fuse ||
                                            geometry->logits ||
                                            geometry->sampling};
  if (absl::Status status = Connect(tiles, queues, edges, program);
      !status.ok()) {
    return status;
  }
  if (options.nops) program = isa::WithNops(program);
  if (dumps != nullptr) {
    dumps->graph = DumpGraph(graph);
    dumps->tiles = DumpTiles(graph, tiles);
    dumps->placement = DumpPlacement(graph, tiles, placement);
    dumps->queues = DumpQueues(program);
  }
  return program;
}

}  // namespace

absl::StatusOr<isa::Program> Compile(const model::Config& config,
                                     const Target& target,
                                     const CompileOptions& options) {
  return Run(config, target, options, nullptr);
}

absl::StatusOr<isa::Program> CompileWithDumps(const model::Config& config,
                                              const Target& target,
                                              const CompileOptions& options,
                                              Dumps& dumps) {
  return Run(config, target, options, &dumps);
}

}  // namespace mkvm::scheduler
