#include "isa/opcode_table.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::isa {
namespace {

constexpr uint32_t F24 = 1u << static_cast<int>(DType::kF24);
constexpr uint32_t BF16 = 1u << static_cast<int>(DType::kBf16);
constexpr uint32_t F32 = 1u << static_cast<int>(DType::kF32);
constexpr uint32_t I32 = 1u << static_cast<int>(DType::kI32);
constexpr uint32_t RANKED = 1u << static_cast<int>(DType::kRanked);

constexpr std::array<absl::string_view, 2> kPrologueValues = {"none",
                                                              "rms_norm"};
constexpr std::array<absl::string_view, 4> kEpilogueValues = {
    "store", "add", "silu_mul", "argmax"};
constexpr std::array<absl::string_view, 2> kAttentionPrologueValues = {
    "none", "qk_norm_rope"};

// One array of operands per opcode; a trailing sentinel keeps the opcodes
// without operands well-formed.
#define MKVM_BUFFER(f, access, optional, reads_some, d, s) \
  {#f,                                                     \
   OperandKind::kBuffer,                                   \
   AccessKind::access,                                     \
   optional,                                               \
   reads_some,                                             \
   optional,                                               \
   kNoBuffer,                                              \
   d,                                                      \
   s,                                                      \
   "",                                                     \
   {}},
#define MKVM_IMMEDIATE(f, kind, d, values, has_default, bits) \
  {#f,                                                        \
   OperandKind::kind,                                         \
   AccessKind::kRead,                                         \
   false,                                                     \
   false,                                                     \
   has_default,                                               \
   bits,                                                      \
   0,                                                         \
   "",                                                        \
   d,                                                         \
   values},
#define MKVM_OP(code, Name, name, synopsis) \
  const OperandInfo k##Name##Info[] = {
#define MKVM_READ(f, d, s, b, c) MKVM_BUFFER(f, kRead, false, false, d, s)
#define MKVM_OPT_READ(f, d, s, b, c) MKVM_BUFFER(f, kRead, true, false, d, s)
#define MKVM_SOME_READ(f, d, s, b, c) MKVM_BUFFER(f, kRead, false, true, d, s)
#define MKVM_OPT_SOME_READ(f, d, s, b, c) \
  MKVM_BUFFER(f, kRead, true, true, d, s)
#define MKVM_WEIGHT(f, d, s, b, c) MKVM_BUFFER(f, kWeight, false, false, d, s)
#define MKVM_OPT_WEIGHT(f, d, s, b, c) \
  MKVM_BUFFER(f, kWeight, true, false, d, s)
#define MKVM_WRITE(f, d, s, b, c) MKVM_BUFFER(f, kWrite, false, false, d, s)
#define MKVM_OPT_WRITE(f, d, s, b, c) MKVM_BUFFER(f, kWrite, true, false, d, s)
#define MKVM_UPDATE(f, d, s, b, c) MKVM_BUFFER(f, kUpdate, false, false, d, s)
#define MKVM_U32(f, d) MKVM_IMMEDIATE(f, kU32, d, {}, false, 0)
#define MKVM_F32(f, d) MKVM_IMMEDIATE(f, kF32, d, {}, false, 0)
#define MKVM_OPT_U32(f, value, d) MKVM_IMMEDIATE(f, kU32, d, {}, true, value)
#define MKVM_OPT_F32(f, value, d) \
  MKVM_IMMEDIATE(f, kF32, d, {}, true, BitsOfFloat(value))
#define MKVM_ENUM(f, Type, d) \
  MKVM_IMMEDIATE(f, kEnum, d, k##Type##Values, true, 0)
#define MKVM_END(Name)                                                       \
  {                                                                          \
    "", OperandKind::kU32, AccessKind::kRead, false, false, false, 0, 0, "", \
        "", {}                                                               \
  }                                                                          \
  }                                                                          \
  ;
#include "isa/opcodes.def"
#undef MKVM_BUFFER
#undef MKVM_IMMEDIATE

// The same for the messages of the requirements.
#define MKVM_OP(code, Name, name, synopsis) \
  constexpr absl::string_view k##Name##Requirements[] = {
#define MKVM_REQUIRE(condition, message) message,
#define MKVM_END(Name) \
  ""                   \
  }                    \
  ;
