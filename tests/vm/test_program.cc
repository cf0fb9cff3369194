#include "tests/vm/test_program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "vm/gpu_machine.h"

namespace mkvm::vm {

using isa::BufferKind;
using isa::DType;

ProgramBuilder::ProgramBuilder(uint32_t workers) {
  program_.name = "test";
  program_.queues.resize(workers);
  program_.labels.resize(workers);
}

uint32_t ProgramBuilder::Buffer(const std::string& name, DType dtype,
                                BufferKind kind, std::vector<uint64_t> shape) {
  program_.buffers.push_back({.name = name,
                              .dtype = dtype,
                              .kind = kind,
                              .layout = isa::Layout::kRows,
                              .shape = std::move(shape)});
  return static_cast<uint32_t>(program_.buffers.size() - 1);
}

uint32_t ProgramBuilder::Counter(const std::string& name) {
  program_.counters.push_back({.name = name, .producers = 0});
  return static_cast<uint32_t>(program_.counters.size() - 1);
}

void ProgramBuilder::Append(uint32_t worker, const std::string& label,
                            const isa::Instruction& encoded,
                            const std::vector<WaitFor>& waits,
                            uint32_t signal) {
  isa::Instruction instruction = encoded;
  for (const WaitFor& wait : waits) {
    isa::AddWait(instruction, wait.counter, 0, wait.lag);
  }
  instruction.signal = signal;
  if (signal != isa::kNoCounter) ++program_.counters[signal].producers;
  program_.queues[worker].push_back(instruction);
  program_.labels[worker].push_back(label);
}

isa::Program ProgramBuilder::Build() const {
  isa::Program program = program_;
  for (std::vector<isa::Instruction>& queue : program.queues) {
    for (isa::Instruction& instruction : queue) {
      for (int i = 0; i < instruction.num_waits; ++i) {
        isa::Wait& wait = instruction.waits[i];
        wait.threshold = program.counters[wait.counter].producers;
      }
    }
  }
  return program;
}

isa::AddOperands Sum(uint32_t a, uint32_t b, uint32_t y, uint32_t begin,
                     uint32_t count) {
  isa::AddOperands op;
  op.a = a;
  op.b = b;
  op.y = y;
  op.begin = begin;
  op.count = count;
  return op;
}

isa::Instruction& Labelled(isa::Program& program, const std::string& label) {
  isa::Instruction* found = nullptr;
  for (uint32_t w = 0; w < program.num_workers(); ++w) {
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (program.labels[w][pc] != label) continue;
      EXPECT_EQ(found, nullptr) << "two instructions are called " << label;
      found = &program.queues[w][pc];
    }
  }
  EXPECT_NE(found, nullptr) << "no instruction is called " << label;
  return *found;
}

void RemoveWaits(isa::Instruction& instruction) {
  instruction.num_waits = 0;
  instruction.lags = 0;
}

void RemoveWait(isa::Instruction& instruction, int i) {
  const int n = instruction.num_waits;
  const uint8_t lags = instruction.lags;
  instruction.lags = 0;
  instruction.num_waits = 0;
  for (int j = 0; j < n; ++j) {
    if (j == i) continue;
    const isa::Wait wait = instruction.waits[j];
    isa::AddWait(instruction, wait.counter, wait.threshold, lags >> j & 1);
  }
}

isa::Program CountingProgram(uint32_t workers) {
  constexpr uint32_t kV = kVocabulary;
  const uint32_t rows = kV / workers;
  ProgramBuilder b(workers);
  const uint32_t tokens =
      b.Buffer("tokens", DType::kI32, BufferKind::kState, {kPositions + 1});
  const uint32_t run = b.Buffer("run", DType::kI32, BufferKind::kInput, {2});
  const uint32_t eos = b.Buffer("eos", DType::kI32, BufferKind::kInput, {2});
  const uint32_t stop = b.Buffer("stop", DType::kI32, BufferKind::kState, {1});
  const auto weight = [&](const char* name, std::vector<uint64_t> shape) {
    return b.Buffer(name, DType::kBf16, BufferKind::kWeight, std::move(shape));
  };
  const uint32_t table = weight("table", {kV, kV});
  const uint32_t mix = weight("mix", {kV, kV});
  const uint32_t norm = weight("norm", {kV});
  const uint32_t head = weight("head", {kV, kV});
  const uint32_t x = b.Activation("x", kV);
  const uint32_t h = b.Activation("h", kV);
  const uint32_t y = b.Activation("y", kV);
  const uint32_t scores = b.Activation("scores", kV);
  const uint32_t best =
      b.Buffer("best", DType::kRanked, BufferKind::kActivation, {workers});
  const uint32_t chosen =
      b.Buffer("chosen", DType::kRanked, BufferKind::kActivation, {1});
  const uint32_t x_ready = b.Counter("x");
  const uint32_t h_ready = b.Counter("h");
  const uint32_t y_ready = b.Counter("y");
  const uint32_t best_ready = b.Counter("best");
  const uint32_t advanced = b.Counter("advanced");

  isa::EmbedOperands embed;
  embed.tokens = tokens;
  embed.table = table;
  embed.y = x;
  embed.count = kV;
  b.Add(0, "embed", embed, {}, x_ready);
  for (uint32_t w = 0; w < workers; ++w) {
    isa::GemvOperands gemv;
    gemv.x = x;
    gemv.w = mix;
    gemv.y = h;
    gemv.row_begin = w * rows;
    gemv.rows = rows;
    gemv.k = kV;
    gemv.tokens_per_pass = 1;
    b.Add(w, absl::StrCat("mix[", w, "]"), gemv, {{x_ready}}, h_ready);
    isa::RmsNormOperands rms;
    rms.x = h;
    rms.g = norm;
    rms.y = y;
    rms.k = kV;
    rms.begin = w * rows;
    rms.count = rows;
    b.Add(w, absl::StrCat("norm[", w, "]"), rms, {{h_ready}}, y_ready);
    gemv.x = y;
    gemv.w = head;
    gemv.y = scores;
    gemv.best = best;
    gemv.slot = w;
    gemv.epilogue = isa::Epilogue::kArgmax;
    b.Add(w, absl::StrCat("head[", w, "]"), gemv, {{y_ready}}, best_ready);
  }
  isa::ArgmaxOperands argmax;
  argmax.x = best;
  argmax.y = chosen;
  argmax.n = workers;
  b.Add(0, "argmax", argmax, {{best_ready}});
  isa::AdvanceOperands advance;
  advance.best = chosen;
  advance.run = run;
  advance.eos = eos;
  advance.tokens = tokens;
  advance.stop = stop;
  b.Add(0, "advance", advance, {}, advanced);
  for (uint32_t w = 0; w < workers; ++w) {
    isa::HaltOperands halt;
    halt.stop = stop;
    b.Add(w, absl::StrCat("halt[", w, "]"), halt, {{advanced}});
  }
  return b.Build();
}

