// Qwen3 in double precision, one line per formula: the oracle that knows
// nothing of programs. The KV cache alone is rounded to bf16, as the model's.
#ifndef MKVM_TESTS_SCHEDULER_NAIVE_QWEN3_H_
#define MKVM_TESTS_SCHEDULER_NAIVE_QWEN3_H_

#include <cstdint>
#include <string>
#include <vector>

#include "model/weights.h"

namespace mkvm::scheduler {

class NaiveQwen3 {
 public:
  // `weights` outlives this.
  explicit NaiveQwen3(model::Weights& weights);

  // The logits after one more token.
  std::vector<double> Step(int32_t token);

 private:
  using Vector = std::vector<double>;

  Vector Get(const std::string& name);
  // w [rows, x.size()] times x.
  Vector Multiply(const std::string& name, const Vector& x);
  Vector Norm(const Vector& x, const std::string& name);
  // Norm and rotary embedding of one head of `x`.
  Vector Head(const Vector& x, uint32_t head, const std::string& norm);
  Vector Attention(uint32_t layer, const Vector& x);

  model::Weights& weights_;
  const model::Config& c_;
  size_t position_ = 0;
  // [layer][kv head][position], each a head
  std::vector<std::vector<std::vector<Vector>>> keys_, values_;
};

}  // namespace mkvm::scheduler

#endif  // MKVM_TESTS_SCHEDULER_NAIVE_QWEN3_H_
