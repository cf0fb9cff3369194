// One instruction at a time: header, operands, requirements, bounds.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "isa/verifier_fields.h"

namespace mkvm::isa {
namespace {

constexpr uint16_t kKnownFlags = kFlagRelease;

class InstructionChecker {
 public:
  InstructionChecker(const Program& program, Report& report)
      : program_(program), report_(report) {}

  void Check(Place place) {
    place_ = place;
    i_ = &program_.queues[place.worker][place.pc];
    info_ = FindOpcode(i_->opcode);
    if (info_ == nullptr) {
      Error("the opcode is unknown");
      return;
    }
    CheckHeader();
    if (!CheckOperands()) return;  // the regions below need valid buffers
    CheckPolled();
    if (!CheckRequirements()) return;
    CheckBounds();
  }

 private:
  template <typename... Parts>
  void Error(const Parts&... parts) {
    report_.Add(place_, absl::StrCat(parts...));
  }

  void CheckHeader() {
    const Instruction& i = *i_;
    if (i.flags & ~kKnownFlags) Error("unknown flags are set");
    if (i.signal != kNoCounter && i.signal >= program_.counters.size()) {
      Error("it signals counter number ", i.signal, ", but there are ",
            program_.counters.size());
    }
    if (i.num_waits > kMaxWaits) {
      Error("it has ", int{i.num_waits}, " waits, more than ", kMaxWaits);
      return;
    }
    if (i.lags >> i.num_waits) Error("a lag bit is set for a wait not there");
    if (i.tagged >> i.num_waits) {
      Error("a tagged bit is set for a wait not there");
    }
    for (int k = 0; k < kMaxWaits; ++k) {
      const Wait& wait = i.waits[k];
      if (k >= i.num_waits) {
        if (wait.counter != 0 || wait.threshold != 0) {
          Error("unused wait ", k, " is not zero");
        }
      } else if (wait.counter >= program_.counters.size()) {
        Error("it waits for counter number ", wait.counter, ", but there are ",
              program_.counters.size());
      }
    }
  }

  // Whether every buffer operand is one that AppendAccesses can look at.
  bool CheckOperands() {
    bool buffers_are_valid = true;
    for (size_t k = 0; k < kOperandWords; ++k) {
      const uint32_t word = i_->operands[k];
      if (k >= info_->operands.size()) {
        if (word != 0) Error("unused operand word ", k, " is not zero");
        continue;
      }
      const OperandInfo& operand = info_->operands[k];
      switch (operand.kind) {
        case OperandKind::kBuffer:
          buffers_are_valid &= CheckBuffer(operand, word);
          break;
        case OperandKind::kEnum:
          if (word >= operand.values.size()) {
            Error(operand.name, " is ", word, ", which has no name");
            buffers_are_valid = false;
          }
          break;
        case OperandKind::kF32: {
          float value;
          std::memcpy(&value, &word, sizeof(value));
          if (!std::isfinite(value)) Error(operand.name, " is not finite");
          break;
        }
        case OperandKind::kU32:
          break;
      }
    }
    return buffers_are_valid;
  }

  bool CheckBuffer(const OperandInfo& operand, uint32_t word) {
    if (word == kNoBuffer) {
      if (operand.optional) return true;
      Error(operand.name, " is missing");
      return false;
    }
    if (word >= program_.buffers.size()) {
      Error(operand.name, " is buffer number ", word, ", but there are ",
            program_.buffers.size());
      return false;
    }
    const Buffer& buffer = program_.buffers[word];
    if ((operand.dtypes >> static_cast<int>(buffer.dtype) & 1) == 0) {
      Error(operand.name, " is ", buffer.name, " of dtype ",
            isa::Name(buffer.dtype), ", but must be ",
            DTypeNames(operand.dtypes));
    }
    CheckKind(operand, buffer);
    return true;
  }

  void CheckKind(const OperandInfo& operand, const Buffer& buffer) {
    const bool constant =
        buffer.kind == BufferKind::kWeight || buffer.kind == BufferKind::kInput;
    switch (operand.access) {
      case AccessKind::kRead:
        return;
      case AccessKind::kWeight:
        if (!constant) {
          Error(operand.name, " is fetched ahead of the waits, but ",
                buffer.name, " is ", isa::Name(buffer.kind),
                ", not weight or input");
        }
        return;
      case AccessKind::kWrite:
        if (constant) {
          Error(operand.name, " writes ", buffer.name, ", which is ",
                isa::Name(buffer.kind), " and never written");
        }
        return;
      case AccessKind::kUpdate:
        if (buffer.kind != BufferKind::kState) {
          Error(operand.name, " updates ", buffer.name, ", which is ",
                isa::Name(buffer.kind), ", not state");
        }
        return;
    }
  }

  static std::string DTypeNames(uint32_t dtypes) {
    std::vector<absl::string_view> names;
    for (int d = 0; d <= static_cast<int>(DType::kRanked); ++d) {
      if (dtypes >> d & 1) names.push_back(isa::Name(static_cast<DType>(d)));
    }
    return absl::StrJoin(names, " or ");
  }

  // Only f24 and ranked activations carry tags.
  void CheckPolled() {
    for (uint32_t k = 0; k < 32; ++k) {
      if (!(i_->polled >> k & 1)) continue;
      if (k >= info_->operands.size() ||
          info_->operands[k].kind != OperandKind::kBuffer ||
          info_->operands[k].access != AccessKind::kRead) {
        Error("operand ", k, " is polled, but is not a buffer that is read");
        continue;
      }
      const absl::string_view name = info_->operands[k].name;
      if (i_->operands[k] == kNoBuffer) {
        Error(name, " is polled, but not given");
        continue;
      }
      const Buffer& buffer = program_.buffers[i_->operands[k]];
      if (buffer.kind != BufferKind::kActivation ||
          (buffer.dtype != DType::kF24 && buffer.dtype != DType::kRanked)) {
        Error(name, " is polled, but ", buffer.name, " is ",
              isa::Name(buffer.kind), " ", isa::Name(buffer.dtype),
              " and carries no tags; activations of f24 or ranked do");
      }
    }
  }

  bool CheckRequirements() {
    broken_.clear();
    AppendBrokenRequirements(program_, *i_, broken_);
    for (absl::string_view message : broken_) Error(message);
    return broken_.empty();
  }

  void CheckBounds() {
    accesses_.clear();
    AppendAccesses(program_, *i_, accesses_);
    for (const Access& access : accesses_) {
      const uint64_t elements = NumElements(program_.buffers[access.buffer]);
      if (access.begin > elements || access.count > elements - access.begin) {
        Error(info_->operands[access.operand].name, " covers ",
              program_.buffers[access.buffer].name, "[", access.begin, "..+",
              access.count, "), but ", program_.buffers[access.buffer].name,
              " has ", elements, " elements");
      }
    }
  }

  const Program& program_;
  Report& report_;
  Place place_{};
  const Instruction* i_ = nullptr;
  const OpcodeInfo* info_ = nullptr;
  std::vector<absl::string_view> broken_;
  std::vector<Access> accesses_;
};

}  // namespace

void CheckInstructions(const Program& program, Report& report) {
  InstructionChecker checker(program, report);
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      checker.Check({w, pc});
      if (report.full()) return;
    }
  }
}

}  // namespace mkvm::isa
