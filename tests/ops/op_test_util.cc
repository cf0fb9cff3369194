#include "tests/ops/op_test_util.h"

#include <cstring>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "ops/op_context.h"
#include "vm/gpu_machine.h"

namespace mkvm::ops {
namespace {

using isa::BufferKind;
using isa::DType;
using isa::Layout;

template <typename T>
T Load(const std::string& bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void Store(std::string& bytes, size_t i, T value) {
  ASSERT_LE((i + 1) * sizeof(T), bytes.size());
  std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
}

bool IsFloat(DType dtype) {
  return dtype == DType::kF24 || dtype == DType::kBf16 || dtype == DType::kF32;
}

}  // namespace

uint32_t OpProgram::AddBuffer(absl::string_view name, DType dtype,
                              BufferKind kind, Layout layout,
                              std::vector<uint64_t> shape) {
  const auto id = static_cast<uint32_t>(buffers_.size());
  buffers_.push_back({.name = std::string(name),
                      .dtype = dtype,
                      .kind = kind,
                      .layout = layout,
                      .shape = std::move(shape)});
  const uint64_t elements = NumElements(buffers_.back());
  data_.emplace_back(elements * SizeOf(dtype), '\0');
  if (kind == BufferKind::kActivation) Poison(id);
  return id;
}

void OpProgram::Poison(uint32_t id) {
  if (!IsFloat(buffers_[id].dtype)) return;
  Set(id, std::vector<float>(NumElements(buffers_[id]), kUnwritten));
}

uint32_t OpProgram::Weight(absl::string_view name, DType dtype,
                           std::vector<uint64_t> shape) {
  return AddBuffer(name, dtype, BufferKind::kWeight, Layout::kRows,
                   std::move(shape));
}

uint32_t OpProgram::Matrix(absl::string_view name, uint64_t rows,
                           uint64_t columns) {
  return AddBuffer(name, DType::kBf16, BufferKind::kWeight, Layout::kPanels,
                   {rows, columns});
}

uint32_t OpProgram::Input(absl::string_view name, DType dtype,
                          std::vector<uint64_t> shape) {
  return AddBuffer(name, dtype, BufferKind::kInput, Layout::kRows,
                   std::move(shape));
}

uint32_t OpProgram::Activation(absl::string_view name, DType dtype,
                               std::vector<uint64_t> shape) {
  return AddBuffer(name, dtype, BufferKind::kActivation, Layout::kRows,
                   std::move(shape));
}

uint32_t OpProgram::State(absl::string_view name, DType dtype,
                          std::vector<uint64_t> shape) {
  return AddBuffer(name, dtype, BufferKind::kState, Layout::kRows,
                   std::move(shape));
}

uint32_t OpProgram::Output(absl::string_view name, DType dtype,
                           std::vector<uint64_t> shape) {
  const uint32_t id = State(name, dtype, std::move(shape));
  Poison(id);
  return id;
}

void OpProgram::Set(uint32_t id, absl::Span<const float> values) {
  ASSERT_EQ(values.size(), NumElements(buffers_[id])) << buffers_[id].name;
  for (size_t i = 0; i < values.size(); ++i) {
    switch (buffers_[id].dtype) {
      case DType::kF24:
        Store(data_[id], i, isa::RoundToF24(values[i]));
        break;
      case DType::kBf16:
        Store(data_[id], i, isa::Bf16BitsOfFloat(values[i]));
        break;
      case DType::kF32:
        Store(data_[id], i, values[i]);
        break;
      default:
        FAIL() << buffers_[id].name << " does not hold floats";
    }
  }
}

void OpProgram::SetInts(uint32_t id, absl::Span<const int32_t> values) {
  ASSERT_EQ(buffers_[id].dtype, DType::kI32);
  ASSERT_EQ(values.size(), NumElements(buffers_[id])) << buffers_[id].name;
  for (size_t i = 0; i < values.size(); ++i) Store(data_[id], i, values[i]);
}

void OpProgram::SetRanked(uint32_t id,
                          absl::Span<const std::pair<float, uint32_t>> values) {
  ASSERT_EQ(buffers_[id].dtype, DType::kRanked);
  ASSERT_EQ(values.size(), NumElements(buffers_[id])) << buffers_[id].name;
  for (size_t i = 0; i < values.size(); ++i) {
    Store(data_[id], i, isa::PackRanked(values[i].first, values[i].second, 0));
  }
}

void OpProgram::SetRandom(uint32_t id, uint32_t seed, float scale,
                          float center) {
  std::mt19937 generator(seed);
  std::vector<float> values(NumElements(buffers_[id]));
  for (float& value : values) {
    const double unit = static_cast<double>(generator()) / 0x1p32;  // [0, 1)
    value = center + static_cast<float>((2.0 * unit - 1.0) * scale);
  }
  Set(id, values);
}

std::vector<float> OpProgram::Floats(uint32_t id) const {
  std::vector<float> values(NumElements(buffers_[id]));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = buffers_[id].dtype == DType::kBf16
                    ? isa::FloatOfBf16Bits(Load<uint16_t>(data_[id], i))
                    : Load<float>(data_[id], i);
  }
  return values;
}

std::vector<double> OpProgram::Doubles(uint32_t id) const {
  const std::vector<float> values = Floats(id);
  return {values.begin(), values.end()};
}

std::vector<int32_t> OpProgram::Ints(uint32_t id) const {
  std::vector<int32_t> values(NumElements(buffers_[id]));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = Load<int32_t>(data_[id], i);
  }
  return values;
}

