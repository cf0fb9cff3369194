// A program: buffers, counters, and one queue of instructions per worker.
//
// A program is data. It names its weights, says where every dependency runs,
// and holds nothing of the machine that will run it but the sizes in Target.
// docs/program_format.md describes the file; docs/isa.md the opcodes.
#ifndef MKVM_ISA_PROGRAM_H_
#define MKVM_ISA_PROGRAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/instruction.h"

namespace mkvm::isa {

enum class DType : uint8_t {
  kF24 = 0,     // activations: 4 bytes, 16 significant bits and a tag (f24.h)
  kBf16 = 1,    // 2 bytes
  kF32 = 2,     // 4 bytes
  kI32 = 3,     // 4 bytes
  kRanked = 4,  // 8 bytes: score, index, tag (f24.h)
};
uint32_t SizeOf(DType dtype);         // bytes of one element
absl::string_view Name(DType dtype);  // "f24", "bf16", "f32", "i32", "ranked"

enum class BufferKind : uint8_t {
  kWeight = 0,      // bound by name before the run, read only
  kInput = 1,       // bound before the run, read only; small, may change
  kActivation = 2,  // every element written once per pass, before it is read
  kState = 3,       // survives passes and launches; zero unless bound
};
absl::string_view Name(BufferKind kind);  // "weight", "input", ...

// How a machine may store a buffer. The logical shape never changes.
enum class Layout : uint8_t {
  kRows = 0,  // row-major
  // bf16 matrices [rows, k] packed for the weight stream: panels of 8 rows,
  // each a run of tiles of 8 rows x 32 columns of 512 bytes that a warp reads
  // as one mma.m16n8k16 A operand (ops/panel.h). Rows are padded with zeros to
  // 8, columns to 32. A machine without a use for it (the CPU) ignores it.
  kPanels = 1,
};
absl::string_view Name(Layout layout);  // "rows", "panels"

struct Buffer {
  std::string name;  // unique, [A-Za-z0-9_.-]+
  DType dtype = DType::kF24;
  BufferKind kind = BufferKind::kActivation;
  Layout layout = Layout::kRows;
  std::vector<uint64_t> shape;  // 1 to 4 dimensions, each > 0
};
uint64_t NumElements(const Buffer& buffer);

struct Counter {
  std::string name;        // unique, [A-Za-z0-9_.-]+
  uint32_t producers = 0;  // instructions that signal it in one pass
};

// What the program was scheduled for.
struct Target {
  std::string name = "any";            // e.g. "h200", "cpu"
  uint32_t stages = 4;                 // stages of the weight stream per worker
  uint32_t stage_bytes = kStageBytes;  // bytes of one stage
  uint32_t shared_memory_bytes = 0;    // per worker; 0: not limited
};

struct Program {
  std::string name;
  Target target;
  // Of the model's geometry (0: none): a snapshot of another geometry is
  // refused at load with a message rather than by a missing tensor.
  uint64_t model_fingerprint = 0;
  std::string model;  // for people, e.g. "qwen3 hidden=1024 layers=28 ..."
  std::vector<Buffer> buffers;
  std::vector<Counter> counters;
  std::vector<std::vector<Instruction>> queues;  // one per worker
  // Debug names, e.g. "L03.qkv[17]", of up to 256 bytes; the same shape as
  // `queues`.
  std::vector<std::vector<std::string>> labels;

  uint32_t num_workers() const { return static_cast<uint32_t>(queues.size()); }
};
uint64_t NumInstructions(const Program& program);
// Index of the buffer or counter, or kNoBuffer / kNoCounter.
uint32_t FindBuffer(const Program& program, absl::string_view name);
uint32_t FindCounter(const Program& program, absl::string_view name);

// The binary form. Parse checks magic, version, checksum, sizes and that every
// enum is known; it does not verify the program (isa/verifier.h does). Errors:
// InvalidArgument, naming byte offset and field.
std::string SerializeProgram(const Program& program);
absl::StatusOr<Program> ParseProgram(absl::string_view bytes);

// Files; "-" is stdout and stdin. Errors are one line (several for assembly)
// that names the file.
absl::Status WriteProgramFile(const Program& program, absl::string_view path);
// Reads either form: binary by its magic, else assembly text.
absl::StatusOr<Program> ReadProgramFile(absl::string_view path);

// The same program with every edge carried by counters: no tagged waits, no
// polled operands, every signal a release. Results are bit-identical.
Program WithCountersOnly(Program program);

// The same program with a nop before every instruction, which waits for nothing
// and tells nobody. Results are bit-identical; the difference in time is what
// interpreting an instruction costs.
Program WithNops(const Program& program);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_PROGRAM_H_
