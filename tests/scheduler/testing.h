// Shared by the scheduler's tests.
#ifndef MKVM_TESTS_SCHEDULER_TESTING_H_
#define MKVM_TESTS_SCHEDULER_TESTING_H_

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/compile.h"
#include "scheduler/graph.h"

namespace mkvm::scheduler {

// Small, and nothing divides evenly: 203 rows of vocabulary are 25 panels and
// 3 rows, 104 of the MLP are 13 panels.
inline model::Config OddConfig() {
  model::Config c;
  c.name = "odd";
  c.hidden_size = 72;
  c.intermediate_size = 104;
  c.num_layers = 3;
  c.num_q_heads = 6;
  c.num_kv_heads = 2;
  c.head_dim = 24;
  c.vocab_size = 203;
  c.max_positions = 100;
  c.rope_theta = 1e6;
  c.tie_word_embeddings = true;
  return c;
}

inline Target TestTarget(uint32_t workers, bool panels = true) {
  Target t = FindTarget("h200").value();
  t.workers = workers;
  t.panels = panels;
  return t;
}

// The program, or a failure and an empty one.
inline isa::Program MustCompile(const model::Config& config,
                                const Target& target,
                                const CompileOptions& options = {}) {
  absl::StatusOr<isa::Program> program = Compile(config, target, options);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *program : isa::Program();
}

inline const isa::Buffer* BufferNamed(const isa::Program& program,
                                      const std::string& name) {
  const uint32_t id = isa::FindBuffer(program, name);
  return id == isa::kNoBuffer ? nullptr : &program.buffers[id];
}

// Calls visit(worker, pc, instruction) for every instruction.
template <typename Visit>
void ForEach(const isa::Program& program, Visit visit) {
  for (uint32_t w = 0; w < program.queues.size(); ++w) {
    for (uint32_t pc = 0; pc < program.queues[w].size(); ++pc) {
      visit(w, pc, program.queues[w][pc]);
    }
  }
}

inline bool Is(const isa::Instruction& instruction, isa::Opcode opcode) {
  return instruction.opcode == static_cast<uint16_t>(opcode);
}

}  // namespace mkvm::scheduler

#endif  // MKVM_TESTS_SCHEDULER_TESTING_H_