std::vector<std::pair<float, uint32_t>> OpProgram::Ranked(uint32_t id) const {
  std::vector<std::pair<float, uint32_t>> values(NumElements(buffers_[id]));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto word = Load<uint64_t>(data_[id], i);
    EXPECT_EQ(isa::TagOfRanked(word), 0u);
    values[i] = {isa::ScoreOfRanked(word), isa::IndexOfRanked(word)};
  }
  return values;
}

isa::Program OpProgram::Build() const {
  isa::Program program;
  program.name = "op_test";
  program.target.stages = stages_;
  program.buffers = buffers_;
  program.queues = {instructions_};
  if (instructions_.empty() || instructions_.back().opcode !=
                                   static_cast<uint16_t>(isa::Opcode::kHalt)) {
    program.queues[0].push_back(isa::Encode(isa::HaltOperands{}));
  }
  program.labels.emplace_back();
  for (size_t pc = 0; pc < program.queues[0].size(); ++pc) {
    program.labels[0].push_back(absl::StrCat("i", pc));
  }
  return program;
}

absl::Status OpProgram::RunReference(int64_t position) {
  std::vector<HostBuffer> buffers;
  for (size_t id = 0; id < buffers_.size(); ++id) {
    buffers.push_back({.data = data_[id].data(),
                       .dtype = buffers_[id].dtype,
                       .shape = buffers_[id].shape});
  }
  OpContext context(buffers);
  context.position = position;
  context.on_token = [this](int64_t p, int32_t token) {
    tokens_.emplace_back(p, token);
  };
  for (const isa::Instruction& instruction : instructions_) {
    if (absl::Status status = RunInstruction(instruction, context);
        !status.ok()) {
      return status;
    }
  }
  ExpectAllF24();
  return absl::OkStatus();
}

void OpProgram::ExpectAllF24() const {
  for (uint32_t id = 0; id < buffers_.size(); ++id) {
    if (buffers_[id].dtype != DType::kF24) continue;
    const std::vector<float> values = Floats(id);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(isa::BitsOfFloat(values[i]) & 0xffu, 0u)
          << buffers_[id].name << "[" << i << "] is not rounded to f24";
    }
  }
}

absl::Status OpProgram::RunGpu(int64_t position, int64_t max_passes) {
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine =
      vm::CreateGpuMachine(Build(), {});
  if (!machine.ok()) return machine.status();
  for (size_t id = 0; id < buffers_.size(); ++id) {
    const isa::Buffer& buffer = buffers_[id];
    if (buffer.kind == BufferKind::kActivation) continue;
    const vm::HostTensor tensor = {
        .dtype = buffer.dtype, .shape = buffer.shape, .data = data_[id].data()};
    if (absl::Status status = (*machine)->Bind(buffer.name, tensor);
        !status.ok()) {
      return status;
    }
  }
  vm::RunOptions options;
  options.first_position = position;
  options.max_passes = max_passes;
  options.on_token = [this](int64_t p, int32_t token) {
    tokens_.emplace_back(p, token);
  };
  absl::StatusOr<vm::RunResult> result = (*machine)->Run(options);
  if (!result.ok()) return result.status();
  gpu_passes_ = result->passes;
  for (size_t id = 0; id < buffers_.size(); ++id) {
    if (buffers_[id].kind != BufferKind::kActivation &&
        buffers_[id].kind != BufferKind::kState) {
      continue;
    }
    if (absl::Status status = (*machine)->Read(
            buffers_[id].name, {data_[id].data(), data_[id].size()});
        !status.ok()) {
      return status;
    }
  }
  ExpectAllF24();
  return absl::OkStatus();
}

absl::Status GpuStatus() { return vm::QueryGpu(0).status(); }

}  // namespace mkvm::ops