namespace {

void Bind(Machine& machine, const std::string& name, DType dtype,
          std::vector<uint64_t> shape, const void* data) {
  const absl::Status status =
      machine.Bind(name, {dtype, std::move(shape), data});
  ASSERT_TRUE(status.ok()) << status;
}

std::vector<uint64_t> ShapeOf(const Machine& machine, const std::string& name) {
  const uint32_t id = isa::FindBuffer(machine.program(), name);
  EXPECT_NE(id, isa::kNoBuffer) << name;
  return machine.program().buffers[id].shape;
}

template <typename T>
std::vector<T> ReadAll(Machine& machine, const std::string& name) {
  std::vector<T> values(isa::NumElements(
      machine.program().buffers[isa::FindBuffer(machine.program(), name)]));
  const absl::Status status = machine.Read(
      name,
      {reinterpret_cast<char*>(values.data()), values.size() * sizeof(T)});
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

}  // namespace

void BindFloats(Machine& machine, const std::string& name,
                const std::vector<float>& values) {
  Bind(machine, name, DType::kF32, ShapeOf(machine, name), values.data());
}

void BindInts(Machine& machine, const std::string& name,
              const std::vector<int32_t>& values) {
  Bind(machine, name, DType::kI32, ShapeOf(machine, name), values.data());
}

std::vector<float> ReadFloats(Machine& machine, const std::string& name) {
  return ReadAll<float>(machine, name);
}

std::vector<int32_t> ReadInts(Machine& machine, const std::string& name) {
  return ReadAll<int32_t>(machine, name);
}

void BindCounting(Machine& machine, int32_t first, int32_t end, int32_t eos) {
  constexpr uint32_t kV = kVocabulary;
  std::vector<float> identity(kV * kV, 0.0f);
  std::vector<float> successor(kV * kV, 0.0f);
  for (uint32_t i = 0; i < kV; ++i) {
    identity[i * kV + i] = 1.0f;
    successor[(i + 1) % kV * kV + i] = 1.0f;
  }
  BindFloats(machine, "table", identity);
  BindFloats(machine, "mix", identity);
  BindFloats(machine, "norm", std::vector<float>(kV, 1.0f));
  BindFloats(machine, "head", successor);
  BindInts(machine, "run", {1, end});
  BindInts(machine, "eos", {-1, eos});
  std::vector<int32_t> tokens(kPositions + 1, 0);
  tokens[0] = first;
  BindInts(machine, "tokens", tokens);
}

isa::Program AccumulatingProgram() {
  ProgramBuilder b(2);
  const uint32_t c = b.Buffer("c", DType::kF24, BufferKind::kInput, {16});
  const uint32_t x = b.Activation("x", 16);
  const uint32_t sum = b.State("sum", 16);
  const uint32_t x_ready = b.Counter("x.ready");
  const uint32_t x_read = b.Counter("x.read");
  b.Add(0, "make", Sum(c, c, x, 0, 16), {{x_read, true}}, x_ready);
  b.Add(1, "take", Sum(sum, x, sum, 0, 16), {{x_ready}}, x_read);
  b.Add(0, "halt0", isa::HaltOperands());
  b.Add(1, "halt1", isa::HaltOperands());
  return b.Build();
}

std::unique_ptr<Machine> MakeMachine(const isa::Program& program,
                                     const CpuMachineOptions& options) {
  auto machine = CreateCpuMachine(program, options);
  EXPECT_TRUE(machine.ok()) << machine.status();
  return machine.ok() ? *std::move(machine) : nullptr;
}

double RelativeError(const std::vector<float>& got,
                     const std::vector<float>& want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

bool GpuIsEmulated() {
  const absl::StatusOr<GpuInfo> info = QueryGpu(0);
  return info.ok() && info->name == "emulated GPU";
}

int32_t GpuPasses(int32_t passes) {
  return GpuIsEmulated() ? std::min(passes, 8 + passes / 50) : passes;
}

uint32_t GpuWorkers(uint32_t workers) {
  return GpuIsEmulated() ? std::min(workers, 4u) : workers;
}

}  // namespace mkvm::vm
