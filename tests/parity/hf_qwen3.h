// Qwen3 as HuggingFace's eager code computes it, op by op, one token at a time:
// in float32, or in bf16 with a rounding wherever that code stores a bf16
// tensor. The float32 form is the oracle between the few logits that the
// reference files hold; the bf16 form says how large HuggingFace's own error
// is. Both are checked against the files before they are used.
#ifndef MKVM_TESTS_PARITY_HF_QWEN3_H_
#define MKVM_TESTS_PARITY_HF_QWEN3_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/weights.h"

namespace mkvm {

enum class Precision { kFloat32, kBf16 };

// model.to(bfloat16) rounds the rotary frequencies too, and a later .float()
// does not bring them back; from_pretrained(dtype=...) never rounds them.
enum class Frequencies { kExact, kBf16 };

// As model::RopeTable, with rounded frequencies or without.
std::vector<float> RopeTable(const model::Config& config,
                             Frequencies frequencies, uint64_t positions);

class HfQwen3 {
 public:
  // `weights` outlives this.
  HfQwen3(model::Weights& weights, Precision precision,
          Frequencies frequencies);

  // The logits after one more token.
  std::vector<float> Step(int32_t token);
  // Forgets every token.
  void Reset();

 private:
  using Vector = std::vector<float>;

  // What storing a tensor does to it.
  float Store(float value) const;
  const Vector& Get(const std::string& name);
  Vector Linear(const std::string& name, const Vector& x);
  Vector Norm(const Vector& x, const Vector& g) const;
  Vector Rotate(const Vector& head) const;
  // Norm and rotation of one head of `x`.
  Vector Head(const Vector& x, uint32_t head, const std::string& norm);
  Vector AttendHead(const Vector& query, const std::vector<Vector>& keys,
                    const std::vector<Vector>& values) const;
  Vector Attention(uint32_t layer, const Vector& x);
  Vector Mlp(const std::string& layer, const Vector& x);
  void AddTo(Vector& x, const Vector& y) const;

  model::Weights& weights_;
  const model::Config& c_;
  const Precision precision_;
  const Vector rope_;
  std::map<std::string, Vector> cache_;  // weights as float
  size_t position_ = 0;
  // [layer * kv_heads + kv head][position], each a head.
  std::vector<std::vector<Vector>> keys_, values_;
};

}  // namespace mkvm

#endif  // MKVM_TESTS_PARITY_HF_QWEN3_H_
