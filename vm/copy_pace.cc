#include "vm/copy_pace.h"

#include <algorithm>

#include "isa/instruction.h"
#include "ops/gemv_shape.h"

namespace mkvm::vm {
namespace {

// Times memory's nominal rate that all workers together ask for.
constexpr double kOverPeak = 1.08;
constexpr double kLongOverPeak = 1.24;

// Whether most weights of a pass belong to gemvs of several chunks.
bool IsLong(const isa::Program& program, uint32_t num_stages) {
  uint64_t weights = 0;
  uint64_t of_long = 0;
  for (const auto& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      if (instruction.opcode != static_cast<uint16_t>(isa::Opcode::kGemv)) {
        continue;
      }
      const auto op = isa::DecodeOperands<isa::GemvOperands>(instruction);
      const uint32_t matrices = op.w2 == isa::kNoBuffer ? 1 : 2;
      const ops::GemvShape shape =
          ops::MakeGemvShape(op.rows, op.k, matrices, num_stages);
      const uint64_t elements = uint64_t{op.rows} * op.k * matrices;
      weights += elements;
      if (shape.panels > shape.group || shape.slabs > shape.chunk) {
        of_long += elements;
      }
    }
  }
  return of_long > weights / 2;
}

}  // namespace

uint32_t CopyIntervalCycles(const GpuInfo& info, const isa::Program& program,
                            uint32_t num_stages) {
  // At most, for a driver that tells nonsense.
  constexpr double kMost = 16384;
  if (info.memory_bytes_per_s <= 0) return 0;
  const double bytes =
      static_cast<double>(isa::kStageBytes) *
      static_cast<double>(program.num_workers()) /
      (IsLong(program, num_stages) ? kLongOverPeak : kOverPeak);
  return static_cast<uint32_t>(
      std::min(kMost, bytes / info.memory_bytes_per_s * info.clock_hz));
}

}  // namespace mkvm::vm