#include "isa/opcodes.def"

// All but the sentinel.
template <typename T, size_t N>
constexpr absl::Span<const T> Rows(const T (&array)[N]) {
  return absl::MakeConstSpan(array, N - 1);
}

const OpcodeInfo kOpcodes[] = {
#define MKVM_OP(code, Name, name, synopsis)               \
  {Opcode::k##Name, #name, synopsis, Rows(k##Name##Info), \
   Rows(k##Name##Requirements)},
#include "isa/opcodes.def"
};

// The names that regions and conditions of opcodes.def may use.
struct Scope {
  const Program& program;

  bool Has(uint32_t buffer) const { return buffer != kNoBuffer; }
  uint64_t Dim(uint32_t buffer, size_t i) const {
    if (!Has(buffer)) return 0;
    const std::vector<uint64_t>& shape = program.buffers[buffer].shape;
    return i < shape.size() ? shape[i] : 0;
  }
  uint64_t Count(uint32_t buffer) const {
    return Has(buffer) ? NumElements(program.buffers[buffer]) : 0;
  }
  bool IsPanels(uint32_t buffer) const {
    return Has(buffer) && program.buffers[buffer].layout == Layout::kPanels;
  }
};

// Stands for uint64_t in regions: operands that nobody has checked yet must
// give a region that is too large, not one that wrapped around into the buffer.
class Saturating {
 public:
  constexpr Saturating(uint64_t value) : value_(value) {}  // NOLINT: implicit

  uint64_t value() const { return value_; }
  friend Saturating operator*(Saturating a, Saturating b) {
    uint64_t product;
    return __builtin_mul_overflow(a.value_, b.value_, &product) ? kMax
                                                                : product;
  }
  friend Saturating operator+(Saturating a, Saturating b) {
    uint64_t sum;
    return __builtin_add_overflow(a.value_, b.value_, &sum) ? kMax : sum;
  }

 private:
  static constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  uint64_t value_;
};

// The operand is touched below position `alone` if `below`, from it on if
// `from`.
void LimitPositions(size_t operand, uint32_t alone, bool below, bool from,
                    absl::Span<Access> accesses) {
  for (Access& access : accesses) {
    if (access.operand != operand) continue;
    access.first_position = below ? 0 : alone;
    access.end_position = from ? Access::kNoEnd : alone;
  }
}

// The operand's one access becomes `parts` of the same size, each of them from
// its own position on. (Before anybody has checked them the operands may say
// anything; a number of parts that is refused then changes nothing.)
void SplitIntoParts(size_t operand, uint32_t parts, uint32_t tokens,
                    size_t first, std::vector<Access>& accesses) {
  const auto whole = std::find_if(
      accesses.begin() + first, accesses.end(),
      [operand](const Access& access) { return access.operand == operand; });
  if (whole == accesses.end()) return;
  whole->is_part = true;
  if (tokens == 0 || parts < 2 || parts > kMaxParts) return;
  if (whole->count % parts != 0) return;
  Access part = *whole;
  part.count /= parts;
  const auto begin = accesses.insert(whole, parts - 1, part);
  for (uint32_t s = 0; s < parts; ++s) {
    begin[s] = part;
    begin[s].begin += s * part.count;
    begin[s].first_position =
        std::max(part.first_position, uint64_t{s} * tokens);
  }
}

}  // namespace

absl::Span<const OpcodeInfo> AllOpcodes() { return kOpcodes; }

const OpcodeInfo* FindOpcode(uint16_t opcode) {
  for (const OpcodeInfo& info : kOpcodes) {
    if (static_cast<uint16_t>(info.opcode) == opcode) return &info;
  }
  return nullptr;
}

const OpcodeInfo* FindOpcode(absl::string_view name) {
  for (const OpcodeInfo& info : kOpcodes) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

void AppendAccesses(const Program& program, const Instruction& instruction,
                    std::vector<Access>& accesses) {
  const Scope scope{program};
  [[maybe_unused]] auto Has = [&](uint32_t b) { return scope.Has(b); };
  [[maybe_unused]] auto Dim = [&](uint32_t b, size_t i) {
    return Saturating(scope.Dim(b, i));
  };
  [[maybe_unused]] auto Count = [&](uint32_t b) {
    return Saturating(scope.Count(b));
  };
  [[maybe_unused]] const size_t first = accesses.size();
  using uint64_t = Saturating;  // in the regions below
  [[maybe_unused]] uint8_t operand = 0;
  switch (static_cast<Opcode>(instruction.opcode)) {
#define MKVM_ACCESS(field, access, begin, count)                            \
  if (Has(op.field)) {                                                      \
    accesses.push_back({operand, AccessKind::access, op.field,              \
                        uint64_t(begin).value(), uint64_t(count).value()}); \
  }                                                                         \
  ++operand;
#define MKVM_OP(code, Name, name, synopsis) \
  case Opcode::k##Name: {                   \
    using Operands = Name##Operands;        \
    [[maybe_unused]] const auto op = DecodeOperands<Operands>(instruction);
#define MKVM_READ(f, d, s, b, c) MKVM_ACCESS(f, kRead, b, c)
#define MKVM_OPT_READ(f, d, s, b, c) MKVM_ACCESS(f, kRead, b, c)
#define MKVM_WEIGHT(f, d, s, b, c) MKVM_ACCESS(f, kWeight, b, c)
#define MKVM_OPT_WEIGHT(f, d, s, b, c) MKVM_ACCESS(f, kWeight, b, c)
#define MKVM_WRITE(f, d, s, b, c) MKVM_ACCESS(f, kWrite, b, c)
#define MKVM_OPT_WRITE(f, d, s, b, c) MKVM_ACCESS(f, kWrite, b, c)
#define MKVM_UPDATE(f, d, s, b, c) MKVM_ACCESS(f, kUpdate, b, c)
#define MKVM_U32(f, d) ++operand;
#define MKVM_F32(f, d) ++operand;
#define MKVM_ENUM(f, Type, d) ++operand;
#define MKVM_WHEN(f, below, from)                                             \
  LimitPositions(offsetof(Operands, f) / sizeof(op.f), op.alone, below, from, \
                 absl::MakeSpan(accesses).subspan(first));
#define MKVM_PARTS(f, parts, tokens)                                         \
  SplitIntoParts(offsetof(Operands, f) / sizeof(op.f), parts, tokens, first, \
                 accesses);
#define MKVM_END(Name) \
  return;              \
  }
#include "isa/opcodes.def"
#undef MKVM_ACCESS
  }
}

void AppendBrokenRequirements(const Program& program,
                              const Instruction& instruction,
                              std::vector<absl::string_view>& messages) {
  const Scope scope{program};
  [[maybe_unused]] auto Has = [&](uint32_t b) { return scope.Has(b); };
  [[maybe_unused]] auto Dim = [&](uint32_t b, size_t i) {
    return scope.Dim(b, i);
  };
  [[maybe_unused]] auto IsPanels = [&](uint32_t b) {
    return scope.IsPanels(b);
  };
  switch (static_cast<Opcode>(instruction.opcode)) {
#define MKVM_OP(code, Name, name, synopsis) \
  case Opcode::k##Name: {                   \
    [[maybe_unused]] const auto op =        \
        DecodeOperands<Name##Operands>(instruction);
#define MKVM_REQUIRE(condition, message) \
  if (!(condition)) messages.push_back(message);
#define MKVM_END(Name) \
  return;              \
  }
#include "isa/opcodes.def"
  }
}

std::string LabelAndOpcode(const Program& program, uint32_t worker, uint32_t pc,
                           uint32_t opcode) {
  const OpcodeInfo* info = FindOpcode(static_cast<uint16_t>(opcode));
  std::string name = info != nullptr ? std::string(info->name)
                                     : absl::StrFormat("opcode %#x", opcode);
  // Faults may come from a device gone wrong: check every index.
  if (worker < program.labels.size() && pc < program.labels[worker].size() &&
      !program.labels[worker][pc].empty()) {
    return absl::StrCat(program.labels[worker][pc], ", ", name);
  }
  return name;
}

}  // namespace mkvm::isa
