#include "tests/scheduler/naive_qwen3.h"

#include <cmath>

#include "isa/f24.h"

namespace mkvm::scheduler {

namespace {

std::vector<double> Bf16(std::vector<double> x) {
  for (double& v : x) {
    v = isa::FloatOfBf16Bits(isa::Bf16BitsOfFloat(static_cast<float>(v)));
  }
  return x;
}

}  // namespace

NaiveQwen3::NaiveQwen3(model::Weights& weights)
    : weights_(weights), c_(weights.config()) {
  keys_.assign(c_.num_layers,
               std::vector<std::vector<Vector>>(c_.num_kv_heads));
  values_ = keys_;
}

NaiveQwen3::Vector NaiveQwen3::Get(const std::string& name) {
  const model::Tensor tensor = weights_.Get(name).value();
  size_t count = 1;
  for (const uint64_t dim : tensor.shape) count *= dim;
  Vector out(count);
  for (size_t i = 0; i < count; ++i) {
    out[i] = tensor.type == model::TensorType::kF32
                 ? static_cast<const float*>(tensor.data)[i]
                 : isa::FloatOfBf16Bits(
                       static_cast<const uint16_t*>(tensor.data)[i]);
  }
  return out;
}

NaiveQwen3::Vector NaiveQwen3::Multiply(const std::string& name,
                                        const Vector& x) {
  const Vector w = Get(name);
  Vector y(w.size() / x.size(), 0.0);
  for (size_t r = 0; r < y.size(); ++r) {
    for (size_t k = 0; k < x.size(); ++k) y[r] += w[r * x.size() + k] * x[k];
  }
  return y;
}

NaiveQwen3::Vector NaiveQwen3::Norm(const Vector& x, const std::string& name) {
  const Vector g = Get(name);
  double sum = 0;
  for (const double v : x) sum += v * v;
  const double scale = 1 / std::sqrt(sum / x.size() + c_.rms_norm_eps);
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * g[i];
  return y;
}

NaiveQwen3::Vector NaiveQwen3::Head(const Vector& x, uint32_t head,
                                    const std::string& norm) {
  const auto begin = x.begin() + head * c_.head_dim;
  const Vector n = Norm(Vector(begin, begin + c_.head_dim), norm);
  const uint32_t half = c_.head_dim / 2;
  Vector y(c_.head_dim);
  for (uint32_t i = 0; i < half; ++i) {
    const double angle =
        position_ * std::pow(c_.rope_theta, -2.0 * i / c_.head_dim);
    y[i] = n[i] * std::cos(angle) - n[i + half] * std::sin(angle);
    y[i + half] = n[i + half] * std::cos(angle) + n[i] * std::sin(angle);
  }
  return y;
}

NaiveQwen3::Vector NaiveQwen3::Attention(uint32_t layer, const Vector& x) {
  const std::string a = "model.layers." + std::to_string(layer) + ".self_attn.";
  const Vector q = Multiply(a + "q_proj.weight", x);
  const Vector k = Multiply(a + "k_proj.weight", x);
  const Vector v = Multiply(a + "v_proj.weight", x);
  const uint32_t d = c_.head_dim;
  for (uint32_t h = 0; h < c_.num_kv_heads; ++h) {
    keys_[layer][h].push_back(Bf16(Head(k, h, a + "k_norm.weight")));
    values_[layer][h].push_back(
        Bf16(Vector(v.begin() + h * d, v.begin() + (h + 1) * d)));
  }
  Vector out;
  for (uint32_t head = 0; head < c_.num_q_heads; ++head) {
    const Vector query = Head(q, head, a + "q_norm.weight");
    const uint32_t kv = head / (c_.num_q_heads / c_.num_kv_heads);
    Vector y(d, 0.0);
    double total = 0;
    for (size_t p = 0; p <= position_; ++p) {
      double score = 0;
      for (uint32_t i = 0; i < d; ++i)
        score += query[i] * keys_[layer][kv][p][i];
      const double weight = std::exp(score / std::sqrt(d));
      total += weight;
      for (uint32_t i = 0; i < d; ++i)
        y[i] += weight * values_[layer][kv][p][i];
    }
    for (const double value : y) out.push_back(value / total);
  }
  return Multiply(a + "o_proj.weight", out);
}

std::vector<double> NaiveQwen3::Step(int32_t token) {
  const Vector table = Get("model.embed_tokens.weight");
  const auto row = table.begin() + int64_t{token} * c_.hidden_size;
  Vector x(row, row + c_.hidden_size);
  for (uint32_t layer = 0; layer < c_.num_layers; ++layer) {
    const std::string l = "model.layers." + std::to_string(layer) + ".";
    const Vector att = Attention(layer, Norm(x, l + "input_layernorm.weight"));
    for (size_t i = 0; i < x.size(); ++i) x[i] += att[i];
    const Vector n = Norm(x, l + "post_attention_layernorm.weight");
    Vector h = Multiply(l + "mlp.gate_proj.weight", n);
    const Vector up = Multiply(l + "mlp.up_proj.weight", n);
    for (size_t i = 0; i < h.size(); ++i) h[i] *= up[i] / (1 + std::exp(-h[i]));
    const Vector down = Multiply(l + "mlp.down_proj.weight", h);
    for (size_t i = 0; i < x.size(); ++i) x[i] += down[i];
  }
  ++position_;
  return Multiply(
      c_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
      Norm(x, "model.norm.weight"));
}

}  // namespace mkvm::scheduler
